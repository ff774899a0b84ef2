"""The main job: files in, people found, tracked and shown; a folder of results an input."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from watchline.detectors.engine import Device, Engine, OnnxEngine
from watchline.detectors.letterbox import PACK_BACKEND
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.pipeline.album import Album
from watchline.pipeline.digest import InputDigest
from watchline.pipeline.files import write_whole
from watchline.pipeline.graph import Progress, Road, RoadReport, Sampling, Sink
from watchline.pipeline.machine import peak_memory_bytes, usable_cpus
from watchline.pipeline.model import Model
from watchline.pipeline.report import render_report
from watchline.pipeline.results import OUTPUTS, REPORT, SUMMARY, VIDEO, claimed, discard
from watchline.pipeline.sinks import AlbumSink, VideoSink
from watchline.pipeline.stopwatch import StageTime, Stopwatch
from watchline.pipeline.summary import FrameCounts, InputFacts, MachineFacts, ModelFacts, Status, Summary, versions
from watchline.pipeline.tables import Tables
from watchline.streams.errors import OutputError, StreamError, UsageError, WatchlineError
from watchline.streams.source import Source, SourceInfo, SourceReport
from watchline.trackers.build import TrackerChoice, build_tracker

_TRACKER_LEAST_SCORE = 0.1  # a track lives on by detections too faint to begin one
_CUDA_BATCH = 8


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for; the defaults of the command line are these.

    Attributes:
        model: catalog name or file.
        classes: names of the classes to find; empty means all.
        tracker: how objects are followed.
        sampling: which frames are processed.
        conf: least score of a detection that begins a track and is saved, in [0, 1].
        iou: largest overlap of two detections of a class; None takes what the model's own programs do.
        imgsz: longest side of the network's input, pixels; 0 takes 640, or what the model fixes.
        save_detections: write detections.jsonl.
        video: write the annotated video.
        batch: frames handed to the network together on a GPU; 0 takes 8. A CPU always takes one.
        threads: detections under way at once; 0 takes every processor that this process may use.
        device: where the network runs.
        overwrite: replace the results of an earlier run.
        family: what the model is, where its file does not say it; "" for nothing.
    """

    model: str = "yolov8n"
    classes: tuple[str, ...] = ()
    tracker: TrackerChoice = field(default_factory=TrackerChoice)
    sampling: Sampling = field(default_factory=Sampling)
    conf: float = 0.25
    iou: float | None = None
    imgsz: int = 0
    save_detections: bool = False
    video: bool = True
    batch: int = 0
    threads: int = 0
    device: Device = "auto"
    overwrite: bool = False
    family: str = ""


@dataclass(frozen=True, slots=True)
class _Finished:
    """All that is known once a road has ended."""

    spec: str
    sha256: str | None
    problem: str  # with the digest
    report: SourceReport
    outcome: RoadReport
    detections: int
    wall_s: float
    stages: tuple[StageTime, ...]


class Runner:
    """Runs inputs, one after the other, through one detector; each has a tracker and a folder of its own.

    Args:
        model: what the engine runs.
        options: what the user asked for.
        engine: runs the model; made from `model` and `options` where none is given.

    Raises:
        ModelError: the engine cannot run the model.
        UsageError: an option that this model or machine cannot serve.
    """

    def __init__(self, model: Model, options: RunOptions, engine: Engine | None = None) -> None:
        self._model = model
        self._options = options
        self._engine = engine or OnnxEngine(model.onnx, options.device, options.family)
        self._detector = NetworkDetector(self._engine, _detector_options(options, self._engine))
        # Built here to be refused, if it must be, before anything is written.
        self._backend = build_tracker(options.tracker, score=options.conf).backend
        self._threads = options.threads or usable_cpus()
        # A device that works on many frames at once wants batches; on a CPU they would only add delay and memory.
        self._batch = 1 if self._engine.info.device == "cpu" else options.batch or _CUDA_BATCH

    @property
    def note(self) -> str:
        """What the user should know about the device that was chosen; "" for nothing."""
        return self._engine.info.note

    def run(
        self, source: Source, spec: str, folder: Path, stop: threading.Event, on_progress: Callable[[Progress], None]
    ) -> Summary:
        """Runs one input; returns what its summary.json says.

        A run that breaks after its first frame is reported in the summary, not raised.

        Args:
            source: opened; closed by the caller.
            spec: the input as the user named it.
            folder: where results go; made here.
            stop: set it to end early; what was processed is kept and marked.
            on_progress: called after each processed frame.

        Raises:
            UsageError: the folder holds results already, or another run writes there.
            OutputError: the results cannot be written.
            WatchlineError: what ended the run before its first processed frame; nothing is left behind.
        """
        with claimed(folder, overwrite=self._options.overwrite):
            digest = InputDigest(spec, stop)
            try:
                return self._run(source, spec, folder, stop, on_progress, digest)
            finally:
                digest.abandon()

    def _run(
        self,
        source: Source,
        spec: str,
        folder: Path,
        stop: threading.Event,
        on_progress: Callable[[Progress], None],
        digest: InputDigest,
    ) -> Summary:
        options, labels, watch = self._options, self._detector.labels, Stopwatch()
        interval_s = options.sampling.interval_s(source.info.fps)
        album = Album(labels, interval_s)
        tables = Tables(folder, labels, save_detections=options.save_detections, least_score=options.conf)
        sinks: list[Sink] = [tables, AlbumSink(album)]
        if options.video:
            sinks.append(VideoSink(folder / VIDEO, labels, 1 / interval_s))
        started = time.perf_counter()
        outcome = Road(
            source,
            self._detector,
            build_tracker(options.tracker, interval_s, options.conf),
            sinks,
            sampling=options.sampling,
            workers=self._threads,
            batch=self._batch,
            stop=stop,
            on_progress=on_progress,
            watch=watch,
        ).run()
        wall_s = time.perf_counter() - started
        if outcome.error and not outcome.processed:
            discard(folder)
            raise outcome.error
        done = _Finished(spec, *digest.result(), source.report(), outcome, tables.found, wall_s, watch.times())
        summary = self._summary(done, source.info, album, folder)
        try:
            write_whole(folder / REPORT, render_report(summary, album))
            write_whole(folder / SUMMARY, summary.to_json() + "\n")
        except OutputError as error:
            raise (outcome.error or error) from error  # the first refusal is the one to name
        return summary

    def _summary(self, done: _Finished, info: SourceInfo, album: Album, folder: Path) -> Summary:
        report, outcome, ran, card = done.report, done.outcome, self._engine.info, self._engine.card
        status, warnings = _verdict(done)
        return Summary(
            status=status,
            warnings=warnings,
            input=InputFacts(
                done.spec, done.sha256, info.kind, info.width, info.height, info.fps, info.duration_s, info.codec
            ),
            frames=FrameCounts(
                info.frames, outcome.decoded, outcome.processed, outcome.dropped, report.damaged, report.missing
            ),
            detections=done.detections,
            tracks=album.track_count,
            tracks_by_class=dict(album.tracks_by_class),
            fps=round(outcome.processed / done.wall_s, 3),
            wall_s=round(done.wall_s, 3),
            cpu_s=round(sum(stage.cpu_s for stage in done.stages), 3),
            stages=done.stages,
            peak_memory_bytes=peak_memory_bytes(),
            model=ModelFacts(self._model.name, self._model.sha256, card.family, card.task, card.licence),
            machine=MachineFacts(
                device=ran.device,
                provider=ran.provider,
                runtime=ran.runtime,
                note=ran.note,
                threads=self._threads,
                batch=self._batch,
                pack=PACK_BACKEND,
                tracker=f"{self._options.tracker} ({self._backend})",
            ),
            options=asdict(self._options),
            versions=versions(),
            outputs=tuple(name for name in OUTPUTS if name in (REPORT, SUMMARY) or (folder / name).exists()),
        )


def _detector_options(options: RunOptions, engine: Engine) -> DetectorOptions:
    """Returns how the detector is set: down to the score that keeps a track alive, or to --conf where that is lower."""
    fixed_size = engine.fixed_size
    if fixed_size and options.imgsz and options.imgsz != max(fixed_size):
        height, width = fixed_size
        raise UsageError(f"--imgsz {options.imgsz}: this model takes {height}x{width} alone; leave --imgsz out")
    least_score = min(options.conf, _TRACKER_LEAST_SCORE)
    iou = engine.card.iou if options.iou is None else options.iou
    return DetectorOptions(least_score, iou, options.imgsz or DetectorOptions().size, options.classes)


def _verdict(done: _Finished) -> tuple[Status, tuple[str, ...]]:
    """Returns how a run ended, and what a person should know about it."""
    processed, error = done.outcome.processed, done.outcome.error
    status: Status = "partial" if done.report.damage else "complete"
    warnings = list(done.report.damage)
    if done.problem:
        warnings.append(f"no SHA-256 of the input: {done.problem}")
    if done.outcome.cancelled:
        status = "cancelled"
        warnings.append(f"cancelled by the user after {processed} frames; the results end there")
    if error is not None:
        status = "partial" if isinstance(error, StreamError) else "failed"
        reason = error if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
        warnings.append(f"stopped after {processed} frames: {reason}")
    return status, tuple(warnings)
