"""Tallies: how often a measured value fell below each of some bounds, as Prometheus' histograms count."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

AGE_BOUNDS_S: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
STAGE_BOUNDS_S: Final = (0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
BATCH_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


@dataclass(frozen=True, slots=True)
class Histogram:
    """A tally at one moment.

    Attributes:
        bounds: ascending; a value equal to a bound lies below it.
        counts: values in each bucket, not summed up: `len(bounds)` of them and, last, those above all bounds.
        total: of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Tally:
    """Counts values. Its caller sees to it that one thread at a time does.

    >>> tally = Tally((1.0, 2.0))
    >>> tally.add(0.5), tally.add(1.0), tally.add(9.0), tally.histogram().counts
    (None, None, None, (2, 0, 1))
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def histogram(self) -> Histogram:
        """Returns the counts as they are now."""
        return Histogram(self._bounds, tuple(self._counts), self._total)
