"""Non-maximum suppression: of boxes that overlap, the best stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, iou_matrix
from watchline.detectors.detections import I32


def nms(xyxy: F32, score: F32, class_id: I32, iou: float, limit: int = 300) -> NDArray[np.intp]:
    """Returns the rows to keep, best score first.

    A box goes when its overlap with a better kept box of the same class is greater than `iou`. Equal scores: the
    earlier row counts as better, so the result is one and the same everywhere.

    Args:
        xyxy: (N, 4) float32, pixels.
        score: (N,) float32.
        class_id: (N,) int32; boxes of different classes never suppress each other.
        iou: largest overlap that two kept boxes of a class may have, in [0, 1].
        limit: most rows to return.

    Returns:
        (K,) indices, K <= min(N, limit); empty for N = 0.

    >>> boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 30, 30]])
    >>> nms(boxes, np.float32([0.5, 0.9, 0.7]), np.int32([0, 0, 0]), iou=0.7).tolist()
    [1, 2]
    """
    order = np.argsort(-score, kind="stable")
    kept: list[np.intp] = []
    while len(order) and len(kept) < limit:
        best, rest = order[0], order[1:]
        kept.append(best)
        rivals = class_id[rest] == class_id[best]
        overlap = np.zeros(len(rest), np.float32)
        overlap[rivals] = iou_matrix(xyxy[best : best + 1], xyxy[rest[rivals]])[0]
        order = rest[overlap <= iou]
    return np.array(kept, np.intp)
