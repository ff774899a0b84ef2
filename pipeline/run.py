"""The main job: files in, people found, tracked and shown; a folder of results an input."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from watchline.detectors.engine import Engine
from watchline.detectors.letterbox import PACK_BACKEND
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.opening import open_engine
from watchline.pipeline.album import Album
from watchline.pipeline.companions import Role, check_roles, companion
from watchline.pipeline.digest import InputDigest
from watchline.pipeline.files import write_whole
from watchline.pipeline.graph import Progress, Road, RoadReport, Sampling, Sink
from watchline.pipeline.machine import peak_memory_bytes, usable_cpus
from watchline.pipeline.model import Model
from watchline.pipeline.recognition import (
    Recognition,
    SightingFacts,
    SightingSink,
    check_people,
    claimed_input,
    collecting,
    forget,
)
from watchline.pipeline.report import render_report
from watchline.pipeline.results import OUTPUTS, REPORT, SUMMARY, VIDEO, claimed, discard
from watchline.pipeline.sightings import config_sha256, program_version
from watchline.pipeline.sinks import AlbumSink, VideoSink
from watchline.pipeline.stopwatch import StageTime, Stopwatch
from watchline.pipeline.store.asking import source_name, storable
from watchline.pipeline.store.sighting import Provenance
from watchline.pipeline.summary import FrameCounts, InputFacts, MachineFacts, ModelFacts, Status, Summary, versions
from watchline.pipeline.tables import Tables, Tally
from watchline.reid.collector import Collector
from watchline.streams.errors import OutputError, StreamError, UsageError, WatchlineError
from watchline.streams.source import Source, SourceInfo, SourceReport
from watchline.trackers.build import TrackerChoice, build_tracker

_TRACKER_LEAST_SCORE = 0.1  # a track lives on by detections too faint to begin one
_CUDA_BATCH = 8


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that the user asked for.

    Attributes:
        model: catalog name or file.
        family: what it is, where its file does not say it; "" for nothing.
        conf: least score of what it finds, in [0, 1]; None takes the run's.
    """

    model: str
    family: str = ""
    conf: float | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for; the defaults of the command line are these.

    Attributes:
        model: catalog name or file of the first model, which finds what is tracked.
        classes: names of the classes that it is to find; empty means all.
        tracker: how objects are followed.
        sampling: which frames are processed.
        conf: least score of a detection that begins a track and is saved, in [0, 1].
        iou: largest overlap of two detections of a class, of the first model; None takes what its own programs do.
        imgsz: longest side of the input of every network that leaves it open, pixels; 0 takes 640.
        save_detections: write detections.jsonl.
        video: write the annotated video.
        batch: frames handed to the network together on a GPU; 0 takes 8. A CPU always takes one.
        threads: detections under way at once; 0 takes every processor that this process may use.
        device: where the networks run; see `opening.open_engine`.
        overwrite: replace the results of an earlier run.
        family: what the first model is, where its file does not say it; "" for nothing.
        companions: further models, which add to what the first one finds.
        reid: model that describes people; "" for none.
        face_reid: model that describes faces; "" for none.
        store: file of the store of sightings; "" for none.
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
    device: str = "auto"
    overwrite: bool = False
    family: str = ""
    companions: tuple[ModelChoice, ...] = ()
    reid: str = ""
    face_reid: str = ""
    store: str = ""

    @property
    def models(self) -> tuple[ModelChoice, ...]:
        """All models, the first one first."""
        return ModelChoice(self.model, self.family, self.conf), *self.companions


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model that is ready to run.

    Attributes:
        role: what it is called and is.
        engine: runs it.
        stage: its name in the table of times.
        conf: least score of what counts as found.
        least_score: of what it reports.
        note: what its engine had to say when it had started.
    """

    role: Role
    engine: Engine
    stage: str
    conf: float
    least_score: float
    note: str


@dataclass(frozen=True, slots=True)
class _Finished:
    """All that is known once a road has ended."""

    spec: str
    sha256: str | None
    problem: str  # with the digest
    report: SourceReport
    outcome: RoadReport
    tallies: tuple[Tally, ...]
    wall_s: float
    cpu_s: float
    stages: tuple[StageTime, ...]
    sightings: SightingFacts | None
    trouble: tuple[str, ...]  # with the sightings


class Runner:
    """Runs inputs, one after the other, through the same models; each has a tracker and a folder of its own.

    Args:
        models: those of `options.models`, in that order.
        options: what the user asked for.
        engines: run the models; made from `models` and `options` where none are given.
        built: folder of TensorRT engines; by default this user's.
        recognition: recognises people, and keeps what it saw of them; None: nothing does. Closed by the caller.

    Raises:
        ModelError: an engine cannot run its model.
        UsageError: an option that these models or this machine cannot serve, or models that cannot run together.
    """

    def __init__(
        self,
        models: Sequence[Model],
        options: RunOptions,
        engines: Sequence[Engine] = (),
        built: Path | None = None,
        recognition: Recognition | None = None,
    ) -> None:
        self._options = options
        self._loaded = _load(models, options, engines, built)
        first = self._loaded[0]
        _check_size(options.imgsz, self._loaded)
        self._recognition = recognition
        if recognition:
            check_people(recognition, [loaded.role for loaded in self._loaded], options.classes)
        self._detector = NetworkDetector(first.engine, _detector_options(options, first))
        self._networks = [self._detector, *(_network(loaded, options.imgsz) for loaded in self._loaded[1:])]
        self._companions = [
            companion(loaded.role, network, first.role)
            for loaded, network in zip(self._loaded[1:], self._networks[1:], strict=True)
        ]
        # Built here to be refused, if it must be, before anything is written.
        self._backend = build_tracker(options.tracker, score=options.conf).backend
        self._threads = options.threads or usable_cpus()
        # Workers that wait for their engine leave a processor idle: one more prepares its frame meanwhile.
        self._workers = self._threads + any(loaded.engine.info.own_threads for loaded in self._loaded)
        # A device that works on many frames at once wants batches; on a CPU they would only add delay and memory.
        on_cpu = all(loaded.engine.info.device == "cpu" for loaded in self._loaded)
        self._batch = 1 if on_cpu else options.batch or _CUDA_BATCH
        self._warm_for = (0, 0)  # height and width of the frames

    @property
    def note(self) -> str:
        """What the user should know about the device that was chosen; "" for nothing."""
        info = self._loaded[0].engine.info
        return f"{info.note} (runs on {info.provider})" if info.note else ""

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
            UsageError: the folder or the store holds results of it already, or another run writes there.
            OutputError: the results cannot be written.
            WatchlineError: what ended the run before its first processed frame; nothing is left behind.
        """
        overwrite = self._options.overwrite
        with claimed_input(self._recognition, spec, overwrite=overwrite), claimed(folder, overwrite=overwrite):
            if self._recognition:
                forget(self._recognition, spec)
            self._warm_up((source.info.height, source.info.width))
            digest = InputDigest(spec, stop)
            try:
                return self._run(source, spec, folder, stop, on_progress, digest)
            finally:
                digest.abandon()

    def _warm_up(self, size: tuple[int, int]) -> None:
        """Gets the engines ready for frames of `size`, unless the last input had such."""
        if size != self._warm_for:
            for network in self._networks:
                network.warm_up(*size, self._workers, self._batch)
        self._warm_for = size

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
        tables = Tables(
            folder,
            labels,
            save_detections=options.save_detections,
            least_score=options.conf,
            companions=[loaded.conf for loaded in self._loaded[1:]],
        )
        sinks: list[Sink] = [tables, AlbumSink(album)]
        if options.video:
            sinks.append(VideoSink(folder / VIDEO, labels, 1 / interval_s))
        people = self._people(source.camera, spec, folder, interval_s)
        sinks += [people] if people else []
        started, cpu_before_s = time.perf_counter(), time.process_time()
        outcome = Road(
            source,
            self._detector,
            build_tracker(options.tracker, interval_s, options.conf),
            sinks,
            sampling=options.sampling,
            workers=self._workers,
            batch=self._batch,
            stop=stop,
            on_progress=on_progress,
            watch=watch,
            companions=self._companions,
        ).run()
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_before_s
        if outcome.error and not outcome.processed:
            discard(folder)
            raise outcome.error
        tallies = tuple(tables.tallies)
        times = watch.times(cpu_s)
        facts, trouble = (people.facts(), people.problems) if people else (None, ())
        done = _Finished(
            spec, *digest.result(), source.report(), outcome, tallies, wall_s, cpu_s, times, facts, trouble
        )
        summary = self._summary(done, source.info, album, folder)
        try:
            write_whole(folder / REPORT, render_report(summary, album))
            write_whole(folder / SUMMARY, summary.to_json() + "\n")
        except OutputError as error:
            raise (outcome.error or error) from error  # the first refusal is the one to name
        return summary

    def _people(self, camera: str, spec: str, folder: Path, interval_s: float) -> SightingSink | None:
        """Returns what recognises people in one input; None where nobody asked for that."""
        if not self._recognition:
            return None
        first, options = self._loaded[0].role, self._options
        tracker = " ".join((f"{options.tracker} ({self._backend})", *options.tracker.settings))
        made_by = Provenance(
            source_name(spec), first.name, first.sha256, tracker, config_sha256(options), program_version()
        )
        collector = Collector(storable(camera), self._detector.labels, collecting(first, options.tracker, interval_s))
        return SightingSink(collector, self._recognition, self._recognition.keeper(made_by, folder))

    def _summary(self, done: _Finished, info: SourceInfo, album: Album, folder: Path) -> Summary:
        report, outcome, ran = done.report, done.outcome, self._loaded[0].engine.info
        status, warnings = _verdict(done)
        # What failed before the first frame was said then.
        late = [loaded for loaded in self._loaded if loaded.engine.info.note not in ("", loaded.note)]
        warnings += tuple(f"{loaded.role.name}: {loaded.engine.info.note}" for loaded in late)
        models = tuple(
            _model_facts(loaded, tally, done.stages) for loaded, tally in zip(self._loaded, done.tallies, strict=True)
        )
        return Summary(
            status=status,
            warnings=warnings,
            input=InputFacts(
                done.spec, done.sha256, info.kind, info.width, info.height, info.fps, info.duration_s, info.codec
            ),
            frames=FrameCounts(
                info.frames, outcome.decoded, outcome.processed, outcome.dropped, report.damaged, report.missing
            ),
            detections=models[0].found,
            tracks=album.track_count,
            tracks_with_face=album.faced_count,
            tracks_by_class=dict(album.tracks_by_class),
            fps=round(outcome.processed / done.wall_s, 3),
            wall_s=round(done.wall_s, 3),
            cpu_s=round(done.cpu_s, 3),
            stages=done.stages,
            peak_memory_bytes=peak_memory_bytes(),
            model=models[0],
            models=models,
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
            sightings=done.sightings,
        )


def _load(models: Sequence[Model], options: RunOptions, engines: Sequence[Engine], built: Path | None) -> list[_Loaded]:
    """Returns the models in the order in which they run: the first, then those that add to it, faces last.

    A face is tied best where the pose of its person is known.

    Raises:
        UsageError: they cannot run together.
    """
    engines = engines or [
        open_engine(model.onnx, options.device, choice.family, options.threads or usable_cpus(), built)
        for model, choice in zip(models, options.models, strict=True)
    ]
    roles = [Role(model.name, model.sha256, engine.card) for model, engine in zip(models, engines, strict=True)]
    check_roles(roles)
    faint = min(options.conf, _TRACKER_LEAST_SCORE)
    first = _Loaded(roles[0], engines[0], "detect", options.conf, faint, engines[0].info.note)
    others = []
    for role, engine, choice in zip(roles[1:], engines[1:], options.companions, strict=True):
        conf = options.conf if choice.conf is None else choice.conf
        # Of an object that is tracked by a faint detection the pose and mask are as faint; a faint face is a guess.
        asked = role.card.task == "face" or choice.conf is not None
        others.append(_Loaded(role, engine, role.card.task, conf, conf if asked else faint, engine.info.note))
    return [first, *sorted(others, key=lambda loaded: loaded.stage == "face")]


def _network(loaded: _Loaded, imgsz: int) -> NetworkDetector:
    options = DetectorOptions(loaded.least_score, loaded.engine.card.iou, imgsz or DetectorOptions().size)
    return NetworkDetector(loaded.engine, options)


def _check_size(imgsz: int, models: Sequence[_Loaded]) -> None:
    """Refuses an input size that no model could take."""
    sizes = [loaded.engine.fixed_size for loaded in models]
    if imgsz and all(size is not None and imgsz != max(size) for size in sizes):
        fixed = " and ".join(f"{size[0]}x{size[1]}" for size in dict.fromkeys(sizes) if size)
        whose = "this model takes" if len(models) == 1 else "these models take"
        raise UsageError(f"--imgsz {imgsz}: {whose} {fixed} alone; leave --imgsz out")


def _detector_options(options: RunOptions, first: _Loaded) -> DetectorOptions:
    """Returns how the detector is set: down to the score that keeps a track alive, or to --conf where that is lower."""
    iou = first.engine.card.iou if options.iou is None else options.iou
    return DetectorOptions(first.least_score, iou, options.imgsz or DetectorOptions().size, options.classes)


def _model_facts(loaded: _Loaded, tally: Tally, stages: Sequence[StageTime]) -> ModelFacts:
    role, card = loaded.role, loaded.role.card
    spent = next((time for time in stages if time.name == loaded.stage), StageTime(loaded.stage, 0.0, 0.0))
    return ModelFacts(
        name=role.name,
        sha256=role.sha256,
        family=card.family,
        task=card.task,
        licence=card.licence,
        device=loaded.engine.info.device,
        stage=loaded.stage,
        cpu_s=spent.cpu_s,
        wall_s=spent.wall_s,
        found=tally.found,
        without_track=tally.without_track,
        fallbacks=loaded.engine.info.fallbacks,
    )


def _verdict(done: _Finished) -> tuple[Status, tuple[str, ...]]:
    """Returns how a run ended, and what a person should know about it."""
    processed, error = done.outcome.processed, done.outcome.error
    status: Status = "partial" if done.report.damage else "complete"
    warnings = list(done.report.damage)
    if done.trouble:
        status = "partial"
        warnings += done.trouble
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
