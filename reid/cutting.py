"""Cutting a picture of one person, or of a face, out of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from watchline.detectors.boxes import F32
from watchline.streams.frame import U8

_FACE_MARGIN = 0.3  # of a face's sides, kept around it: aligning turns and moves it


@dataclass(frozen=True, slots=True)
class Cut:
    """The whole pixels of a frame that lie in a box.

    Attributes:
        left: of its first column.
        top: of its first row.
        right: one past the last column.
        bottom: one past the last row.
    """

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, xyxy: F32, height: int, width: int) -> Cut:
        """Returns what of a box (4,), which may reach beyond the picture, lies in it."""
        corners = np.nan_to_num(xyxy).round().clip(0, [width, height, width, height])
        return cls(*(int(value) for value in corners))

    @property
    def height(self) -> int:
        """Rows; 0 or less for nothing."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns; 0 or less for nothing."""
        return self.right - self.left

    def view(self, rgb: U8) -> U8:
        """Returns the pixels of the frame (H, W, 3) that lie in it: a view, not a copy."""
        return rgb[self.top : self.bottom, self.left : self.right]


def shrunk(rgb: U8, most_height: int, most_width: int) -> tuple[U8, float]:
    """Returns a copy of a picture, smaller where it is larger than wanted, and its scale.

    Args:
        rgb: (H, W, 3) uint8; neither side is 0.
        most_height: pixels.
        most_width: pixels.

    Returns:
        (h, w, 3) uint8 of its own memory, and pixels of it a pixel of `rgb`, at most 1.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, most_height / height, most_width / width)
    if scale == 1.0:
        return rgb.copy(), scale
    import cv2

    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def around_face(xyxy: F32) -> F32:
    """Returns a face's box (4,) with what is kept around it.

    >>> around_face(np.float32([10, 10, 20, 30])).tolist()
    [7.0, 4.0, 23.0, 36.0]
    """
    margin = _FACE_MARGIN * (xyxy[2:] - xyxy[:2])
    return np.concatenate([xyxy[:2] - margin, xyxy[2:] + margin])
