"""The main job: files in, people found, tracked and shown; a folder of results an input."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from watchline.detectors.engine import Device, Engine, OnnxEngine
from watchline.detectors.letterbox import PACK_BACKEND
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.pipeline.album import Album
from watchline.pipeline.files import write_whole, writing
from watchline.pipeline.graph import Progress, Road, RoadReport, Sampling, Sink
from watchline.pipeline.machine import peak_memory_bytes, usable_cpus
from watchline.pipeline.model import Model
from watchline.pipeline.report import render_report
from watchline.pipeline.sinks import AlbumSink, VideoSink
from watchline.pipeline.stopwatch import StageTime, Stopwatch
from watchline.pipeline.summary import FrameCounts, InputFacts, MachineFacts, ModelFacts, Status, Summary, versions
from watchline.pipeline.tables import DETECTIONS, MOT, TRACKS, Tables
from watchline.streams.errors import StreamError, UsageError, WatchlineError
from watchline.streams.opening import input_sha256
from watchline.streams.source import Source
from watchline.trackers.build import build_tracker

VIDEO = "annotated.mp4"
REPORT = "report.html"
SUMMARY = "summary.json"
OUTPUTS = {
    VIDEO: "annotated video",
    REPORT: "report",
    TRACKS: "tracks",
    MOT: "tracks, MOT",
    DETECTIONS: "detections",
    SUMMARY: "summary",
}

_TRACKER_LEAST_SCORE = 0.1  # a track lives on by detections too faint to begin one
_CUDA_BATCH = 8


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for; the defaults of the command line are these.

    Attributes:
        model: catalog name or file.
        classes: names of the classes to find; empty means all.
        tracker: name of the tracker.
        sampling: which frames are processed.
        conf: least score of a detection that is saved, in [0, 1].
        iou: largest overlap of two detections of a class.
        imgsz: longest side of the network's input, pixels.
        save_detections: write detections.jsonl.
        video: write the annotated video.
        batch: frames handed to the network together; 0 chooses by device.
        threads: detections under way at once; 0 takes every processor that this process may use.
        device: where the network runs.
        overwrite: replace the results of an earlier run.
    """

    model: str = "yolov8n"
    classes: tuple[str, ...] = ()
    tracker: str = "bytetrack"
    sampling: Sampling = field(default_factory=Sampling)
    conf: float = 0.25
    iou: float = 0.7
    imgsz: int = 640
    save_detections: bool = False
    video: bool = True
    batch: int = 0
    threads: int = 0
    device: Device = "auto"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class _Finished:
    """All that is known once a road has ended."""

    spec: str
    sha256: str
    source: Source
    outcome: RoadReport
    album: Album
    cancelled: bool
    wall_s: float
    stages: tuple[StageTime, ...]
    tracker_backend: str


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
        self._engine = engine or OnnxEngine(model.onnx, options.device)
        least_score = min(options.conf, _TRACKER_LEAST_SCORE)
        self._detector = NetworkDetector(
            self._engine, DetectorOptions(least_score, options.iou, options.imgsz, options.classes)
        )
        build_tracker(options.tracker)  # an unknown name is refused before anything is written
        self._threads = options.threads or usable_cpus()
        # A device that works on many frames at once wants batches; on a CPU they only add delay and memory.
        self._batch = options.batch or (1 if self._engine.info.device == "cpu" else _CUDA_BATCH)

    def run(
        self, source: Source, spec: str, folder: Path, stop: threading.Event, on_progress: Callable[[Progress], None]
    ) -> Summary:
        """Runs one input; returns what its summary.json says.

        A run that breaks after its first frame is reported in the summary, not raised.

        Args:
            source: opened; closed here.
            spec: the input as the user named it.
            folder: where results go; made here.
            stop: set it to end early; what was processed is kept and marked.
            on_progress: called after each processed frame.

        Raises:
            UsageError: the folder holds results already.
            OutputError: the results cannot be written.
            WatchlineError: what ended the run before its first processed frame; nothing is left behind.
        """
        try:
            claim(folder, overwrite=self._options.overwrite)
            tracker = build_tracker(self._options.tracker, self._options.sampling.interval_s(source.info.fps))
            album = Album(self._detector.labels)
            watch = Stopwatch()
            started = time.perf_counter()
            outcome = Road(
                source,
                self._detector,
                tracker,
                self._sinks(source, folder, album),
                sampling=self._options.sampling,
                workers=self._threads,
                batch=self._batch,
                stop=stop,
                on_progress=on_progress,
                watch=watch,
            ).run()
            wall_s = time.perf_counter() - started
        finally:
            source.close()
        if outcome.error and not outcome.processed:
            _discard(folder)
            raise outcome.error
        with watch.stage("hash"):
            sha256 = input_sha256(spec)
        done = _Finished(spec, sha256, source, outcome, album, stop.is_set(), wall_s, watch.times(), tracker.backend)
        summary = self._summary(done, folder)
        write_whole(folder / REPORT, render_report(summary, album))
        write_whole(folder / SUMMARY, summary.to_json() + "\n")
        return summary

    def _sinks(self, source: Source, folder: Path, album: Album) -> list[Sink]:
        options, labels = self._options, self._detector.labels
        sinks: list[Sink] = [
            Tables(folder, labels, save_detections=options.save_detections, least_score=options.conf),
            AlbumSink(album),
        ]
        if options.video:
            sinks.append(VideoSink(folder / VIDEO, labels, source.info.fps))
        return sinks

    def _summary(self, done: _Finished, folder: Path) -> Summary:
        info, report, outcome = done.source.info, done.source.report(), done.outcome
        status, warnings = self._verdict(done)
        ran, card = self._engine.info, self._engine.card
        return Summary(
            status=status,
            warnings=warnings,
            input=InputFacts(
                done.spec, done.sha256, info.kind, info.width, info.height, info.fps, info.duration_s, info.codec
            ),
            frames=FrameCounts(
                announced=info.frames,
                decoded=outcome.decoded,
                processed=outcome.processed,
                dropped=outcome.dropped,
                damaged=report.damaged,
                missing=0 if self._ended_early(done) else report.missing,
            ),
            detections=outcome.detections,
            tracks=done.album.track_count,
            tracks_by_class=dict(done.album.tracks_by_class),
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
                threads=self._threads,
                batch=self._batch,
                pack=PACK_BACKEND,
                tracker=f"{self._options.tracker} ({done.tracker_backend})",
            ),
            options=asdict(self._options),
            versions=versions(),
            outputs=tuple(name for name in OUTPUTS if name in (REPORT, SUMMARY) or (folder / name).exists()),
        )

    def _ended_early(self, done: _Finished) -> bool:
        """Whether the end of the input was never to be reached: nothing that was not read is missing then."""
        return done.cancelled or 0 < self._options.sampling.most <= done.outcome.processed

    def _verdict(self, done: _Finished) -> tuple[Status, tuple[str, ...]]:
        status: Status = "complete"
        warnings: list[str] = []
        if not self._ended_early(done) and (damage := done.source.report().damage):
            status = "partial"
            warnings.extend(damage)
        if done.cancelled:
            status = "cancelled"
            warnings.append(f"cancelled by the user after {done.outcome.processed} frames; the results end there")
        if (error := done.outcome.error) is not None:
            status = "partial" if isinstance(error, StreamError) else "failed"
            reason = error if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
            warnings.append(f"stopped after {done.outcome.processed} frames: {reason}")
        return status, tuple(warnings)


def result_folder(out: Path, camera: str, taken: Collection[Path]) -> Path:
    """Returns the folder below `out` for the results of `camera`, other than those `taken` in the same call.

    >>> result_folder(Path("out"), "yard", [Path("out/yard")]).name
    'yard-2'
    """
    names = itertools.chain([camera], (f"{camera}-{i}" for i in itertools.count(2)))
    return next(folder for name in names if (folder := out / name) not in taken)


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuses a folder that results may not go to.

    Raises:
        UsageError: it holds something, and `overwrite` was not asked for; or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose another --out")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder}: holds results already; choose another --out, or replace them with --overwrite")


def claim(folder: Path, *, overwrite: bool) -> None:
    """Makes `folder`, empty of our results; what else lies there stays.

    Raises:
        UsageError: as `check_free`.
        OutputError: it cannot be made.
    """
    check_free(folder, overwrite=overwrite)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_results(folder)


def _remove_results(folder: Path) -> None:
    for name in OUTPUTS:
        (folder / name).unlink(missing_ok=True)


def _discard(folder: Path) -> None:
    """Removes what a run that gave nothing left in `folder`, and the folder where nothing else lies there."""
    with suppress(OSError):
        _remove_results(folder)
        folder.rmdir()
