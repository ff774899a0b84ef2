"""From inputs to features, as `watchline reid` does it: with progress, and a line for whatever cannot be read."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from watchline.pipeline.cli.progress import count_progress, fetch_shown, run_progress
from watchline.streams.errors import StreamError, UsageError, WatchlineError

if TYPE_CHECKING:
    from watchline.pipeline.extracting import FeatureRows, Problems
    from watchline.pipeline.picture_lists import Still
    from watchline.pipeline.video_crops import VideoCrops
    from watchline.reid.embedder import Embedder
    from watchline.reid.embeddings import EmbeddingModel
    from watchline.reid.features import FeatureSet

MODEL: Final = "osnet-x0-25"


@dataclass(frozen=True, slots=True)
class Means:
    """What features are made by.

    Attributes:
        model: describes; catalog name or file; "" for that of `expected`, or `MODEL`.
        family: how its network is fed, where its file does not say it; "" for nothing.
        detector: finds people in videos; catalog name or file.
        best: pictures of a track of a video; 0: all.
        fps: at most this many frames a second of a video; 0: all.
        device: where the networks run.
        cache: folder of fetched models.
        mirror: tried first when one must be fetched; "" for none.
        quiet: show no progress.
        expected: whose vectors its own are to be compared with; None: nobody's.
        expected_by: what holds those.
    """

    model: str
    family: str
    detector: str
    best: int
    fps: float
    device: str
    cache: Path
    mirror: str
    quiet: bool
    expected: EmbeddingModel | None = None
    expected_by: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What came of some inputs.

    Attributes:
        features: of every picture that could be read.
        problems: what could not be; told already.
        refused: inputs of which nothing could be read.
    """

    features: FeatureSet
    problems: Problems
    refused: int

    @property
    def is_whole(self) -> bool:
        """Whether all that was named is in it."""
        return not self.refused and not self.problems.count


class Extraction:
    """One call of the command: inputs one after the other, each its own failure domain.

    Args:
        means: what features are made by.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._videos: VideoCrops | None = None
        self._refused: list[WatchlineError] = []

    def run(self, inputs: Sequence[tuple[str, bool]]) -> Extracted:
        """Returns the features of all inputs; says what is wrong with them.

        Args:
            inputs: pictures, folders, lists and videos, and whether each is asked for.

        Raises:
            WatchlineError: nothing could be read at all; or a model cannot be had or run.
        """
        from watchline.pipeline.extracting import FeatureRows, Problems

        problems = Problems()
        listed = list(self._listed(inputs, problems))
        if not listed:
            raise self._refused[-1]
        for error in self._refused:
            say(str(error))
        embedder = self._embedder()
        found = FeatureRows(embedder.model)
        before = len(self._refused)
        for spec, stills, query in listed:
            if stills is None:
                self._video(spec, query, embedder, found, problems)
            else:
                self._stills(spec, stills, query, embedder, found, problems)
        refused = self._refused[before:]
        if len(refused) == len(listed) and not problems.count:
            for error in refused[:-1]:
                say(str(error))
            raise refused[-1]
        for line in (*map(str, refused), *problems.told()):
            say(line)
        if not len(found) and problems.count and all(stills for _, stills, _ in listed):
            raise StreamError(f"none of {problems.count} pictures could be read; check the files")
        return Extracted(found.features(), problems, len(self._refused))

    def _listed(
        self, inputs: Sequence[tuple[str, bool]], problems: Problems
    ) -> Iterator[tuple[str, list[Still] | None, bool]]:
        """Yields what each input holds, None for a video; neighbours that hold pictures are taken together."""
        from watchline.pipeline.picture_lists import is_video, stills_of

        together: tuple[str, list[Still], bool] | None = None
        for spec, query in inputs:
            try:
                _refuse_features(spec)
                stills = None if is_video(spec) else stills_of(spec, say, problems.add)
            except WatchlineError as error:
                self._refused.append(error)
                continue
            if together and stills and together[2] == query:
                together[1].extend(stills)
                continue
            if together:
                yield together
            together = (spec, stills, query) if stills else None
            if stills is None:
                yield spec, None, query
        if together:
            yield together

    def _embedder(self) -> Embedder:
        from watchline.pipeline.embedding import open_embedder

        means = self._means
        obtain = partial(fetch_shown, cache=means.cache, mirror=means.mirror)
        return open_embedder(
            means.model or self._model_expected(),
            means.cache,
            obtain,
            means.device,
            family=means.family,
            expected=means.expected,
            expected_by=means.expected_by,
        )

    def _model_expected(self) -> str:
        from watchline.pipeline.embedding import known_as

        expected = self._means.expected
        try:
            return known_as(expected, self._means.cache) if expected else MODEL
        except UsageError as error:
            raise UsageError(f"{self._means.expected_by}: {error}") from error

    def _stills(
        self, spec: str, stills: list[Still], query: bool, embedder: Embedder, found: FeatureRows, problems: Problems
    ) -> None:
        from watchline.pipeline.extracting import extract_stills
        from watchline.pipeline.machine import usable_cpus
        from watchline.reid.quality import Gate

        with (
            _interrupts_held() as stop,
            count_progress(Path(spec).name, len(stills), "pictures", quiet=self._means.quiet) as show,
        ):
            small = extract_stills(
                stills, embedder, found, problems, stop, query=query, workers=usable_cpus(), on_progress=show
            )
        if small:
            least = f"{Gate().least_width_px:g}x{Gate().least_height_px:g}"
            say(f"{spec}: {small} of {len(stills)} smaller than {least} pixels: too little to tell people apart by")

    def _video(self, spec: str, query: bool, embedder: Embedder, found: FeatureRows, problems: Problems) -> None:
        from watchline.streams.opening import open_source

        try:
            with closing(open_source(spec)) as source:
                videos = self._videos = self._videos or self._open_videos()
                with (
                    _interrupts_held() as stop,
                    run_progress(Path(spec).name, source.info.frames, quiet=self._means.quiet) as show,
                ):
                    note = videos.run(source, spec, embedder, found, problems, stop, show, query=query)
        except StreamError as error:
            self._refused.append(error)
            return
        if note:
            say(f"{spec}: {note}")

    def _open_videos(self) -> VideoCrops:
        from watchline.detectors.opening import engines_folder, open_engine
        from watchline.pipeline.machine import usable_cpus
        from watchline.pipeline.model import load_model
        from watchline.pipeline.video_crops import VideoCrops, VideoOptions

        means = self._means
        model = load_model(means.detector, means.cache, partial(fetch_shown, cache=means.cache, mirror=means.mirror))
        engine = open_engine(model.onnx, means.device, workers=usable_cpus(), engines=engines_folder(means.cache))
        return VideoCrops(engine, VideoOptions(means.best, means.fps), means.detector)


@contextmanager
def _interrupts_held() -> Iterator[threading.Event]:
    """Gives an event that SIGINT sets; the interrupt itself comes at the end, once, however impatient somebody is.

    A second one would end the wait for networks that run in threads, and these abort the process as it ends.
    """
    stop, before = threading.Event(), signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signal.signal(signal.SIGINT, lambda _signal, _frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
    if stop.is_set():
        raise KeyboardInterrupt


def say(text: str) -> None:
    """Says a line to the user, beside the answer."""
    typer.echo(f"watchline: {text}", err=True)


def _refuse_features(spec: str) -> None:
    if Path(spec).suffix.lower() == ".npz":
        raise UsageError(f"{spec}: a file of features already; name pictures or videos")
