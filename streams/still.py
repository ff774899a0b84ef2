"""Tells a stream that repeats one picture from a scene in which nothing moves: a sensor's noise never repeats."""

from __future__ import annotations

import numpy as np

from watchline.streams.frame import U8

LOOK_EVERY_S = 0.2
_ROW_STEP = 8


class StillWatch:
    """For how long a stream has shown the very same picture: every eighth row is compared, five times a second."""

    def __init__(self) -> None:
        self._last: U8 | None = None
        self._still_s = 0.0
        self._looked_s = float("-inf")

    def reconnected(self) -> None:
        """Says that the next picture is the first of a new connection, which alone proves no change."""
        self._last = None

    def due(self, now_s: float) -> bool:
        """Returns whether it is time to look again."""
        return now_s - self._looked_s >= LOOK_EVERY_S

    def look(self, plane: U8, now_s: float) -> float:
        """Returns for how many seconds the picture has not changed; times without a connection do not count.

        Args:
            plane: luma (H, W) or RGB (H, W, 3), uint8.
            now_s: monotonic clock.
        """
        rows = plane[::_ROW_STEP]
        if self._last is None:
            self._last = rows.copy()
        elif _same(rows, self._last):
            self._still_s += now_s - self._looked_s
        else:
            self._last = rows.copy()
            self._still_s = 0.0
        self._looked_s = now_s
        return self._still_s


def _same(rows: U8, others: U8) -> bool:
    """Returns whether two pictures are equal; those that differ mostly do so in the row that is looked at first."""
    middle = len(rows) // 2
    if rows.shape != others.shape or rows[middle].tobytes() != others[middle].tobytes():
        return False
    return np.array_equal(rows, others)
