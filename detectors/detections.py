"""Detections: what one detector saw in one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect

I32: TypeAlias = NDArray[np.int32]
Rows: TypeAlias = slice | NDArray[np.bool_] | NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What one detector saw in one frame: row i of every array is one object.

    Attributes:
        xyxy: (N, 4) float32, pixels of the full frame, every box with area.
        score: (N,) float32 in [0, 1].
        class_id: (N,) int32, index into the model's labels.

    Raises:
        ValueError: a wrong dtype or shape, a box without area, a score outside [0, 1], NaN or infinity anywhere.

    >>> len(Detections.empty())
    0
    """

    xyxy: F32
    score: F32
    class_id: I32

    def __post_init__(self) -> None:
        n = len(self.xyxy)
        expect("xyxy", self.xyxy, np.float32, (n, 4))
        expect("score", self.score, np.float32, (n,))
        expect("class_id", self.class_id, np.int32, (n,))
        good = (self.xyxy[:, 2:] > self.xyxy[:, :2]).all(axis=1) & np.isfinite(self.xyxy).all(axis=1)
        if not good.all():
            raise ValueError(f"box {good.argmin()} has no area or is not finite: {self.xyxy[good.argmin()]}")
        good = (self.score >= 0) & (self.score <= 1)  # False for NaN too
        if not good.all():
            raise ValueError(f"score {good.argmin()} is outside [0, 1]: {self.score[good.argmin()]}")

    @classmethod
    def empty(cls) -> Self:
        """Returns detections of nothing."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.xyxy[rows], self.score[rows], self.class_id[rows])
