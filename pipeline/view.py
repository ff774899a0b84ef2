"""Views: of all pictures of one object the best, as a small JPEG."""

from __future__ import annotations

from dataclasses import dataclass

from watchline.detectors.boxes import F32
from watchline.reid.cutting import Cut, shrunk
from watchline.reid.quality import is_cut, sharpness
from watchline.streams.frame import U8

_JPEG_QUALITY = 85
_CLEARLY_BETTER = 1.15  # a new best view must be this much better: encoding costs more than looking


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
        cut = Cut.of(xyxy, height, width)
        if cut.width < 2 or cut.height < 2:
            return False
        crop = cut.view(rgb)
        # At most what sharpness could make of it: most crops are settled by their size alone.
        bound = self._size_share(crop) * score * (0.5 if is_cut(xyxy[None], height, width)[0] else 1.0)
        if bound < _CLEARLY_BETTER * self.quality:
            return False
        quality = bound * sharpness(crop)
        if quality < _CLEARLY_BETTER * self.quality and self.jpeg:
            return False
        self.quality, self.left, self.top = quality, cut.left, cut.top
        self._store(crop)
        return True

    def _size_share(self, crop: U8) -> float:
        """Returns how near a crop is to as large as is of use; a standing person's is narrow."""
        height, width = crop.shape[:2]
        share: float = min(1.0, height / self.most_height) * min(1.0, width / self.most_width * 4)
        return share

    def _store(self, crop: U8) -> None:
        picture, self.scale = shrunk(crop, self.most_height, self.most_width)
        self.height, self.width = picture.shape[:2]
        self.jpeg = jpeg_of(picture)


def jpeg_of(rgb: U8) -> bytes:
    """Returns a picture (H, W, 3) uint8 as a JPEG; b"" where it cannot be one."""
    import cv2

    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes() if done else b""
