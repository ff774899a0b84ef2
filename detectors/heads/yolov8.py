"""The YOLOv8 detect head: one class per anchor, no objectness; boxes decoded in the network."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import F32, cxcywh_to_xyxy
from watchline.detectors.detections import I32


def candidates(output: F32, least_score: float) -> tuple[F32, F32, I32]:
    """Returns every anchor whose best class reaches `least_score`.

    Args:
        output: (4 + classes, anchors) float32: cx, cy, w, h in input pixels, then a score in [0, 1] a class.
        least_score: scores below are left out.

    Returns:
        xyxy (N, 4) float32 input pixels, score (N,) float32, class_id (N,) int32; in anchor order.

    >>> output = np.float32([[8], [8], [4], [4], [0.1], [0.9]])
    >>> boxes, score, class_id = candidates(output, 0.5)
    >>> boxes.tolist(), class_id.tolist()
    ([[6.0, 6.0, 10.0, 10.0]], [1])
    """
    scores = output[4:]
    # The maximum over all anchors is one vectorised pass; the dear arg-max is for the few that pass.
    rows = np.flatnonzero(scores.max(axis=0) >= least_score)
    few = scores[:, rows]
    class_id = few.argmax(axis=0).astype(np.int32)
    score = few[class_id, np.arange(len(rows))]
    return cxcywh_to_xyxy(output[:4, rows].T), score, class_id
