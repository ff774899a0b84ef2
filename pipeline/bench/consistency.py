"""What both sides found in the same pictures, box by box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import iou_matrix

_LOOSE, _TIGHT = 0.5, 0.9


@dataclass(frozen=True, slots=True)
class Consistency:
    """How far what we find is what the original finds.

    Attributes:
        frames: that were compared.
        theirs: boxes of the original.
        ours: boxes of ours.
        matched: of the original's boxes, those that have one of ours of the same class at IoU 0.5, each of ours once.
        matched_tightly: those of IoU 0.9.
        mean_px: mean difference of a matched box's sides, pixels of the frame.
        max_px: the largest.
        mean_score: mean difference of a matched box's score.
        max_score: the largest.
    """

    frames: int
    theirs: int
    ours: int
    matched: int
    matched_tightly: int
    mean_px: float
    max_px: float
    mean_score: float
    max_score: float


def compare(ours: Sequence[Sequence[Sequence[float]]], theirs: Sequence[Sequence[Sequence[float]]]) -> Consistency:
    """Returns how well two answers agree.

    Args:
        ours: for each frame rows of x1, y1, x2, y2 in pixels, score and class.
        theirs: the same of the original, for the same frames.

    >>> box = [10.0, 10.0, 20.0, 30.0, 0.9, 0.0]
    >>> found = compare([[box]], [[[11.0, *box[1:]], [50.0, 50.0, 60.0, 60.0, 0.3, 0.0]]])
    >>> found.theirs, found.matched, found.matched_tightly, found.max_px
    (2, 1, 1, 1.0)
    """
    pairs = [
        (a, b, overlap)
        for mine, other in zip(map(_rows, ours), map(_rows, theirs), strict=True)
        for a, b, overlap in _matched(mine, other)
    ]
    px = np.array([np.abs(a[:4] - b[:4]) for a, b, _ in pairs]).reshape(-1, 4)
    scores = np.array([abs(a[4] - b[4]) for a, b, _ in pairs])
    return Consistency(
        frames=len(theirs),
        theirs=sum(map(len, theirs)),
        ours=sum(map(len, ours)),
        matched=len(pairs),
        matched_tightly=sum(overlap >= _TIGHT for *_, overlap in pairs),
        mean_px=float(px.mean()) if len(px) else 0.0,
        max_px=float(px.max(initial=0)),
        mean_score=float(scores.mean()) if len(scores) else 0.0,
        max_score=float(scores.max(initial=0)),
    )


def _rows(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1, 6)


def _matched(
    ours: NDArray[np.float64], theirs: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], float]]:
    """Returns pairs of one class and their overlap, the best first, no box in two of them."""
    if not len(ours) or not len(theirs):
        return []
    overlap = iou_matrix(ours[:, :4], theirs[:, :4])
    overlap = np.where(ours[:, None, 5] == theirs[None, :, 5], overlap, 0)
    pairs = []
    while (best := overlap.max()) >= _LOOSE:
        i, j = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs.append((ours[i], theirs[j], float(best)))
        overlap[i], overlap[:, j] = 0, 0
    return pairs
