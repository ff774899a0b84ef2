"""Pictures in: read from files that anybody may have made, checked before they are decoded, and cut to a box."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from watchline.pipeline.picture_headers import picture_size
from watchline.reid.cutting import Cut
from watchline.streams.errors import StreamError
from watchline.streams.frame import U8
from watchline.streams.images import MAX_FILE_BYTES

MOST_PIXELS: Final = 40_000_000  # of one picture; twice what cameras give
LEAST_SIDE_PX: Final = 4  # of a crop: below, nobody can be told from anybody

Box: TypeAlias = tuple[float, float, float, float]


def read_picture(path: Path) -> U8:
    """Returns a picture as (H, W, 3) uint8 RGB, turned upright as its EXIF says.

    Grey, palette and 16-bit pictures become 8-bit RGB; transparency is dropped.

    Raises:
        StreamError: it cannot be read, is no picture that is read here, damaged, or larger than `MOST_PIXELS`; names
            the file.
    """
    try:
        return decode(bytes_of(path))
    except OSError as error:
        raise StreamError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from error
    except ValueError as error:
        raise StreamError(f"{path}: {error}") from error


def cut(rgb: U8, box: Box, what: str) -> U8:
    """Returns what lies in a box, as a view; a box that reaches beyond the picture is cut off at its border.

    Args:
        rgb: (H, W, 3) uint8.
        box: xyxy, pixels.
        what: the picture's name, for the error.

    Raises:
        StreamError: too little of the box lies in the picture.

    >>> cut(np.zeros((9, 9, 3), np.uint8), (2, 3, 20, 8), "a.jpg").shape
    (5, 7, 3)
    """
    height, width = rgb.shape[:2]
    part = Cut.of(np.array(box, np.float32), height, width)
    if min(part.width, part.height) >= LEAST_SIDE_PX:
        return part.view(rgb)
    shown = ", ".join(f"{side:g}" for side in box)
    raise StreamError(
        f"{what}: the box {shown} holds less than {LEAST_SIDE_PX}x{LEAST_SIDE_PX} pixels of its {width}x{height}"
    )


def bytes_of(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Returns what a file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, empty, or has more than `most` bytes.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("is a folder, not a picture")
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
        raise ValueError("is no regular file")
    if status.st_size > most:
        raise ValueError(f"has {status.st_size} bytes, more than {most}")
    with path.open("rb") as file:
        data = file.read(status.st_size)  # no more: it may be growing
    if not data:
        raise ValueError("is empty (0 bytes)")
    return data


def decode(data: bytes) -> U8:
    """Returns a picture as `read_picture` does, from what its file holds.

    Raises:
        ValueError: it is no picture that is read here, damaged, or larger than `MOST_PIXELS`.
    """
    import cv2

    width, height = picture_size(data)
    if width * height > MOST_PIXELS:
        raise ValueError(f"is {width}x{height} pixels, more than {MOST_PIXELS // 1_000_000} million; make it smaller")
    if min(width, height) < LEAST_SIDE_PX:
        raise ValueError(f"is {width}x{height} pixels, less than {LEAST_SIDE_PX}x{LEAST_SIDE_PX}")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"is refused by OpenCV, which wants {error.err}") from error
    if bgr is None:
        raise ValueError("is damaged: it cannot be decoded")
    if sorted(bgr.shape[:2]) != sorted((width, height)):
        raise ValueError(f"has a damaged header: it says {width}x{height}, and holds {bgr.shape[1]}x{bgr.shape[0]}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), np.uint8)
