"""Which frames of the user's clips are looked at: runs of them, spread over each clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from watchline.streams.frame import Frame
from watchline.streams.opening import open_source

RUN_FRAMES: Final = 16  # in a row: a tracker that saw one frame in ten would see other movements than it will
_USUAL_EVERY: Final = 10  # where a clip does not say how long it is


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames of a clip.

    Attributes:
        spec: a file, folder or pattern.
        runs: numbers of frames, from 0, ascending and in no run twice; what lies beyond the end is left out.
    """

    spec: str
    runs: tuple[range, ...]

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """Gives the number of its run and the frame, one at a time, decoded anew at each call.

        Raises:
            StreamError: the input cannot be read.
        """
        with closing(open_source(self.spec)) as source:
            index = 0
            for number, run in enumerate(self.runs):
                for wanted in run:
                    while (frame := source.read()) is not None and index < wanted:
                        index += 1
                    if frame is None:
                        return
                    index += 1
                    yield number, frame

    def interval_s(self) -> float:
        """Returns the usual time between two frames of the clip, seconds."""
        with closing(open_source(self.spec)) as source:
            return 1 / source.info.fps


def spread(specs: Sequence[str], frames: int) -> list[Sample]:
    """Returns runs of frames that lie evenly over their inputs, about `frames` in all, each input with the same share.

    Raises:
        StreamError: an input cannot be read.
    """
    share, samples = max(1, frames // len(specs)), []
    for spec in specs:
        length = _length(spec, share)
        parts = _parts(length, share)
        samples.append(Sample(spec, tuple(_middle(part, min(share, length) // len(parts)) for part in parts)))
    return samples


def spread_apart(specs: Sequence[str], frames: int, pool: int = 1) -> tuple[list[Sample], list[Sample]]:
    """Returns frames to calibrate with and frames to compare on, about `frames` in all, half of them for either.

    Each clip is cut into parts. The end of each is compared on, a run of frames; from what is before it come those that
    calibrate, evenly, so that few of them are next to one that is compared on.

    Args:
        specs: files, folders or patterns.
        frames: how many.
        pool: give this many times the frames that calibrate, if there are so many.

    Raises:
        StreamError: an input cannot be read.
    """
    share, calibrating, held_out = max(2, frames // len(specs)), [], []
    for spec in specs:
        length = _length(spec, share)
        half = max(1, min(share, length) // 2)
        parts = _parts(length, half)
        each = max(1, half // len(parts))
        held_out.append(Sample(spec, tuple(part[-each:] for part in parts)))
        calibrating.append(Sample(spec, tuple(_evenly(part[:-each], pool * each) for part in parts)))
    return calibrating, held_out


def chosen(samples: Sequence[Sample], places: Sequence[int]) -> list[Sample]:
    """Returns of all the frames of `samples`, in their order, those at `places`, ascending."""
    wanted, first, found = frozenset(places), 0, []
    for sample in samples:
        numbers = [number for run in sample.runs for number in run]
        kept = tuple(range(n, n + 1) for place, n in enumerate(numbers, first) if place in wanted)
        if kept:
            found.append(Sample(sample.spec, kept))
        first += len(numbers)
    return found


def _parts(length: int, frames: int) -> list[range]:
    """Returns the clip in equal parts: as many as there are runs in `frames`, or one if all are wanted."""
    count = max(1, frames // RUN_FRAMES) if frames < length else 1
    return [range(length * i // count, length * (i + 1) // count) for i in range(count)]


def _middle(part: range, count: int) -> range:
    """Returns `count` numbers in a row from the middle of `part`, which has as many."""
    first = (len(part) - count) // 2
    return part[first : first + count]


def _evenly(part: range, count: int) -> range:
    """Returns `count` numbers of `part` at equal distances, or all where there are no more."""
    return part[:: max(1, len(part) // count)][:count]


def _length(spec: str, share: int) -> int:
    """Returns how many frames a clip has; counted, but not for ever, where it does not say so itself."""
    with closing(open_source(spec)) as source:
        if source.info.frames:
            return int(source.info.frames)
        count = 0
        while count < share * _USUAL_EVERY and source.read() is not None:
            count += 1
    return max(1, count)
