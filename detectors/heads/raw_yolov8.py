"""The YOLOv8 heads without their last step: what the final convolutions give, level by level.

A side of a box is the mean of a distribution over 0 to 15 cells (Generalized Focal Loss, Li et al., 2020). Only the
few cells that see something are worked out, so this costs less than the network's own last step over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.candidates import Candidates, MaskCandidates, PointCandidates
from watchline.detectors.detections import I32
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.best_class import best_classes
from watchline.detectors.heads.cells import expect_output, grid, least_logit, logistic
from watchline.detectors.heads.decoded import with_score

BINS: Final = 16


def detect(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of one output (64 + classes, h, w) a level."""
    return Candidates(*_read(answer, least_score)[:3])


def pose(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the candidates of one output (64 + classes + points * numbers, h, w) a level."""
    xyxy, score, class_id, few, corner, step = _read(answer, least_score)
    points = with_score(few[:, 4 * BINS + len(answer.card.labels) :], answer.card.keypoints, score).copy()
    points[..., :2] = (points[..., :2] * 2 + corner[:, None]) * step[:, None]
    if answer.card.keypoints[1] == 3:
        points[..., 2] = logistic(points[..., 2])
    return PointCandidates(xyxy, score, class_id, points)


def segment(answer: Answer, least_score: float) -> MaskCandidates:
    """Returns the candidates of one output (64 + classes + prototypes, h, w) a level, then the prototypes (M, h, w)."""
    *_, prototypes = answer.outputs
    levels = replace(answer, outputs=answer.outputs[:-1])
    xyxy, score, class_id, few, _, _ = _read(levels, least_score, len(prototypes))
    return MaskCandidates(xyxy, score, class_id, few[:, 4 * BINS + len(answer.card.labels) :], prototypes)


def _read(answer: Answer, least_score: float, more: int = 0) -> tuple[F32, F32, I32, F32, F32, F32]:
    """Returns boxes, scores, classes, all channels (N, C), cell corners (N, 2) and pixels a cell (N, 1)."""
    card, size = answer.card, answer.size
    classes = len(card.labels)
    channels = 4 * BINS + classes + card.keypoints[0] * card.keypoints[1] + more
    for output, stride in zip(answer.outputs, card.strides, strict=True):
        expect_output(output, (channels, size[0] // stride, size[1] // stride), f"level {stride} of this head")
    corner, step = grid(size, card.strides)
    logits = np.concatenate(
        [output[4 * BINS : 4 * BINS + classes].reshape(classes, -1) for output in answer.outputs], axis=1
    )
    sieved = np.flatnonzero(logits.max(axis=0) >= least_logit(least_score))
    rows, score, class_id = best_classes(logistic(logits[:, sieved]), least_score)
    rows = sieved[rows]
    few = _channels(answer.outputs, rows)
    corner, step = corner[rows], step[rows]
    bins = few[:, : 4 * BINS].reshape(-1, 4, BINS)
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    sides = (weights @ np.arange(BINS, dtype=np.float32)) / weights.sum(axis=2)
    centre = corner + np.float32(0.5)
    xyxy = np.concatenate([centre - sides[:, :2], centre + sides[:, 2:]], axis=1) * step
    return xyxy, score, class_id, few, corner, step


def _channels(outputs: Sequence[F32], rows: np.ndarray) -> F32:
    """Returns all channels (N, C) of the cells `rows`, counted over the levels in order."""
    parts, first = [], 0
    for output in outputs:
        flat = output.reshape(len(output), -1)
        mine = rows[(rows >= first) & (rows < first + flat.shape[1])] - first
        parts.append(flat[:, mine].T)
        first += flat.shape[1]
    return np.concatenate(parts)
