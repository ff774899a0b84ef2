"""Trail: where somebody went, in a bounded number of boxes."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import F32

_TOLERANCE = 0.999  # of the interval: times are floats


class Trail:
    """The boxes of one tracklet, thinned to a rate; beyond the bound every other one goes, and the rate halves.

    Args:
        interval_s: least time between two boxes, seconds.
        most: boxes, at least 4.
    """

    def __init__(self, interval_s: float, most: int) -> None:
        self._interval_s = interval_s
        self._most = most
        self._points: list[tuple[float, F32]] = []
        self._last: tuple[float, F32] | None = None

    def add(self, since_s: float, xyxy: F32) -> None:
        """Takes a box (4,), pixels, that was seen `since_s` after the tracklet's start; times never fall."""
        self._last = (since_s, xyxy.copy())
        if self._points and since_s - self._points[-1][0] < _TOLERANCE * self._interval_s:
            return
        if len(self._points) == self._most - 1:  # one place is the last box's
            self._points = self._points[::2]
            self._interval_s *= 2
        self._points.append(self._last)

    def path(self) -> F32:
        """Returns (M, 5) float32, seconds and xyxy in order of time, the first and the last box among them."""
        points = list(self._points)
        if self._last is not None and self._last is not points[-1]:
            points.append(self._last)
        return np.array([(since_s, *xyxy) for since_s, xyxy in points], np.float32).reshape(-1, 5)
