"""Non-maximum suppression: of boxes that overlap, the best stays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, iou_matrix
from watchline.detectors.detections import I32


class Nms(Protocol):
    """The form of `nms_numpy`, which says what the arguments are."""

    def __call__(
        self, xyxy: F32, score: F32, class_id: I32, iou: float, limit: int = 300, agnostic: bool = False
    ) -> NDArray[np.intp]:
        """Returns the rows to keep, best score first."""


def nms_numpy(
    xyxy: F32, score: F32, class_id: I32, iou: float, limit: int = 300, agnostic: bool = False
) -> NDArray[np.intp]:
    """Returns the rows to keep, best score first.

    A box goes when its overlap with a better kept box of the same class is greater than `iou`. Equal scores: the
    earlier row counts as better, so the result is one and the same everywhere. NaN is the worst score; a box with NaN
    in it hides no other and is not hidden.

    Args:
        xyxy: (N, 4) float32, pixels.
        score: (N,) float32.
        class_id: (N,) int32; boxes of different classes never suppress each other.
        iou: largest overlap that two kept boxes of a class may have, in [0, 1].
        limit: most rows to return.
        agnostic: all boxes are rivals, whatever their class.

    Returns:
        (K,) indices, K <= min(N, limit); empty for N = 0.

    Raises:
        ValueError: an overlap out of range, or arrays that differ in length.

    Source: native twin detectors/native/nms.cc, the same rows in the same order.

    >>> boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 30, 30]])
    >>> nms(boxes, np.float32([0.5, 0.9, 0.7]), np.int32([0, 0, 0]), iou=0.7).tolist()
    [1, 2]
    """
    if not len(xyxy) == len(score) == len(class_id):
        raise ValueError("xyxy, score and class_id differ in length")
    if not 0 <= iou <= 1:
        raise ValueError(f"iou {iou}: want a number from 0 to 1")
    order = np.argsort(-score, kind="stable")
    kept: list[np.intp] = []
    while len(order) and len(kept) < limit:
        best, rest = order[0], order[1:]
        kept.append(best)
        rivals = agnostic | (class_id[rest] == class_id[best])
        overlap = np.zeros(len(rest), np.float32)
        overlap[rivals] = iou_matrix(xyxy[best : best + 1], xyxy[rest[rivals]])[0]
        order = rest[overlap <= np.float32(iou)]
    return np.array(kept, np.intp)


def _native() -> Nms | None:
    try:
        from watchline.detectors._native import nms
    except ImportError:  # the pure-Python wheel
        return None
    return nms


nms_native = _native()
nms: Nms = nms_native or nms_numpy
