"""The best class of every anchor: the first step of every head that gives a score a class."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32

BestClasses: TypeAlias = Callable[[F32, float], tuple[NDArray[np.intp], F32, I32]]


def best_classes_numpy(scores: F32, least_score: float) -> tuple[NDArray[np.intp], F32, I32]:
    """Returns every anchor whose best class reaches `least_score`; of equal classes the first is the best.

    Args:
        scores: (classes, anchors) float32, at least one class. A head with a row an anchor passes its transpose.
        least_score: anchors whose scores are all below, or have a NaN among them, are left out.

    Returns:
        anchor (N,) indices in ascending order, score (N,) float32, class_id (N,) int32.

    Raises:
        ValueError: no class.

    Source: native twin detectors/native/decode.cc, equal to the last bit.

    >>> anchor, score, class_id = best_classes(np.float32([[0.1, 0.7, 0.2], [0.6, 0.3, 0.2]]), 0.5)
    >>> anchor.tolist(), class_id.tolist()
    ([0, 1], [1, 0])
    """
    if not len(scores):
        raise ValueError("scores: want (classes, anchors) with at least one class")
    # The maximum over all anchors is one vectorised pass; the dear arg-max is for the few that pass.
    anchor = np.flatnonzero(scores.max(axis=0) >= np.float32(least_score))
    few = scores.take(anchor, axis=1)
    class_id = few.argmax(axis=0).astype(np.int32)
    return anchor, few[class_id, np.arange(len(anchor))], class_id


def _native() -> BestClasses | None:
    try:
        from watchline.detectors._native import best_classes
    except ImportError:  # the pure-Python wheel
        return None
    return best_classes


best_classes_native = _native()
best_classes: BestClasses = best_classes_native or best_classes_numpy
