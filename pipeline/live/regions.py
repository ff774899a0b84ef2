"""Regions of a camera's picture that are not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32

Polygon: TypeAlias = tuple[tuple[float, float], ...]
"""Corners, each (x, y) as fractions of the picture's width and height."""


class Regions:
    """Tells which boxes stand in one of some polygons: by the middle of their lower edge, where a person stands.

    >>> half = Regions([((0, 0), (0.5, 0), (0.5, 1), (0, 1))])
    >>> half.hold(np.array([[0, 0, 20, 50], [60, 0, 80, 50]], np.float32), 100, 100)
    array([ True, False])
    """

    def __init__(self, polygons: Sequence[Polygon]) -> None:
        self._polygons = [np.array(polygon, np.float64) for polygon in polygons]

    def __bool__(self) -> bool:
        return bool(self._polygons)

    def hold(self, xyxy: F32, width: int, height: int) -> NDArray[np.bool_]:
        """Returns (N,) bool: which boxes stand in a region.

        Args:
            xyxy: (N, 4) float32, pixels of the full frame.
            width: of the frame, pixels.
            height: of the frame, pixels.
        """
        held = np.zeros(len(xyxy), np.bool_)
        if not len(xyxy):
            return held
        x = (xyxy[:, 0] + xyxy[:, 2]).astype(np.float64) / (2 * width)
        y = np.minimum(xyxy[:, 3].astype(np.float64) / height, 1.0)  # a person cut off below stands on the edge
        for corners in self._polygons:
            held |= _inside(corners, x, y)
        return held


def _inside(corners: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns which points lie in a polygon: a ray to the left crosses its edges an odd number of times."""
    (x0, y0), (x1, y1) = corners.T[:, :, None], np.roll(corners, -1, axis=0).T[:, :, None]
    spans = (y0 > y) != (y1 > y)
    with np.errstate(divide="ignore", invalid="ignore"):  # level edges span nothing
        left = x0 + (y - y0) / (y1 - y0) * (x1 - x0) < x
    crossed: NDArray[np.bool_] = (spans & left).sum(axis=0) % 2 == 1
    return crossed
