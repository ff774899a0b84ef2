"""One frame as a JPEG, with boxes, ids, trails and the time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from watchline.pipeline.annotate import Annotator
from watchline.pipeline.live.outcome import Outcome
from watchline.streams.frame import U8
from watchline.trackers.tracks import Tracks


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A picture as it is sent.

    Attributes:
        camera: its name.
        number: ascends from picture to picture.
        sequence: of the frame.
        captured_at: when the frame was captured, UTC seconds.
        made_s: when the picture was made, by the clock that never jumps.
        width: px.
        height: px.
        data: JPEG.
    """

    camera: str
    number: int
    sequence: int
    captured_at: float
    made_s: float
    width: int
    height: int
    data: bytes

    def numbered(self, number: int) -> Jpeg:
        """Returns the same picture with that number."""
        return replace(self, number=number)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What is encoded: (H, W, 3) uint8 RGB in `canvas`, and of which frame it is."""

    camera: str
    sequence: int
    captured_at: float
    canvas: U8


class Painter:
    """Makes pictures of one camera. Used by one thread; frames must come in order, those of a new connection may not.

    Args:
        most_width: larger pictures are scaled down to this, px.
        quality: 1..100.
    """

    def __init__(self, most_width: int, quality: int) -> None:
        self._most_width, self._quality = most_width, quality
        self._labels: tuple[str, ...] = ()
        self._annotator = Annotator(())
        self._last_s = 0.0
        self._shape: tuple[int, int] = (0, 0)

    def draw(self, outcome: Outcome) -> Drawn:
        """Returns a frame with its tracks drawn on it; the frame is needed no longer."""
        frame = outcome.frame
        shape = (frame.height, frame.width)
        if (outcome.labels, shape) != (self._labels, self._shape) or frame.pts_s < self._last_s:
            self._annotator, self._labels, self._shape = Annotator(outcome.labels), outcome.labels, shape
        self._last_s = frame.pts_s
        rgb, tracks = self._scaled(frame.rgb(), outcome.tracks)
        canvas = self._annotator.draw(rgb, tracks, frame.pts_s, time_text=_time_text(frame.captured_at))
        return Drawn(frame.camera, frame.sequence, frame.captured_at, canvas)

    def encode(self, drawn: Drawn, made_s: float) -> Jpeg:
        """Returns the picture, number 0; what was drawn is not to be used any more."""
        import cv2

        height, width = drawn.canvas.shape[:2]
        bgr = cv2.cvtColor(drawn.canvas, cv2.COLOR_RGB2BGR, dst=drawn.canvas)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not done:
            raise ValueError(f"{width}x{height} pixels cannot be encoded")
        return Jpeg(drawn.camera, 0, drawn.sequence, drawn.captured_at, made_s, width, height, data.tobytes())

    def _scaled(self, rgb: U8, tracks: Tracks) -> tuple[U8, Tracks]:
        import cv2

        height, width = rgb.shape[:2]
        if width <= self._most_width:
            return rgb, tracks
        new_height = max(1, round(height * self._most_width / width))
        small = cv2.resize(rgb, (self._most_width, new_height), interpolation=cv2.INTER_AREA)
        scale = np.array([self._most_width / width, new_height / height] * 2, np.float32)
        return np.asarray(small, np.uint8), replace(tracks, xyxy=tracks.xyxy * scale)


def _time_text(at: float) -> str:
    """Returns a time as it is written on a picture.

    >>> _time_text(1795269600.25)
    '2026-11-21 14:00:00 UTC'
    """
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # a camera's clock may say anything
        return ""
