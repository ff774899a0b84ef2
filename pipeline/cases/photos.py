"""Photos of missing people: read from files that anybody may have made, into pixels and nothing else.

The road of a photo: its kind and its size by its first bytes -> decoded in a process of its own, within bounds, and
turned upright -> encoded anew. What the file said beside its pixels (where, when and by which phone it was taken, a
small picture of what was cut away) ends there: what comes later sees the new bytes alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from watchline.detectors.confined import Bounds, exchange
from watchline.pipeline.cases.photo_child import NAME, Job
from watchline.pipeline.cases.photo_kinds import TAKEN, is_animated, kind_of
from watchline.pipeline.cropping import LEAST_SIDE_PX, MOST_PIXELS, bytes_of, decode
from watchline.pipeline.picture_headers import picture_size
from watchline.streams.errors import StreamError
from watchline.streams.frame import U8

MOST_BYTES: Final = 100 << 20  # of a photo's file

BOUNDS: Final = Bounds(memory_bytes=1 << 30, cpu_s=20)  # 40 million pixels take 0.6 GiB, and 2 s
_WANTED: Final = f"one file, {TAKEN}, of at most {MOST_BYTES >> 20} MB"
_MOST_SIDE_PX: Final = 30_000
_LOSSLESS_PIXELS: Final = 1_000_000  # of small photos every pixel counts; of large ones a PNG would have 60 MB
_JPEG_QUALITY: Final = 95


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photo that was read.

    Attributes:
        name: as the user named it.
        kind: of its file: "JPEG", "PNG" or "WebP".
        file_bytes: size of its file.
        sha256: of its file.
        rgb: (H, W, 3) uint8, upright; what `picture` decodes to.
        picture: the photo encoded anew, a PNG or JPEG of pixels alone.
        note: what a person should know of how it was read; "" for nothing.
    """

    name: str
    kind: str
    file_bytes: int
    sha256: str
    rgb: U8
    picture: bytes
    note: str = ""


def read_photo(path: Path) -> Photo:
    """Returns the photo in a file.

    Raises:
        StreamError: it cannot be read, is none, damaged, too large, or takes too much to decode; names it.
    """
    # The name, too, may come from anybody: nothing in it is for a terminal to obey.
    name = "".join(each if each.isprintable() else "?" for each in str(path))
    try:
        data = bytes_of(path, MOST_BYTES)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StreamError(f"{name}: cannot be read ({reason}); check the name and its permissions") from error
    except ValueError as error:
        raise StreamError(f"{name}: {error}; give a photo: {_WANTED}") from error
    return photo_of(data, name)


def photo_of(data: bytes, name: str, bounds: Bounds = BOUNDS) -> Photo:
    """Returns the photo that bytes hold.

    Args:
        data: all that its file holds.
        name: what a person calls it, for errors.
        bounds: of the process that decodes it.

    Raises:
        StreamError: as of `read_photo`.
    """
    try:
        kind = kind_of(data)
        _expect_size(*picture_size(data))
    except ValueError as error:
        raise StreamError(f"{name}: {error}") from error
    try:
        picture, rgb = _encoded(_decoded(data, bounds))
    except StreamError as error:
        raise StreamError(f"{name}: {str(error).removeprefix(f'{NAME}: ')}") from error
    rgb.flags.writeable = False
    note = "holds several pictures, an animation; the first one was taken" if is_animated(data) else ""
    return Photo(name, kind, len(data), hashlib.sha256(data).hexdigest(), rgb, picture, note)


def _expect_size(width: int, height: int) -> None:
    """Refuses what the child would refuse, before one is started."""
    if width * height > MOST_PIXELS:
        raise ValueError(f"is {width}x{height} pixels, more than {MOST_PIXELS // 1_000_000} million; make it smaller")
    if max(width, height) > _MOST_SIDE_PX:
        raise ValueError(f"is {width}x{height} pixels, more than {_MOST_SIDE_PX} in a row; make it smaller")
    if min(width, height) < LEAST_SIDE_PX:
        raise ValueError(f"is {width}x{height} pixels, less than {LEAST_SIDE_PX}x{LEAST_SIDE_PX}; nobody can be seen")


def _decoded(data: bytes, bounds: Bounds) -> U8:
    """Returns the pixels of a photo, decoded in a process of its own."""
    job = dict(Job(bytes=len(data)))
    shape, pixels = exchange("watchline.pipeline.cases.photo_child", job, bounds, Path(NAME), data, StreamError)
    try:
        height, width = map(int, shape)
        _expect_size(width, height)
    except (TypeError, ValueError, OverflowError) as error:
        raise StreamError("what came back is no picture; it is damaged or hostile") from error
    if len(pixels) != height * width * 3:  # it was ended while it wrote
        raise StreamError(f"only {len(pixels)} bytes of {width}x{height} pixels came back; try again")
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def _encoded(rgb: U8) -> tuple[bytes, U8]:
    """Returns a picture encoded anew, and what that decodes to."""
    import cv2

    lossless = rgb.shape[0] * rgb.shape[1] <= _LOSSLESS_PIXELS
    form, options = (".png", []) if lossless else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    done, data = cv2.imencode(form, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise StreamError("cannot be encoded anew; save it as JPEG, and give that")
    picture = data.tobytes()
    return picture, rgb.copy() if lossless else decode(picture)
