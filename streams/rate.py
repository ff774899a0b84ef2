"""Which frames of a stream count when only so many a second are asked for."""

from __future__ import annotations

import math


class FixedRate:
    """Chooses the first frame of each period, on a fixed grid, so that the mean rate holds.

    A tenth of a period of slack forgives clocks that round their times.

    >>> rate = FixedRate(10)
    >>> [rate.chooses(0.04 * index) for index in range(6)]
    [True, False, False, True, False, True]
    """

    def __init__(self, fps: float) -> None:
        """Takes at most `fps` frames a second of the stream's own time; 0 takes all."""
        self._fps = fps
        self._start_s: float | None = None
        self._last_period = -1

    def chooses(self, pts_s: float) -> bool:
        """Returns whether the frame at `pts_s` counts; asked for each frame, in order."""
        if not self._fps:
            return True
        if self._start_s is None:
            self._start_s = pts_s
        period = math.floor((pts_s - self._start_s) * self._fps + 0.1)
        if period <= self._last_period:
            return False
        self._last_period = period
        return True
