"""Frame: one picture of one camera, with the time it was taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

U8: TypeAlias = NDArray[np.uint8]


class PixelFormat(StrEnum):
    """How the planes of a picture are laid out; `OTHER` pictures offer no planes, only `rgb()`."""

    I420 = "i420"  # Y (H, W), U and V (H/2, W/2), rounded up
    NV12 = "nv12"  # Y (H, W), UV interleaved (H/2, W/2, 2), rounded up
    RGB24 = "rgb24"  # one plane (H, W, 3)
    OTHER = "other"


class ClockSource(StrEnum):
    """Where `Frame.captured_at` comes from."""

    RTCP = "rtcp"  # the camera's own clock, by RTCP sender reports
    ARRIVAL = "arrival"  # when the earliest of the last frames came, plus pts: late by the road's constant delay
    FILE = "file"  # the recording's own start time, or the file's time where it has none, plus pts


class Picture:
    """Pixels as they were decoded; RGB is made once, when first asked for.

    Safe to share between threads.

    Attributes:
        height: rows of the full picture.
        width: columns of the full picture.
        pixel_format: layout of `planes`.
        planes: uint8 arrays as `pixel_format` says, read only, without row padding; empty for `OTHER`.
        matrix: code of the YUV matrix by ITU-T H.273; 2 is untold.
        full_range: luma runs from 0 to 255, not from 16 to 235.
        interlaced: its odd and even rows were taken one after the other; `rgb()` heeds that.
    """

    __slots__ = (
        "_convert",
        "_lock",
        "_rgb",
        "full_range",
        "height",
        "interlaced",
        "matrix",
        "pixel_format",
        "planes",
        "width",
    )

    def __init__(
        self,
        height: int,
        width: int,
        pixel_format: PixelFormat,
        planes: tuple[U8, ...],
        convert: Callable[[], U8],
        matrix: int = 2,
        full_range: bool = False,
        interlaced: bool = False,
    ) -> None:
        self.height = height
        self.width = width
        self.pixel_format = pixel_format
        self.planes = planes
        self.matrix = matrix
        self.full_range = full_range
        self.interlaced = interlaced
        self._convert = convert
        self._rgb: U8 | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_rgb(cls, rgb: U8) -> Picture:
        """Returns a picture that holds `rgb` (H, W, 3) uint8 itself, not a copy.

        >>> Picture.from_rgb(np.zeros((2, 4, 3), np.uint8)).width
        4
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"rgb: want uint8 (H, W, 3), got {rgb.dtype} {rgb.shape}")
        return cls(rgb.shape[0], rgb.shape[1], PixelFormat.RGB24, (rgb,), lambda: rgb)

    def rgb(self) -> U8:
        """Returns the picture as (H, W, 3) uint8 RGB; the same array at each call, not to be written to."""
        with self._lock:
            if self._rgb is None:
                self._rgb = self._convert()
            return self._rgb


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one camera.

    Attributes:
        camera: the view that it shows; one camera, one tracker.
        sequence: counted from 0 by the source; a gap in it is a drop.
        pts_s: the stream's own time, seconds; greater than that of the frame before.
        captured_at: wall clock, UTC seconds since the epoch.
        clock: where `captured_at` comes from.
        picture: the pixels.
        clock_error_s: how far `captured_at` may be off, estimated, seconds; 0 where a recording is its own clock.
    """

    camera: str
    sequence: int
    pts_s: float
    captured_at: float
    clock: ClockSource
    picture: Picture
    clock_error_s: float = 0.0

    @property
    def height(self) -> int:
        """Rows of the full picture."""
        return self.picture.height

    @property
    def width(self) -> int:
        """Columns of the full picture."""
        return self.picture.width

    def rgb(self) -> U8:
        """Returns (H, W, 3) uint8 RGB, converted once; not to be written to."""
        return self.picture.rgb()
