"""The YOLOv8 detect head: one class per anchor, no objectness; boxes decoded in the network."""

from __future__ import annotations

from watchline.detectors.boxes import F32, cxcywh_to_xyxy
from watchline.detectors.detections import I32
from watchline.detectors.heads.best_class import best_classes


def candidates(output: F32, least_score: float) -> tuple[F32, F32, I32]:
    """Returns every anchor whose best class reaches `least_score`.

    Args:
        output: (4 + classes, anchors) float32: cx, cy, w, h in input pixels, then a score in [0, 1] a class.
        least_score: scores below are left out.

    Returns:
        xyxy (N, 4) float32 input pixels, score (N,) float32, class_id (N,) int32; in anchor order.

    >>> import numpy as np
    >>> output = np.float32([[8], [8], [4], [4], [0.1], [0.9]])
    >>> boxes, score, class_id = candidates(output, 0.5)
    >>> boxes.tolist(), class_id.tolist()
    ([[6.0, 6.0, 10.0, 10.0]], [1])
    """
    anchor, score, class_id = best_classes(output[4:], least_score)
    return cxcywh_to_xyxy(output[:4].take(anchor, axis=1).T), score, class_id
