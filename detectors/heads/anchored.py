"""The YOLOv5 and YOLOv7 heads: three anchor boxes a cell, an objectness and a score a class; faces and poses too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, cxcywh_to_xyxy
from watchline.detectors.candidates import Candidates, PointCandidates
from watchline.detectors.card import ModelCard
from watchline.detectors.detections import I32
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.best_class import best_classes
from watchline.detectors.heads.cells import expect_output, grid, least_logit, logistic
from watchline.detectors.heads.decoded import with_score
from watchline.streams.errors import ModelError


def detect(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of one output (anchors, 5 + classes): cx, cy, w, h in pixels, objectness, class scores."""
    few, score, class_id = _sieve(answer.outputs[0], answer.card, least_score)
    return Candidates(cxcywh_to_xyxy(few[:, :4]), score, class_id)


def pose(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the candidates of one output (anchors, 5 + classes + points * numbers), the points in pixels."""
    few, score, class_id = _sieve(answer.outputs[0], answer.card, least_score)
    points = with_score(few[:, 5 + len(answer.card.labels) :], answer.card.keypoints, score)
    return PointCandidates(cxcywh_to_xyxy(few[:, :4]), score, class_id, points)


def raw_detect(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of one output a level, with nothing applied to it.

    Its shape is (anchors * channels, h, w) or (anchors, h, w, channels).
    """
    xyxy, score, class_id, *_ = _decode(answer, least_score)
    return Candidates(xyxy, score, class_id)


def raw_pose(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the same with points, whose x and y count from the cell as those of a box do, without a logistic."""
    xyxy, score, class_id, few, corner, step = _decode(answer, least_score)
    points = with_score(few[:, 5 + len(answer.card.labels) :], answer.card.keypoints, score).copy()
    points[..., :2] = (points[..., :2] * 2 - np.float32(0.5) + corner[:, None]) * step[:, None]
    if answer.card.keypoints[1] == 3:
        points[..., 2] = logistic(points[..., 2])
    return PointCandidates(xyxy, score, class_id, points)


def _sieve(output: F32, card: ModelCard, least_score: float) -> tuple[F32, F32, I32]:
    """Returns the channels of the rows that reach the least score, their scores and classes."""
    classes = len(card.labels)
    channels = 5 + classes + card.keypoints[0] * card.keypoints[1]
    expect_output(output, (-1, channels), f"a {classes}-class head with {card.keypoints[0]} points")
    few = output[output[:, 4] >= least_score]  # no class can lift it again
    rows, score, class_id = best_classes((few[:, 5 : 5 + classes] * few[:, 4:5]).T, least_score)
    return few[rows], score, class_id


def _decode(answer: Answer, least_score: float) -> tuple[F32, F32, I32, F32, F32, F32]:
    """Returns boxes, scores, classes, all channels (N, C), cell corners (N, 2) and pixels a cell (N, 1)."""
    card, size = answer.card, answer.size
    levels, classes = len(card.strides), len(card.labels)
    if not card.anchors or len(card.anchors) % (2 * levels):
        raise ModelError(f"{len(card.anchors)} anchor numbers for {levels} levels; import its checkpoint instead")
    anchors = np.array(card.anchors, np.float32).reshape(levels, -1, 2)
    each = anchors.shape[1]
    channels = 5 + classes + card.keypoints[0] * card.keypoints[1]
    flat = [_flat(*level, each, channels, size) for level in zip(answer.outputs, card.strides, strict=True)]
    corner, step = grid(size, card.strides, each)
    boxes = np.concatenate([np.tile(level, (len(part) // each, 1)) for level, part in zip(anchors, flat, strict=True)])
    rows = np.concatenate([part[:, 4] for part in flat]) >= least_logit(least_score)
    few = _rows(flat, np.flatnonzero(rows))
    corner, step, boxes = corner[rows], step[rows], boxes[rows]
    kept, score, class_id = best_classes((logistic(few[:, 5 : 5 + classes]) * logistic(few[:, 4:5])).T, least_score)
    few, corner, step, boxes = few[kept], corner[kept], step[kept], boxes[kept]
    part = logistic(few[:, :4])
    centre = (part[:, :2] * 2 - np.float32(0.5) + corner) * step
    sides = (part[:, 2:] * 2) ** 2 * boxes
    return cxcywh_to_xyxy(np.concatenate([centre, sides], axis=1)), score, class_id, few, corner, step


def _flat(output: F32, stride: int, each: int, channels: int, size: tuple[int, int]) -> F32:
    """Returns one level as (h * w * anchors, channels), cell by cell."""
    height, width = size[0] // stride, size[1] // stride
    if output.ndim == 3:
        expect_output(output, (each * channels, height, width), f"level {stride} of this head")
        return output.reshape(each, channels, height * width).transpose(2, 0, 1).reshape(-1, channels)
    expect_output(output, (each, height, width, channels), f"level {stride} of this head")
    return output.transpose(1, 2, 0, 3).reshape(-1, channels)


def _rows(parts: Sequence[F32], rows: NDArray[np.intp]) -> F32:
    first, found = 0, []
    for part in parts:
        found.append(part[rows[(rows >= first) & (rows < first + len(part))] - first])
        first += len(part)
    return np.concatenate(found)
