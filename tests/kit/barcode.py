"""Frame numbers as black and white blocks in the picture: who reads one after decoding knows which frame it is.

Two rows of twenty blocks lie across the top sixth of the picture: 24 bits of number, then 16 bits of CRC. Blocks are
found by their relative place, so that one function reads pictures of every size from 160x120 up. A reading is refused
when a block is neither dark nor light, or when the CRC does not fit. The CRC sees every damage of up to three blocks,
and of any run of up to sixteen; other damage that leaves every block clearly dark or light passes once in 65,536.
"""

from __future__ import annotations

import binascii
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame

U8 = NDArray[np.uint8]
Places = NDArray[np.intp]

NUMBER_BITS = 24
CHECK_BITS = 16
ROWS, COLUMNS = 2, 20
SHARE_OF_HEIGHT = 6  # the barcode fills the top sixth
DARK, LIGHT = 16, 235  # luma of black and white; good in RGB as well
DARKEST_LIGHT, LIGHTEST_DARK = 150, 101  # between them lies no block of a sound picture
SMALLEST = (160, 120)

_CHECK_START = 0x5A17  # not zero: neither an all-black nor an all-white picture is a number
_INSIDE = (0.36, 0.64)  # where in a block its brightness is taken, across and down


def draw(picture: U8, number: int) -> None:
    """Draws `number` into a luma plane (H, W) or an RGB picture (H, W, 3), both uint8, in place.

    Raises:
        ValueError: the picture is smaller than 160x120, or the number needs more than 24 bits.
    """
    height, width = picture.shape[:2]
    if width < SMALLEST[0] or height < SMALLEST[1]:
        raise ValueError(f"picture: want at least 160x120 for a barcode, got {width}x{height}")
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"number: want 0 to {(1 << NUMBER_BITS) - 1}, got {number}")
    content = number.to_bytes(NUMBER_BITS // 8, "big")
    code = content + binascii.crc_hqx(content, _CHECK_START).to_bytes(CHECK_BITS // 8, "big")
    blocks = np.unpackbits(np.frombuffer(code, np.uint8)).reshape(ROWS, COLUMNS)
    levels = np.where(blocks, LIGHT, DARK).astype(np.uint8)
    code_height = height // SHARE_OF_HEIGHT
    rows = np.arange(code_height) * ROWS // code_height
    columns = np.arange(width) * COLUMNS // width
    pixels = levels[rows[:, None], columns]
    picture[:code_height] = pixels if picture.ndim == 2 else pixels[..., None]


def read(picture: U8) -> int | None:
    """Returns the number in a luma plane (H, W) or an RGB picture (H, W, 3), both uint8; None where none is seen."""
    height, width = picture.shape[:2]
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return None
    rows, columns = _places(height, width)
    points = picture[rows, columns] if picture.ndim == 2 else picture[rows, columns, 1]
    levels = points.sum(axis=1, dtype=np.uint16) >> 2
    lit = levels >= DARKEST_LIGHT
    if not (lit | (levels <= LIGHTEST_DARK)).all():
        return None
    code = np.packbits(lit).tobytes()
    content, check = code[: NUMBER_BITS // 8], code[NUMBER_BITS // 8 :]
    if binascii.crc_hqx(content, _CHECK_START) != int.from_bytes(check, "big"):
        return None
    return int.from_bytes(content, "big")


def luma(frame: VideoFrame) -> U8:
    """Returns the luma plane (H, W) of a decoded planar YUV frame; shares the frame's memory."""
    plane = frame.planes[0]
    pixels: U8 = np.frombuffer(memoryview(plane), np.uint8)
    return pixels.reshape(-1, plane.line_size)[: frame.height, : frame.width]


def read_frame(frame: VideoFrame) -> int | None:
    """Returns the number that a decoded planar YUV frame carries; None where none is seen."""
    return read(luma(frame))


@lru_cache(maxsize=64)
def _places(height: int, width: int) -> tuple[Places, Places]:
    """Returns rows and columns, both (40, 4), of the points that are looked at: four in each block."""
    code_height = height // SHARE_OF_HEIGHT
    down = [[int((row + part) * code_height / ROWS) for part in _INSIDE] for row in range(ROWS)]
    across = [[int((column + part) * width / COLUMNS) for part in _INSIDE] for column in range(COLUMNS)]
    points = [[(y, x) for y in down[row] for x in across[column]] for row in range(ROWS) for column in range(COLUMNS)]
    places = np.array(points, np.intp)
    return places[..., 0], places[..., 1]
