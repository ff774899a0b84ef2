"""Compares two models on the same frames: what they find, what is followed, time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from watchline.detectors.agreement import Agreement, Thresholds, agreement, suggest_thresholds
from watchline.detectors.detections import Detections
from watchline.detectors.importer.description import model_files
from watchline.pipeline.compare_side import Answered, Asked, Hello, Job, read_found
from watchline.pipeline.track_agreement import TrackAgreement, agreement_of_tracks
from watchline.streams.errors import ModelError, StreamError, UsageError
from watchline.streams.frame import Frame
from watchline.streams.opening import open_source
from watchline.trackers.build import build_tracker
from watchline.trackers.tracks import Tracks

_FLOOR: Final = 0.05  # what is fainter is not looked at by either side
_LOW_SCORE: Final = 0.1  # of tracks
_PATIENCE_S: Final = 10  # for a side to end
_USUAL_EVERY: Final = 10  # where a clip does not say how long it is


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames of a clip: `offset`, then every so many, at most `most`.

    Attributes:
        spec: a file, folder or pattern.
        every: one frame in this many.
        offset: the first.
        most: not more than this many; 0 for all.
    """

    spec: str
    every: int = 1
    offset: int = 0
    most: int = 0

    def frames(self) -> Iterator[Frame]:
        """Gives the frames, one at a time, decoded anew at each call.

        Raises:
            StreamError: the input cannot be read.
        """
        with closing(open_source(self.spec)) as source:
            index = given = 0
            while (frame := source.read()) is not None:
                if index >= self.offset and (index - self.offset) % self.every == 0:
                    yield frame
                    given += 1
                    if given == self.most:
                        return
                index += 1

    def interval_s(self) -> float:
        """Returns the usual time between two of its frames, seconds."""
        with closing(open_source(self.spec)) as source:
            return self.every / source.info.fps


def spread(specs: Sequence[str], frames: int) -> list[Sample]:
    """Returns samples that lie evenly over their inputs, about `frames` in all, each input with the same share.

    Raises:
        StreamError: an input cannot be read.
    """
    share, samples = max(1, frames // len(specs)), []
    for spec in specs:
        with closing(open_source(spec)) as source:
            there = source.info.frames
        every = max(1, there // share) if there else _USUAL_EVERY
        samples.append(Sample(spec, every, most=share))
    return samples


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that is compared.

    Attributes:
        name: as the user said it.
        network: what an engine runs.
        device: where.
        family: what the network is, where the file does not say it.
    """

    name: str
    network: Path
    device: str = "auto"
    family: str = ""


@dataclass(frozen=True, slots=True)
class SideFacts:
    """What one model took.

    Attributes:
        name: of the model.
        runtime: what ran it.
        device: where.
        file_bytes: size of its network.
        wall_ms: a frame, median: picture to boxes.
        cpu_ms: processor time a frame, mean.
        peak_bytes: most memory that its process held, with Python and one decoded picture.
    """

    name: str
    runtime: str
    device: str
    file_bytes: int
    wall_ms: float
    cpu_ms: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What model B does beside model A.

    Attributes:
        a: what A took.
        b: what B took.
        frames: compared.
        boxes: how far B finds what A finds.
        tracks: how far B's boxes give A's tracks.
        suggested: scores at which B gives most nearly what A gives at its own.
    """

    a: SideFacts
    b: SideFacts
    frames: int
    boxes: Agreement
    tracks: TrackAgreement
    suggested: Thresholds


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How models are compared.

    Attributes:
        score: least score of what counts as found, in [0, 1].
        size: longest side of the input of a network that leaves it open, pixels.
        classes: names of the classes to look at; empty means all.
    """

    score: float = 0.25
    size: int = 640
    classes: tuple[str, ...] = ()


@dataclass(slots=True)
class Found:
    """What one model gave for each clip, frame by frame."""

    detections: list[list[Detections]] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_bytes: int = 0

    def all(self) -> list[Detections]:
        """Returns what was found in all frames of all clips."""
        return [found for clip in self.detections for found in clip]


class Side:
    """A process that runs one model.

    Raises:
        ModelError: the model cannot be run.
        UsageError: it does not know a class that was asked for, or takes no such size.
    """

    def __init__(self, candidate: Candidate, options: CompareOptions) -> None:
        self.name = candidate.name
        job = Job(
            network=str(candidate.network.absolute()),
            family=candidate.family,
            device=candidate.device,
            least_score=min(_FLOOR, options.score),
            size=options.size,
            classes=list(options.classes),
        )
        self._process = subprocess.Popen(  # noqa: S603  # our own module, no shell
            [sys.executable, "-P", "-m", "watchline.pipeline.compare_side", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self.found = Found()
        try:
            self.hello: Hello = json.loads(self._line())
            if "error" in self.hello:
                raise (UsageError if self.hello["usage"] else ModelError)(f"{self.name}: {self.hello['error']}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def detect(self, frame: Frame) -> None:
        """Lets the model look at a frame, and keeps what it finds with the last clip's.

        Raises:
            ModelError: it failed, or its process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        rgb = frame.rgb()
        asked = Asked(sequence=frame.sequence, pts_s=frame.pts_s, height=rgb.shape[0], width=rgb.shape[1])
        try:
            self._process.stdin.write(json.dumps(asked).encode("ascii") + b"\n" + np.ascontiguousarray(rgb).data)
            self._process.stdin.flush()
        except OSError as error:
            raise ModelError(f"{self.name}: its process ended while it looked at a frame; out of memory?") from error
        answer: Answered = json.loads(self._line())
        if "error" in answer:
            raise ModelError(f"{self.name}: {answer['error']}")
        self.found.detections[-1].append(read_found(answer, self._process.stdout))
        self.found.wall_s.append(answer["wall_s"])
        self.found.cpu_s.append(answer["cpu_s"])
        self.found.peak_bytes = answer["peak_bytes"]

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def facts(self, network: Path) -> SideFacts:
        """Returns what it took, once it has looked at all frames."""
        return SideFacts(
            name=self.name,
            runtime=self.hello["runtime"],
            device=self.hello["device"],
            file_bytes=sum(file.stat().st_size for file in model_files(network)),
            wall_ms=1e3 * float(np.median(self.found.wall_s)),
            cpu_ms=1e3 * float(np.mean(self.found.cpu_s)),
            peak_bytes=self.found.peak_bytes,
        )

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ModelError(f"{self.name}: the process that runs it ended without an answer; out of memory?")
        return line


def compare(a: Candidate, b: Candidate, samples: Sequence[Sample], options: CompareOptions) -> Comparison:
    """Returns what `b` does beside `a`. Both look at each frame in turn, so that a busy machine is busy for both.

    Raises:
        ModelError: a model cannot be run.
        StreamError: an input cannot be read, or gives no frame.
        UsageError: the models do not know the same classes, or not those that were asked for.
    """
    with Side(a, options) as side_a, Side(b, options) as side_b:
        renumber = _classes_of_a(side_a, side_b)
        times: list[list[float]] = []
        for sample in samples:
            times.append([])
            for side in (side_a, side_b):
                side.found.detections.append([])
            for frame in sample.frames():
                side_a.detect(frame)
                side_b.detect(frame)
                times[-1].append(frame.pts_s)
        if not any(times):
            raise StreamError(f"{samples[0].spec}: no frame could be read from it; check the file")
        found_a, found_b = side_a.found.all(), [_renumbered(found, renumber) for found in side_b.found.all()]
        suggested = suggest_thresholds(found_a, found_b, options.score, _LOW_SCORE)
        tracks = TrackAgreement.sum_of(
            agreement_of_tracks(
                _tracks(clip_a, at, sample.interval_s(), options.score),
                _tracks([_renumbered(found, renumber) for found in clip_b], at, sample.interval_s(), options.score),
            )
            for clip_a, clip_b, at, sample in zip(
                side_a.found.detections, side_b.found.detections, times, samples, strict=True
            )
        )
        return Comparison(
            a=side_a.facts(a.network),
            b=side_b.facts(b.network),
            frames=len(found_a),
            boxes=agreement(found_a, found_b, options.score),
            tracks=tracks,
            suggested=suggested,
        )


def _classes_of_a(a: Side, b: Side) -> list[int]:
    """Returns the class of A that has the name of each class of B; one that A does not know, for those without.

    Raises:
        UsageError: there is none in common.
    """
    labels_a, labels_b = a.hello["labels"], b.hello["labels"]
    if not set(labels_a) & set(labels_b):
        few = ", ".join(labels_a[:3]), ", ".join(labels_b[:3])
        raise UsageError(f"{a.name} finds {few[0]}, {b.name} finds {few[1]}: they have no class in common")
    strange = len(labels_a)
    return [labels_a.index(label) if label in labels_a else strange + i for i, label in enumerate(labels_b)]


def _renumbered(found: Detections, classes: Sequence[int]) -> Detections:
    return Detections(found.xyxy, found.score, np.array(classes, np.int32)[found.class_id])


def _tracks(clip: Iterable[Detections], times: Sequence[float], interval_s: float, score: float) -> list[Tracks]:
    """Returns the tracks of a clip, frame by frame, as `watchline run` follows them."""
    tracker = build_tracker(interval_s=interval_s, score=score)
    low = min(_LOW_SCORE, score)
    return [tracker.update(found[found.score >= np.float32(low)], at) for found, at in zip(clip, times, strict=True)]
