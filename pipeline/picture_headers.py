"""What a picture's file says of its size, read without decoding anything: JPEG, PNG, WebP and BMP.

A few kilobytes can announce gigabytes of pixels, so the size is known and bounded before a decoder sees the file. What
a decoder would fill up with grey, such as a JPEG that ends early, is found here too.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import Final

PICTURE_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})  # what files of these are called
# Pictures that nothing here reads. A folder of them is told, and not taken for one without pictures.
UNREAD_SUFFIXES: Final = frozenset({".avif", ".gif", ".heic", ".heif", ".jp2", ".tif", ".tiff"})

_NO_PICTURE: Final = "is no JPEG, PNG, WebP or BMP picture"
_NO_END: Final = "is cut off: its end is missing"
_DAMAGED: Final = "has a damaged header"
_MOST_PARTS: Final = 100_000  # markers of a JPEG, chunks of a PNG: more is no picture but a burden
_MOST_SCANS: Final = 100  # of a JPEG; every one goes over all pixels again

_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # "start of frame" markers
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_JPEG_START_OF_SCAN, _JPEG_END = 0xDA, 0xD9
_JPEG_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])")
_JPEG_AFTER_SCAN: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # what ends the packed data of a scan

_PNG_START: Final = b"\x89PNG\r\n\x1a\n"


def picture_size(data: bytes) -> tuple[int, int]:
    """Returns (width, height) in pixels, as stored: before a turn that EXIF asks for.

    Args:
        data: the whole file.

    Raises:
        ValueError: it is none of these kinds of picture, or its header is damaged, or its end is missing.

    >>> picture_size(b"I am a letter.")
    Traceback (most recent call last):
    ValueError: is no JPEG, PNG, WebP or BMP picture
    """
    for start, read in _READERS:
        if data.startswith(start):
            try:
                width, height = read(data)
            except (struct.error, IndexError) as error:
                raise ValueError(_NO_END) from error
            if width < 1 or height < 1:
                raise ValueError(f"{_DAMAGED}: it says {width}x{height} pixels")
            return width, height
    raise ValueError(_NO_PICTURE)


def _jpeg(data: bytes) -> tuple[int, int]:
    """Goes from marker to marker as a decoder does: to the size, and on to the end."""
    size, scans, place, pattern = (0, 0), 0, 2, _JPEG_MARKER
    for _ in range(_MOST_PARTS):
        found = pattern.search(data, place)
        if not found:
            raise ValueError(_NO_END)
        marker, place, pattern = found[1][0], found.end(), _JPEG_MARKER
        if marker == _JPEG_END:
            if not scans:
                raise ValueError(f"{_DAMAGED}: it holds no pixels")
            return size
        if marker in _JPEG_BARE:
            continue
        (length,) = struct.unpack_from(">H", data, place)
        if marker in _JPEG_SIZES:
            if size != (0, 0):
                raise ValueError(f"{_DAMAGED}: it gives two sizes")
            height, width = struct.unpack_from(">HH", data, place + 3)
            size = width, height
        elif marker == _JPEG_START_OF_SCAN:
            scans += 1
            pattern = _JPEG_AFTER_SCAN
            if scans > _MOST_SCANS:
                raise ValueError(f"goes over its pixels more than {_MOST_SCANS} times")
        place += length
    raise ValueError(f"{_DAMAGED}: it has more than {_MOST_PARTS} parts")


def _png(data: bytes) -> tuple[int, int]:
    """Goes from chunk to chunk and compares their check sums."""
    size, place = (0, 0), len(_PNG_START)
    for part in range(_MOST_PARTS):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        (check,) = struct.unpack_from(">I", data, end)
        if part == 0:
            if kind != b"IHDR":
                raise ValueError(f"{_DAMAGED}: it begins without a size")
            size = struct.unpack_from(">II", data, place + 8)
        if zlib.crc32(memoryview(data)[place + 4 : end]) != check:
            raise ValueError("is damaged: a check sum is wrong")
        if kind == b"IEND":
            return size
        place = end + 4
    raise ValueError(f"{_DAMAGED}: it has more than {_MOST_PARTS} parts")


def _webp(data: bytes) -> tuple[int, int]:
    length, form, kind = struct.unpack_from("<4xI4s4s", data)
    if form != b"WEBP":
        raise ValueError(_NO_PICTURE)
    if kind == b"VP8X":
        low = struct.unpack_from("<3B3B", data, 24)
        size = 1 + low[0] + (low[1] << 8) + (low[2] << 16), 1 + low[3] + (low[4] << 8) + (low[5] << 16)
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        size = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        size = width & 0x3FFF, height & 0x3FFF
    else:
        raise ValueError(_DAMAGED)
    if len(data) < 8 + length:
        raise ValueError(_NO_END)
    return size


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:  # OS/2's
        width, height = struct.unpack_from("<HH", data, 18)
        bits, packed = struct.unpack_from("<H", data, 24)[0], 0
    else:
        width, height, _planes, bits, packed = struct.unpack_from("<iiHHI", data, 18)
    (start,) = struct.unpack_from("<I", data, 10)
    height = abs(height)  # below 0 where the top row comes first
    row_bytes = (width * bits + 31) // 32 * 4
    if packed in (0, 3) and len(data) < start + row_bytes * height:  # 1 and 2 are run lengths
        # A size far above what the file holds is told as the size that it says.
        if width * height > 8 * len(data):
            return width, height
        raise ValueError(_NO_END)
    return width, height


_READERS: Final[tuple[tuple[bytes, Callable[[bytes], tuple[int, int]]], ...]] = (
    (b"\xff\xd8", _jpeg),
    (_PNG_START, _png),
    (b"RIFF", _webp),
    (b"BM", _bmp),
)
