"""Compares two models on the same frames: what they find, what is followed, time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from watchline.detectors.agreement import Agreement, Thresholds, agreement, suggest_thresholds
from watchline.detectors.detections import Detections
from watchline.detectors.engine import Fallback
from watchline.detectors.importer.description import model_files
from watchline.pipeline.compare_sample import Sample
from watchline.pipeline.compare_side import Answered, Asked, Hello, Job, Ran, read_found
from watchline.pipeline.track_agreement import TrackAgreement, agreement_of_tracks
from watchline.streams.errors import ModelError, StreamError, UsageError
from watchline.streams.frame import Frame
from watchline.trackers.build import build_tracker
from watchline.trackers.tracks import Tracks

_FLOOR: Final = 0.05  # what is fainter is not looked at by either side
_LOW_SCORE: Final = 0.1  # of tracks
_PATIENCE_S: Final = 10  # for a side to end


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
        runtime: what ran it at last, and its version.
        device: where.
        provider: the runtime's name of what ran it, with the precision where that may be less than float32.
        file_bytes: size of its network.
        wall_ms: a frame, median: picture to boxes.
        cpu_ms: processor time a frame, mean.
        peak_bytes: most memory that its process held, with Python and one decoded picture.
        fallbacks: every change of device, in order.
    """

    name: str
    runtime: str
    device: str
    provider: str
    file_bytes: int
    wall_ms: float
    cpu_ms: float
    peak_bytes: int
    fallbacks: tuple[Fallback, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What model B does beside model A.

    Attributes:
        a: what A took.
        b: what B took.
        frames: compared.
        runs: of frames in a row, in each of which tracks begin anew.
        boxes: how far B finds what A finds.
        tracks: how far B's boxes give A's tracks.
        suggested: scores at which B gives most nearly what A gives at its own.
    """

    a: SideFacts
    b: SideFacts
    frames: int
    runs: int
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
    """What one model gave for each run of frames, frame by frame, and what it took and ran on at last."""

    detections: list[list[Detections]] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    ran: Ran = field(default_factory=lambda: Ran(runtime="", device="", provider="", fallbacks=[]))

    def all(self) -> list[Detections]:
        """Returns what was found in all frames of all runs."""
        return [found for run in self.detections for found in run]


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
        """Lets the model look at a frame, and keeps what it finds with the last run's.

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
        self.found.ran = answer["ran"]

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
        ran = self.found.ran
        return SideFacts(
            name=self.name,
            runtime=ran["runtime"],
            device=ran["device"],
            provider=ran["provider"],
            file_bytes=sum(file.stat().st_size for file in model_files(network)),
            wall_ms=1e3 * float(np.median(self.found.wall_s)),
            cpu_ms=1e3 * float(np.mean(self.found.cpu_s)),
            peak_bytes=self.found.peak_bytes,
            fallbacks=tuple(Fallback(*change) for change in ran["fallbacks"]),
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
        runs = [run for sample in samples for run in _look(side_a, side_b, sample)]
        if not runs:
            raise StreamError(f"{samples[0].spec}: no frame could be read from it; check the file")
        found_a, found_b = side_a.found.all(), [_renumbered(found, renumber) for found in side_b.found.all()]
        suggested = suggest_thresholds(found_a, found_b, options.score, _LOW_SCORE)
        tracks = TrackAgreement.sum_of(
            agreement_of_tracks(
                _tracks(run_a, at, options.score),
                _tracks([_renumbered(found, renumber) for found in run_b], at, options.score),
            )
            for run_a, run_b, at in zip(side_a.found.detections, side_b.found.detections, runs, strict=True)
        )
        return Comparison(
            a=side_a.facts(a.network),
            b=side_b.facts(b.network),
            frames=len(found_a),
            runs=len(runs),
            boxes=agreement(found_a, found_b, options.score),
            tracks=tracks,
            suggested=suggested,
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """When the frames of a run were taken, seconds; and the usual time between two."""

    times: list[float]
    interval_s: float


def _look(a: Side, b: Side, sample: Sample) -> list[_Run]:
    """Lets both look at the frames of a sample, and returns its runs that have any."""
    interval_s, runs, last = sample.interval_s(), list[_Run](), -1
    for number, frame in sample.frames():
        if number != last:
            last = number
            runs.append(_Run([], interval_s))
            for side in (a, b):
                side.found.detections.append([])
        a.detect(frame)
        b.detect(frame)
        runs[-1].times.append(frame.pts_s)
    return runs


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


def _tracks(found: Iterable[Detections], run: _Run, score: float) -> list[Tracks]:
    """Returns the tracks of a run, frame by frame, as `watchline run` follows them."""
    tracker = build_tracker(interval_s=run.interval_s, score=score)
    low = min(_LOW_SCORE, score)
    return [tracker.update(each[each.score >= np.float32(low)], at) for each, at in zip(found, run.times, strict=True)]
