"""Letterbox: fits a picture into a network's input without bending it, and maps boxes back.

Geometry and rounding are those of the original YOLOv8 programs, so detections are theirs to the last digit: resize in
uint8 RGB with OpenCV's bilinear filter, centre, pad with grey, divide by 255.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np

from watchline.detectors.boxes import F32, clip_to_picture
from watchline.streams.frame import U8

Pack: TypeAlias = Callable[[U8, F32, int, int, int], None]


def pack_numpy(pixels: U8, out: F32, pad: int, top: int, left: int) -> None:
    """Fills a network's input from a resized picture: HWC bytes to padded, scaled CHW floats.

    Args:
        pixels: (h, w, 3) uint8.
        out: (3, H, W) float32, C-contiguous, overwritten whole; h + top <= H, w + left <= W.
        pad: the byte around the picture.
        top: first row of the picture in `out`.
        left: first column of the picture in `out`.

    Source: native twin detectors/native/pack.cc, equal to the last bit.

    >>> out = np.empty((3, 2, 2), np.float32)
    >>> pack_numpy(np.full((1, 2, 3), 255, np.uint8), out, pad=0, top=1, left=0)
    >>> out[0].tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    height, width = pixels.shape[:2]
    out.fill(np.float32(pad) / np.float32(255))
    np.divide(pixels.transpose(2, 0, 1), np.float32(255), out=out[:, top : top + height, left : left + width])


def _native() -> Pack | None:
    try:
        from watchline.detectors._native import pack
    except ImportError:  # the pure-Python wheel; `watchline doctor` and every summary say which one runs
        return None
    return pack


pack_native = _native()
pack: Pack = pack_native or pack_numpy
PACK_BACKEND = "native" if pack_native else "numpy"


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How frames of one size lie in a network's input.

    Attributes:
        frame_height: rows of the frame.
        frame_width: columns of the frame.
        height: rows of the network's input.
        width: columns of the network's input.
        top: first row of the picture in the input.
        left: first column of the picture in the input.
        resized_height: rows of the resized picture.
        resized_width: columns of the resized picture.
        gain_x: input pixels a frame pixel, from left to right.
        gain_y: the same from top to bottom; another number only where the picture is bent.
    """

    frame_height: int
    frame_width: int
    height: int
    width: int
    top: int
    left: int
    resized_height: int
    resized_width: int
    gain_x: float
    gain_y: float

    @property
    def gain(self) -> float:
        """Input pixels a frame pixel; of a bent picture the smaller of both directions."""
        return min(self.gain_x, self.gain_y)

    @classmethod
    def fit(
        cls,
        frame_height: int,
        frame_width: int,
        height: int,
        width: int,
        *,
        stride: int = 32,
        rectangular: bool = True,
        centred: bool = True,
    ) -> Self:
        """Returns the letterbox of a frame within `height` x `width`.

        Args:
            frame_height: rows of the frame, at least 1.
            frame_width: columns of the frame, at least 1.
            height: most rows of the input, a multiple of `stride`.
            width: most columns of the input, a multiple of `stride`.
            stride: what the input's sides must be multiples of.
            rectangular: pad only to the next multiple of `stride`, not to the full size: a 16:9 frame needs 384x640
                of 640x640, 0.6 of the work.
            centred: the picture lies in the middle; else in the top left corner.

        >>> box = Letterbox.fit(720, 1280, 640, 640)
        >>> (box.height, box.width, box.top, box.left)
        (384, 640, 12, 0)
        """
        gain = min(height / frame_height, width / frame_width)
        # A sliver of a picture would round to nothing: one row must stay.
        resized_height = max(1, round(frame_height * gain))
        resized_width = max(1, round(frame_width * gain))
        spare_height, spare_width = height - resized_height, width - resized_width
        if rectangular:
            spare_height, spare_width = spare_height % stride, spare_width % stride
        return cls(
            frame_height=frame_height,
            frame_width=frame_width,
            height=resized_height + spare_height,
            width=resized_width + spare_width,
            # The 0.1 makes an odd spare row fall below the picture, never rounded to even.
            top=round(spare_height / 2 - 0.1) if centred else 0,
            left=round(spare_width / 2 - 0.1) if centred else 0,
            resized_height=resized_height,
            resized_width=resized_width,
            gain_x=gain,
            gain_y=gain,
        )

    @classmethod
    def stretch(cls, frame_height: int, frame_width: int, height: int, width: int) -> Self:
        """Returns the "letterbox" of a network that wants the frame bent to fill its input whole.

        >>> box = Letterbox.stretch(720, 1280, 300, 300)
        >>> box.to_frame(np.float32([[0, 0, 150, 300]])).tolist()
        [[0.0, 0.0, 640.0, 720.0]]
        """
        return cls(
            frame_height=frame_height,
            frame_width=frame_width,
            height=height,
            width=width,
            top=0,
            left=0,
            resized_height=height,
            resized_width=width,
            gain_x=width / frame_width,
            gain_y=height / frame_height,
        )

    def resize(self, rgb: U8, out: U8 | None = None) -> U8:
        """Returns the frame `rgb` (H, W, 3) uint8 at the size that it has in the input, in `out` if need and fit be."""
        import cv2

        size = (self.resized_width, self.resized_height)
        same = rgb.shape[1::-1] == size
        return rgb if same else np.asarray(cv2.resize(rgb, size, out, interpolation=cv2.INTER_LINEAR), np.uint8)

    def apply(self, rgb: U8, out: F32, pad: int = 114, resized: U8 | None = None) -> None:
        """Writes a frame into a network's input, scaled to [0, 1].

        Args:
            rgb: (H, W, 3) uint8.
            out: (3, height, width) float32, overwritten whole.
            pad: the byte around the picture.
            resized: (resized_height, resized_width, 3) uint8, room to work in.
        """
        pack(self.resize(rgb, resized), out, pad, self.top, self.left)

    def to_frame(self, xyxy: F32) -> F32:
        """Returns boxes of the input, (N, 4) xyxy, as pixels of the full frame, clipped to it."""
        boxes = (xyxy - np.array([self.left, self.top] * 2, np.float32)) / self._gains(2)
        return clip_to_picture(boxes, self.frame_height, self.frame_width)

    def points_to_frame(self, points: F32) -> F32:
        """Returns points of the input, (..., 2) x and y, as pixels of the full frame, not clipped."""
        return (points - np.array([self.left, self.top], np.float32)) / self._gains(1)

    def to_input(self, xyxy: F32) -> F32:
        """Returns boxes of the full frame, (N, 4) xyxy, as pixels of the input."""
        return xyxy * self._gains(2) + np.array([self.left, self.top] * 2, np.float32)

    def _gains(self, points: int) -> F32:
        return np.array([self.gain_x, self.gain_y] * points, np.float32)
