"""`watchline run`: the main job over files."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.detectors.catalog import Catalog, Kind
from watchline.detectors.fetch import default_cache
from watchline.detectors.layout import FAMILIES
from watchline.detectors.opening import devices_of, engines_folder
from watchline.pipeline.cli.catalog_options import DeviceOption
from watchline.pipeline.cli.model_options import choose_models
from watchline.pipeline.cli.progress import Show, fetch_shown, run_progress
from watchline.pipeline.cli.reid_options import FaceReid, Reid, ReidModel, Store, model_of, open_recognition
from watchline.pipeline.cli.tracker_options import Backend, Name, Preset, Settings
from watchline.pipeline.graph import Sampling
from watchline.pipeline.machine import return_memory_early
from watchline.pipeline.model import load_model
from watchline.pipeline.recognition import people_line
from watchline.pipeline.results import OUTPUTS, check_free, result_folder
from watchline.pipeline.run import Runner, RunOptions
from watchline.pipeline.summary import EXIT_CODES, Summary
from watchline.streams.errors import OutputError, UsageError, WatchlineError
from watchline.streams.opening import open_source
from watchline.streams.source import Source
from watchline.trackers.build import TrackerChoice

if TYPE_CHECKING:
    from watchline.pipeline.metrics_file import MetricsFile
    from watchline.pipeline.recognition import Recognition

_PATIENCE_S = 10.0  # for a cancelled run to finish its files


def _model_names(incomplete: str) -> list[str]:
    return [entry.name for entry in Catalog.load() if entry.kind is Kind.MODEL and entry.name.startswith(incomplete)]


def run(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="Video files, folders of images, or quoted globs of images.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Results go to DIR/NAME, a folder for each input.")
    ] = Path("watchline-out"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Catalog name, .pt checkpoint or .onnx. The first finds what is tracked; more add faces, poses or "
            "masks. yolov8n, if left out.",
            autocompletion=_model_names,
        ),
    ] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[MODEL=]NAME",
            help=f"What an .onnx is that does not say it: {', '.join(FAMILIES)}. Of several models, say which.",
        ),
    ] = None,
    classes: Annotated[
        str, typer.Option(metavar="A,B", help="Classes that the first model is to find, such as person,car; else all.")
    ] = "",
    tracker: Name = "bytetrack",
    preset: Preset = "default",
    settings: Settings = None,
    backend: Backend = "auto",
    conf: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[MODEL=]SCORE",
            help="Least score of a detection that begins a track and is saved, of a face that is shown; 0.25, if left "
            "out. Of several models each may have its own.",
        ),
    ] = None,
    iou: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Largest overlap of two detections of a class, of the first model; else its own: 0.3 to 0.7.",
        ),
    ] = None,
    imgsz: Annotated[
        int | None, typer.Option(help="Longest side of the network's input, a multiple of 32. 640, if left out.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.001, help="Process at most this many frames a second of the input's time.")
    ] = None,
    every: Annotated[int | None, typer.Option(min=1, help="Process one frame in this many.")] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many processed frames.")] = None,
    save_detections: Annotated[bool, typer.Option("--save-detections", help="Write detections.jsonl too.")] = False,
    no_video: Annotated[bool, typer.Option("--no-video", help="Write no annotated.mp4.")] = False,
    batch: Annotated[
        int, typer.Option(min=0, max=256, help="Frames a network call on a GPU; 0: 8. A CPU always takes one.")
    ] = 0,
    threads: Annotated[
        int, typer.Option(min=0, max=256, help="Detections under way at once; 0: one a usable processor.")
    ] = 0,
    device: DeviceOption = "auto",
    reid: Reid = None,
    reid_model: ReidModel = "",
    face_reid: FaceReid = "",
    store: Store = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results of an earlier run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each summary as a line of JSON; no progress.")] = False,
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what ran, frames, times and memory there after each input, for Prometheus: a .prom in the "
            "folder that node_exporter's textfile collector reads.",
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of fetched models; else the user's cache folder.")
    ] = None,
    mirror: Annotated[
        str,
        typer.Option(
            metavar="DIR|URL", envvar="WATCHLINE_MODELS_MIRROR", help="Tried first when a model must be fetched."
        ),
    ] = "",
) -> None:
    """Find, follow and show people (and more) in video files.

    Every input gets a folder with annotated.mp4 and report.html to look at, and tracks.jsonl, tracks.mot.txt and
    summary.json to compute with. Ctrl-C ends early and keeps what was done.

    A detection of --conf or more begins a track; fainter ones, down to 0.1, only keep a track alive. Every option
    of the tracker can be set by --set, such as coast_s=0.5 to show for half a second where an unseen object should
    be; a wrong name lists them all. Preset reference has thresholds of its own, whatever --conf is.

    Of several models the first finds what is tracked. Each further one adds to it, one a task: faces to the people
    they belong to, poses or masks to objects of the same class.

    With --reid people are described by a few pictures of each track, the best ones spread over time; with --store
    every track is kept as a sighting, to be searched later. An input that the store knows, be it of a run that was
    broken off, is refused, or, with --overwrite, its sightings are replaced.

    \b
    Examples:
      watchline run shop.mp4
      watchline run shop.mp4 yard.mkv --classes person --fps 10 --out results
      watchline run shop.mp4 --model yolov8n --model yolov8n-face.pt --conf yolov8n-face.pt=0.4
      watchline run 'stills/*.jpg' --no-video --json
      watchline run shop.mp4 --reid --store sightings.db

    \b
    Exit codes:
      0  all inputs complete
      1  nothing usable came of it: no input could be read, or a result could not be written
      2  wrong usage
      3  partial: an input is damaged, was cancelled, or failed while others did not
    130  interrupted before anything was written
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    if fps is not None and not math.isfinite(fps):
        raise UsageError(f"--fps {fps}: want a number")
    if fps and every:
        raise UsageError("--fps and --every exclude each other; give one of them")
    devices_of(device)
    first, *companions = choose_models(model or [RunOptions().model], family or [], conf or [])
    options = RunOptions(
        model=first.model,
        classes=tuple(name.strip() for name in classes.split(",") if name.strip()),
        tracker=TrackerChoice(tracker, preset, tuple(settings or ()), backend),
        sampling=Sampling(every or 1, fps or 0.0, max_frames or 0),
        conf=RunOptions().conf if first.conf is None else first.conf,
        iou=iou,
        imgsz=imgsz or 0,
        save_detections=save_detections,
        video=not no_video,
        batch=batch,
        threads=threads,
        device=device,
        overwrite=overwrite,
        family=first.family,
        companions=tuple(companions),
        reid=model_of(reid, reid_model, store),
        face_reid=face_reid,
        store=str(store or ""),
    )
    return_memory_early()
    raise typer.Exit(_Job(inputs, out, options, cache, mirror, as_json=as_json, metrics=_metrics_file(metrics)).run())


def _metrics_file(path: Path | None) -> MetricsFile | None:
    """Returns the file of metrics, if one is asked for; it is refused here, before anything runs."""
    if path is None:
        return None
    from watchline.pipeline.metrics_file import MetricsFile

    return MetricsFile(path)


class _Job:
    """One call of `watchline run`: its inputs one after the other, each its own failure domain."""

    def __init__(
        self,
        inputs: Sequence[str],
        out: Path,
        options: RunOptions,
        cache: Path | None,
        mirror: str,
        *,
        as_json: bool,
        metrics: MetricsFile | None,
    ) -> None:
        self._inputs = inputs
        self._out = out
        self._options = options
        self._cache = cache or default_cache()
        self._mirror = mirror
        self._as_json = as_json
        self._metrics = metrics
        self._runner: Runner | None = None
        self._recognition: Recognition | None = None
        self._folders: list[Path] = []

    def run(self) -> int:
        """Runs all inputs and returns the exit code."""
        with _stop_on_signals() as stop:
            try:
                return self._run_all(stop)
            finally:
                if self._recognition and self._recognition.store:
                    self._recognition.store.close()

    def _run_all(self, stop: threading.Event) -> int:
        codes: list[int] = []
        for number, spec in enumerate(self._inputs, start=1):
            try:
                source = open_source(spec)
            except WatchlineError as error:
                codes.append(self._refuse(spec, error))
                continue
            with closing(source):
                folder = result_folder(self._out, source.camera, self._folders)
                self._folders.append(folder)
                try:
                    check_free(folder, overwrite=self._options.overwrite)
                except WatchlineError as error:
                    codes.append(self._refuse(spec, error))
                    continue
                try:
                    runner = self._runner = self._runner or self._load(stop)
                except WatchlineError:  # no input can be run
                    self._measure(spec, None)
                    raise
                try:
                    with self._progress(spec, source) as show:
                        summary = runner.run(source, spec, folder, stop, show)
                except WatchlineError as error:
                    codes.append(self._refuse(spec, error))
                    continue
            self._tell(summary, folder)
            codes += [EXIT_CODES[summary.status], *self._measure(spec, summary)]
            if stop.is_set():
                if number < len(self._inputs):
                    codes.append(EXIT_CODES["cancelled"])
                break
        return _overall(codes)

    def _load(self, stop: threading.Event) -> Runner:
        obtain = partial(fetch_shown, cache=self._cache, mirror=self._mirror, stop=stop)
        try:
            models = [load_model(choice.model, self._cache, obtain) for choice in self._options.models]
            self._recognition = open_recognition(self._options, self._cache, obtain)
            runner = Runner(models, self._options, built=engines_folder(self._cache), recognition=self._recognition)
            if self._recognition and not stop.is_set():
                self._recognition.make_store()
        finally:
            if stop.is_set():  # nothing was written yet: there is nothing to finish, and no error worth telling
                raise KeyboardInterrupt
        if runner.note:
            _say(f"watchline: {runner.note}")
        return runner

    def _progress(self, spec: str, source: Source) -> AbstractContextManager[Show]:
        frames, sampling = source.info.frames, self._options.sampling
        if sampling.most and not sampling.fps:
            frames = min(frames or sampling.most * sampling.every, sampling.most * sampling.every)
        return run_progress(Path(spec).name, frames, quiet=self._as_json)

    def _refuse(self, spec: str, error: WatchlineError) -> int:
        if self._as_json:
            _print(json.dumps({"folder": None, "status": "failed", "input": {"path": spec}, "error": str(error)}))
        _say(f"watchline: {error}")
        self._measure(spec, None)
        return error.exit_code

    def _measure(self, spec: str, summary: Summary | None) -> list[int]:
        """Adds an input to the metrics; returns the exit code of what went wrong with them, if anything did."""
        try:
            if self._metrics:
                self._metrics.add(spec, summary)
        except OutputError as error:
            _say(f"watchline: {error}")
            return [error.exit_code]
        return []

    def _tell(self, summary: Summary, folder: Path) -> None:
        if self._as_json:
            _print(f'{{"folder": {json.dumps(str(folder))}, {summary.to_json(indent=None)[1:]}')
            return
        kinds = ", ".join(f"{count} {name}" for name, count in summary.tracks_by_class.items())
        frames, tracks = summary.frames.processed, summary.tracks
        _print(
            f"{summary.input.path}: {summary.status}, {frames} frame{'s' * (frames != 1)} in {summary.wall_s:.1f} s "
            f"({summary.fps:.1f} fps), {tracks} track{'s' * (tracks != 1)}{f' ({kinds})' if kinds else ''}"
        )
        if summary.sightings:
            _print(f"  {'people':16}{people_line(summary.sightings)}")
        for name in summary.outputs:
            _print(f"  {OUTPUTS[name]:16}{folder / name}")
        for warning in summary.warnings:
            _say(f"watchline: {summary.input.path}: {warning}")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _print(text: str) -> None:
    """Prints a line of the answer; who closes the pipe, as `| head` does, wants no more of it, but wants the files."""
    try:
        typer.echo(text)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _overall(codes: Sequence[int]) -> int:
    """Returns the exit code of several inputs: what they agree on, else 3, for some of it is usable.

    >>> _overall([0, 0]), _overall([0, 1]), _overall([1, 2])
    (0, 3, 1)
    """
    if len(set(codes)) == 1:
        return codes[0]
    return 3 if {0, 3} & set(codes) else 1


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Gives an event that SIGINT or SIGTERM sets.

    What is under way is then finished within a second or two, and impatient further signals must not spoil it; only
    where that takes longer than it should does the next one interrupt.
    """
    stop = threading.Event()
    first_s = math.inf

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal first_s
        first_s = min(first_s, time.monotonic())
        if time.monotonic() - first_s > _PATIENCE_S:
            raise KeyboardInterrupt
        stop.set()

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            # After a cancelled run the command only says where its results are, and ends.
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)
