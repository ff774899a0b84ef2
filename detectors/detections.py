"""Detections: what one detector saw in one frame; with keypoints, landmarks or masks where it sees those too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect

I32: TypeAlias = NDArray[np.int32]
U8: TypeAlias = NDArray[np.uint8]
Rows: TypeAlias = slice | NDArray[np.bool_] | NDArray[np.intp]

LANDMARKS = ("image-left eye", "image-right eye", "nose", "image-left mouth corner", "image-right mouth corner")


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


@dataclass(frozen=True, slots=True, eq=False)
class PoseDetections(Detections):
    """Objects and their keypoints; which point is which is the model's: COCO's 17 for people.

    Attributes:
        keypoints: (N, K, 3) float32: x and y in pixels of the full frame, which may lie outside it, then the point's
            score in [0, 1]. A point of low score is a guess of where it would be. K is one number for a model.

    Raises:
        ValueError: as for `Detections`.

    >>> PoseDetections.empty(17).keypoints.shape
    (0, 17, 3)
    """

    keypoints: F32

    def __post_init__(self) -> None:
        Detections.__post_init__(self)  # super() does not know a class remade with slots
        expect("keypoints", self.keypoints, np.float32, (len(self), -1, 3))
        good = np.isfinite(self.keypoints).all(axis=(1, 2))
        good &= ((self.keypoints[..., 2] >= 0) & (self.keypoints[..., 2] <= 1)).all(axis=1)
        if not good.all():
            raise ValueError(f"keypoints {good.argmin()}: not finite, or a score outside [0, 1]")

    @classmethod
    def empty(cls, points: int = 17) -> Self:
        """Returns detections of nothing, of a model with `points` keypoints."""
        base = Detections.empty()
        return cls(base.xyxy, base.score, base.class_id, np.empty((0, points, 3), np.float32))

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.xyxy[rows], self.score[rows], self.class_id[rows], self.keypoints[rows])


@dataclass(frozen=True, slots=True, eq=False)
class FaceDetections(Detections):
    """Faces and five landmarks each, in one order for every model: `LANDMARKS`.

    Left and right are those of the picture, not of the person: of an upright face seen from the front, point 0 is the
    eye on the left side of the picture, which is the person's right eye.

    Attributes:
        landmarks: (N, 5, 2) float32, x and y in pixels of the full frame, which may lie outside it.

    Raises:
        ValueError: as for `Detections`.

    >>> FaceDetections.empty().landmarks.shape
    (0, 5, 2)
    """

    landmarks: F32

    def __post_init__(self) -> None:
        Detections.__post_init__(self)
        expect("landmarks", self.landmarks, np.float32, (len(self), len(LANDMARKS), 2))
        good = np.isfinite(self.landmarks).all(axis=(1, 2))
        if not good.all():
            raise ValueError(f"landmarks {good.argmin()}: not finite")

    @classmethod
    def empty(cls) -> Self:
        """Returns detections of nothing."""
        base = Detections.empty()
        return cls(base.xyxy, base.score, base.class_id, np.empty((0, len(LANDMARKS), 2), np.float32))

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.xyxy[rows], self.score[rows], self.class_id[rows], self.landmarks[rows])


@dataclass(frozen=True, slots=True, eq=False)
class MaskDetections(Detections):
    """Objects and their outlines: a grid of probabilities laid over each box.

    A grid costs the same for a near person as for a far one, is about as fine as what networks know (a cell every 4
    pixels of their input), and is 4 KB; true pixels of a near person would be a megabyte. `masks.paint` makes pixels.

    Attributes:
        masks: (N, G, G) uint8, G = `masks.GRID`: cell (r, c) of a mask is the middle of row r and column c where the
            box is cut into G x G equal parts; 255 times the probability that the object is there. 128 and more is in.

    Raises:
        ValueError: as for `Detections`.

    >>> MaskDetections.empty(64).masks.shape
    (0, 64, 64)
    """

    masks: U8

    def __post_init__(self) -> None:
        Detections.__post_init__(self)
        expect("masks", self.masks, np.uint8, (len(self), -1, -1))

    @classmethod
    def empty(cls, grid: int = 64) -> Self:
        """Returns detections of nothing, with masks of `grid` x `grid` cells."""
        base = Detections.empty()
        return cls(base.xyxy, base.score, base.class_id, np.empty((0, grid, grid), np.uint8))

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(self.xyxy[rows], self.score[rows], self.class_id[rows], self.masks[rows])
