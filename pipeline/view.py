"""Views: of all pictures of one object the best, as a small JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from watchline.detectors.boxes import F32
from watchline.streams.frame import U8

_JPEG_QUALITY = 85
_CLEARLY_BETTER = 1.15  # a new best view must be this much better: encoding costs more than looking
_SHARPNESS_SIZE = (48, 96)  # sharpness is compared at one size
_HALF_SHARP = 500.0  # variance of a crop that is half as sharp as can be


@dataclass(slots=True)
class View:
    """The best picture of one object so far.

    Attributes:
        most_height: of the picture, pixels; what is larger is scaled down.
        most_width: likewise; a quarter of it is wide enough.
        jpeg: the picture; b"" while there is none.
        quality: how good it is; 0.0 for none.
        left: of its crop in the frame, pixels.
        top: likewise.
        scale: pixels of the picture a pixel of the frame.
        width: of the picture, pixels.
        height: likewise.
    """

    most_height: int
    most_width: int
    jpeg: bytes = b""
    quality: float = 0.0
    left: int = 0
    top: int = 0
    scale: float = 1.0
    width: int = 0
    height: int = 0

    def look(self, rgb: U8, xyxy: F32, score: float) -> bool:
        """Takes the crop at `xyxy` if it is clearly better, and returns whether it did.

        Args:
            rgb: (H, W, 3) uint8, the frame.
            xyxy: (4,) pixels of the frame; may reach beyond it.
            score: of the detection, in [0, 1].
        """
        height, width = rgb.shape[:2]
        left, top, right, bottom = (int(v) for v in xyxy.round().clip(0, [width, height, width, height]))
        if right - left < 2 or bottom - top < 2:
            return False
        crop = rgb[top:bottom, left:right]
        # At most what sharpness could make of it: most crops are settled by their size alone.
        bound = self._size_share(crop) * score * (0.5 if _is_cut(xyxy, height, width) else 1.0)
        if bound < _CLEARLY_BETTER * self.quality:
            return False
        quality = bound * _sharpness(crop)
        if quality < _CLEARLY_BETTER * self.quality and self.jpeg:
            return False
        self.quality, self.left, self.top = quality, left, top
        self._store(crop)
        return True

    def _size_share(self, crop: U8) -> float:
        """Returns how near a crop is to as large as is of use; a standing person's is narrow."""
        height, width = crop.shape[:2]
        share: float = min(1.0, height / self.most_height) * min(1.0, width / self.most_width * 4)
        return share

    def _store(self, crop: U8) -> None:
        import cv2

        self.scale = min(1.0, self.most_height / crop.shape[0], self.most_width / crop.shape[1])
        if self.scale < 1:
            size = (max(1, round(crop.shape[1] * self.scale)), max(1, round(crop.shape[0] * self.scale)))
            crop = np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA), np.uint8)
        self.height, self.width = crop.shape[:2]
        bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        self.jpeg = data.tobytes() if done else b""


def _is_cut(xyxy: F32, height: int, width: int) -> bool:
    """Whether a box touches the picture's border: a view cut off counts half."""
    left, top, right, bottom = (float(v) for v in xyxy)
    return left <= 1 or top <= 1 or right >= width - 1 or bottom >= height - 1


def _sharpness(crop: U8) -> float:
    """Returns the sharpness of a crop in (0, 1]: the variance of its Laplacian, at one size for all."""
    import cv2

    grey = cv2.cvtColor(cv2.resize(crop, _SHARPNESS_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    return max(0.05, variance / (variance + _HALF_SHARP))
