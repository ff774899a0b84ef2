"""Alignment of faces: turned, scaled and moved so that eyes, nose and mouth lie where a face network expects them."""

from __future__ import annotations

from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.streams.errors import ModelError
from watchline.streams.frame import U8

SIDE: Final = 112  # of an aligned face, pixels

# Where both eyes, the nose and both corners of the mouth lie in an aligned face, pixels; left is left in the picture.
# Source: the mean face that InsightFace publishes with ArcFace (python-package/insightface/utils/face_align.py), and
# OpenCV (objdetect/src/face_recognize.cpp) uses for SFace.
TEMPLATE: Final = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)

_LEAST_SPREAD_PX: Final = 1.0  # of the points about their middle; a face of three pixels has more


def can_align(landmarks: F32) -> bool:
    """Returns whether `landmarks` (K, 2) are five finite points that do not lie on one another.

    >>> can_align(np.zeros((5, 2), np.float32))
    False
    """
    if landmarks.shape != (len(TEMPLATE), 2) or not np.isfinite(landmarks).all():
        return False
    return bool(np.hypot(*np.std(landmarks.astype(np.float64), axis=0)) >= _LEAST_SPREAD_PX)


def similarity(points: F32, onto: F32) -> F32:
    """Returns the turn, scale and move that bring `points` (N, 2) nearest to `onto` (N, 2), as (2, 3) float32.

    Nearest by the sum of squares; never a mirror image. N is at least 2, and the points are not all one.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991). In the
    plane a turn with a scale is one complex factor, and the best one is that of a linear regression.

    >>> similarity(np.float32([[0, 0], [1, 0]]), np.float32([[5, 5], [5, 7]])).tolist()
    [[0.0, -2.0, 5.0], [2.0, 0.0, 5.0]]
    """
    from_ = points.astype(np.float64) @ (1, 1j)
    to = onto.astype(np.float64) @ (1, 1j)
    centred = from_ - from_.mean()
    factor = np.vdot(centred, to - to.mean()) / np.vdot(centred, centred).real
    move = to.mean() - factor * from_.mean()
    matrix = [[factor.real, -factor.imag, move.real], [factor.imag, factor.real, move.imag]]
    return np.array(matrix, np.float32) + np.float32(0)  # no minus zero


def align(rgb: U8, landmarks: F32) -> U8:
    """Returns the face in `rgb` (H, W, 3) uint8 aligned, (112, 112, 3) uint8; black where the picture ends.

    Args:
        rgb: a picture with the face in it.
        landmarks: (5, 2) float32, pixels of it, in the order of `TEMPLATE`.

    Raises:
        ModelError: they are not five points that span a face; `can_align` says so beforehand.
    """
    import cv2

    if not can_align(landmarks):
        raise ModelError(
            f"a face with {len(landmarks)} landmarks that do not span it cannot be aligned; want both eyes, the nose "
            "and both corners of the mouth, as YuNet and SCRFD give them"
        )
    matrix = similarity(landmarks, np.array(TEMPLATE, np.float32))
    picture = np.ascontiguousarray(rgb)
    return np.asarray(cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR), np.uint8)
