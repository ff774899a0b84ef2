"""The SCRFD and YuNet heads: faces with five landmarks, one set of outputs a level."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import F32, cxcywh_to_xyxy
from watchline.detectors.candidates import Candidates, PointCandidates
from watchline.detectors.card import ModelCard
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.cells import cell_count, expect_output, grid
from watchline.streams.errors import ModelError


def scrfd(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of scores (A, 1), box sides (A, 4) and, for faces, landmarks (A, 10), each level by level.

    Sides and landmarks count in cells from the cell's corner, left and up being positive for the first two sides. A
    cell has two anchors or one.

    Source: SCRFD (Guo et al., 2021), after FCOS's distances.
    """
    levels = len(answer.card.strides)
    joined = [np.concatenate(answer.outputs[i : i + levels]) for i in range(0, len(answer.outputs), levels)]
    each = _anchors_a_cell(len(joined[0]), answer.size, answer.card)
    for kind, width in zip(joined, (1, 4, 10), strict=False):
        expect_output(kind, (len(joined[0]), width), "an SCRFD head")
    corner, step = grid(answer.size, answer.card.strides, each)
    scores = joined[0][:, 0]
    rows = np.flatnonzero(scores >= least_score)
    corner, step, sides = corner[rows], step[rows], joined[1][rows]
    xyxy = np.concatenate([corner - sides[:, :2], corner + sides[:, 2:]], axis=1) * step
    score, class_id = scores[rows], np.zeros(len(rows), np.int32)
    if len(joined) == 2:
        return Candidates(xyxy, score, class_id)
    points = (joined[2][rows].reshape(-1, 5, 2) + corner[:, None]) * step[:, None]
    return PointCandidates(xyxy, score, class_id, _scored(points, score))


def yunet(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the candidates of class scores (A, 1), objectness (A, 1), boxes (A, 4) and landmarks (A, 10).

    Each comes level by level. The score is the geometric mean of the two. The centre and the landmarks count in cells
    from the cell's corner; width and height are logarithms of cells.

    Source: YuNet (Wu et al., 2023); its anchor-free box is that of YOLOX.
    """
    levels = len(answer.card.strides)
    kinds = [np.concatenate(answer.outputs[i : i + levels]) for i in range(0, len(answer.outputs), levels)]
    for kind, width in zip(kinds, (1, 1, 4, 10), strict=True):
        expect_output(kind, (cell_count(answer.size, answer.card.strides), width), "a YuNet head")
    seen, there, boxes, marks = kinds
    scores = np.sqrt(np.clip(seen[:, 0], 0, 1) * np.clip(there[:, 0], 0, 1))
    rows = np.flatnonzero(scores >= least_score)
    corner, step = (part[rows] for part in grid(answer.size, answer.card.strides))
    boxes = np.concatenate([boxes[rows, :2] + corner, np.exp(boxes[rows, 2:])], axis=1) * step
    points = (marks[rows].reshape(-1, 5, 2) + corner[:, None]) * step[:, None]
    return PointCandidates(
        cxcywh_to_xyxy(boxes), scores[rows], np.zeros(len(rows), np.int32), _scored(points, scores[rows])
    )


def _anchors_a_cell(rows: int, size: tuple[int, int], card: ModelCard) -> int:
    cells = cell_count(size, card.strides)
    if rows % cells or not rows:
        raise ModelError(f"the network's outputs have {rows} rows for {cells} cells: not an SCRFD head of this size")
    return rows // cells


def _scored(points: F32, score: F32) -> F32:
    """Returns (N, 5, 3): the landmarks, and the face's score for each, for they have none of their own."""
    own = np.broadcast_to(score[:, None, None], (len(points), points.shape[1], 1))
    return np.concatenate([points, own], axis=2)
