"""The pictures of a benchmark: taken from all over a clip, or made, and put where every side reads the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from watchline.streams.errors import OutputError, StreamError
from watchline.streams.frame import U8, Frame
from watchline.streams.opening import open_source

KEPT: Final = 24  # pictures that both sides are compared on
HELD: Final = 4  # of them each side holds these in memory and is timed on: more would count as its memory
_MOST_READ: Final = 600
_STEP: Final = 10  # where the input does not say how long it is
_MADE_SIZE: Final = (720, 1280)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of one size in a file that NumPy maps.

    Attributes:
        path: of the file, (count, height, width, 3) uint8 RGB.
        count: at least 1.
        height: rows of each.
        width: columns of each.
        source: what they are, for people.
        made: they are no camera's.
    """

    path: Path
    count: int
    height: int
    width: int
    source: str
    made: bool

    @property
    def held(self) -> list[int]:
        """Which of them the sides are timed on: few, from beginning to end."""
        few = min(HELD, self.count)
        return [i * self.count // few for i in range(few)]

    @property
    def held_bytes(self) -> int:
        """What these take in memory."""
        return len(self.held) * self.height * self.width * 3


def store(spec: str, folder: Path) -> Pictures:
    """Writes the pictures of a clip, or made ones where `spec` is empty, into `folder`.

    Of a folder of images, those of another size than the first are left out.

    Raises:
        StreamError: nothing can be read.
        OutputError: no room for them.
    """
    path = folder / "pictures.npy"
    frames = [frame.rgb() for frame in _taken(spec)] if spec else list(_made())
    try:
        np.save(path, np.stack(frames))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    height, width = frames[0].shape[:2]
    source = Path(spec).name if spec else "made pictures, of no camera"
    return Pictures(path, len(frames), height, width, source, made=not spec)


def _taken(spec: str) -> Iterator[Frame]:
    """Yields frames of one size from all over the input's first `_MOST_READ`."""
    source = open_source(spec)
    try:
        announced = source.info.frames
        step = max(1, min(announced, _MOST_READ) // KEPT) if announced else _STEP
        first: Frame | None = None
        taken = 0
        for index in range(_MOST_READ):
            frame = source.read()
            if frame is None or taken == KEPT:
                break
            first = first or frame
            if index % step == 0 and (frame.height, frame.width) == (first.height, first.width):
                taken += 1
                yield frame
    finally:
        source.close()
    if first is None:
        raise StreamError(f"{spec}: no picture in it can be decoded; give another --input")


def _made() -> Iterator[U8]:
    """Yields pictures with large and small things in them that move; the same at every call."""
    rng = np.random.default_rng(0)
    height, width = _MADE_SIZE
    rows, columns = np.mgrid[0:height, 0:width]
    ground = (rows * 120 // height + columns * 60 // width).astype(np.uint8)[..., None]
    things = rng.integers(20, 200, (12, 2))
    start, speed = rng.uniform(0, 0.8, (12, 2)), rng.uniform(-0.02, 0.02, (12, 2))
    colours = rng.integers(0, 256, (12, 3), np.uint8)
    for index in range(2 * HELD):
        picture = np.repeat(ground, 3, axis=2) + rng.integers(0, 16, (height, width, 3), np.uint8)
        for size, place, colour in zip(things, (start + index * speed) % 0.9, colours, strict=True):
            top, left = (place * _MADE_SIZE).astype(int)
            picture[top : top + size[0], left : left + size[1]] = colour
        yield picture
