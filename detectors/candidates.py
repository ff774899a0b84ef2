"""Candidates: what a head reads out of a network's outputs, before suppression, in pixels of the network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes that reach the least score: row i of every array is one.

    Attributes:
        xyxy: (N, 4) float32, pixels of the input.
        score: (N,) float32 in [0, 1].
        class_id: (N,) int32.
    """

    xyxy: F32
    score: F32
    class_id: I32

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.xyxy[rows], self.score[rows], self.class_id[rows])


@dataclass(frozen=True, slots=True, eq=False)
class PointCandidates(Candidates):
    """Boxes with keypoints or landmarks.

    Attributes:
        points: (N, K, 3) float32: x and y in pixels of the input, then the point's score in [0, 1]; the score of the
            box where the network gives its points none.
    """

    points: F32

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.xyxy[rows], self.score[rows], self.class_id[rows], self.points[rows])


@dataclass(frozen=True, slots=True, eq=False)
class MaskCandidates(Candidates):
    """Boxes with what makes their masks; only those that stay get one.

    Attributes:
        coefficients: (N, M) float32, the weight of each prototype.
        prototypes: (M, h, w) float32, over the whole input; shared by all rows.
    """

    coefficients: F32
    prototypes: F32

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(
            self.xyxy[rows], self.score[rows], self.class_id[rows], self.coefficients[rows], self.prototypes
        )
