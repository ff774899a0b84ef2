"""Which frames of the user's clips are looked at: runs of them, spread over each clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.streams.errors import StreamError
from watchline.streams.frame import Frame
from watchline.streams.images import IMAGE_SUFFIXES
from watchline.streams.opening import open_source

RUN_FRAMES: Final = 16  # in a row: a tracker that saw one frame in ten would see other movements than it will
_USUAL_EVERY: Final = 10  # where a clip does not say how long it is in any way
_MOST_FRAMES: Final = 1 << 31  # of a clip: a damaged header may announce any length

# What lies beside clips and images and is neither: labels, notes, and what file managers leave.
_BESIDE: Final = frozenset({".csv", ".db", ".ini", ".json", ".md", ".srt", ".txt", ".xml", ".yaml", ".yml"})


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

    def numbers(self) -> list[int]:
        """Returns the numbers of its frames, in the order in which `frames` gives them, as far as there are so many."""
        return [number for run in self.runs for number in run]

    def interval_s(self) -> float:
        """Returns the usual time between two frames of the clip, seconds."""
        with closing(open_source(self.spec)) as source:
            return 1 / source.info.fps


def inputs_of(spec: str) -> list[str]:
    """Returns what a person named: a folder without images stands for the clips in it.

    Raises:
        StreamError: a folder of neither, or of both, or one that cannot be read.
    """
    folder = Path(spec)
    try:
        if not folder.is_dir():
            return [spec]
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise StreamError(f"{spec}: cannot be read ({error.strerror}); check its permissions") from error
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    clips = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES | _BESIDE]
    if images and clips:
        raise StreamError(
            f"{spec}: the folder holds images ({images[0].name}) and clips ({clips[0].name}); keep each kind in a "
            "folder of its own, or name the files"
        )
    if not images and not clips:
        raise StreamError(f"{spec}: the folder holds no clips and no images; name one that does")
    return [spec] if images else [str(path) for path in clips]


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
        StreamError: an input cannot be read, or all of them together have no frame to spare for calibration.
    """
    share, calibrating, held_out = max(2, frames // len(specs)), [], []
    for spec in specs:
        length = _length(spec, share)
        half = max(1, min(share, length) // 2)
        parts = _parts(length, half)
        each = max(1, half // len(parts))
        held_out.append(Sample(spec, tuple(part[-each:] for part in parts)))
        calibrating.append(Sample(spec, tuple(_evenly(part[:-each], pool * each) for part in parts)))
    if not any(sample.numbers() for sample in calibrating):
        raise StreamError(
            f"{specs[0]}: too few frames, for some calibrate and others are compared on; give a folder or a clip of at "
            "least 2 frames"
        )
    return calibrating, held_out


def chosen(samples: Sequence[Sample], frames: Sequence[tuple[int, int]]) -> list[Sample]:
    """Returns of the inputs of `samples` certain frames.

    Args:
        samples: whose inputs.
        frames: the place of an input among them and the number of a frame in it, ascending.
    """
    kept: dict[int, list[range]] = {}
    for place, number in frames:
        kept.setdefault(place, []).append(range(number, number + 1))
    return [Sample(samples[place].spec, tuple(runs)) for place, runs in kept.items()]


def _parts(length: int, frames: int) -> list[range]:
    """Returns the clip in equal parts: as many as there are runs in `frames`, or one if all are wanted."""
    count = max(1, frames // RUN_FRAMES) if frames < length else 1
    return [range(length * i // count, length * (i + 1) // count) for i in range(count)]


def _middle(part: range, count: int) -> range:
    """Returns `count` numbers in a row from the middle of `part`, which has as many."""
    first = (len(part) - count) // 2
    return part[first : first + count]


def _evenly(part: range, count: int) -> range:
    """Returns `count` numbers of `part` at equal distances, away from its ends, or all where there are no more."""
    step = max(1, len(part) // count)
    return part[step // 2 :: step][:count]


def _length(spec: str, share: int) -> int:
    """Returns how many frames a clip has by its own word, or by how long it is; else counted, but not for ever."""
    with closing(open_source(spec)) as source:
        info = source.info
        known = info.frames or round(min((info.duration_s or 0) * info.fps, _MOST_FRAMES))
        if known:
            return known
        count = 0
        while count < share * _USUAL_EVERY and source.read() is not None:
            count += 1
    return max(1, count)
