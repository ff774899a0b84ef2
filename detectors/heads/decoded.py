"""The YOLOv8 heads as Ultralytics exports them: boxes, scores and points worked out in the network."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import F32, cxcywh_to_xyxy
from watchline.detectors.candidates import Candidates, MaskCandidates, PointCandidates
from watchline.detectors.heads import yolov8
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.best_class import best_classes
from watchline.detectors.heads.cells import expect_output
from watchline.streams.errors import ModelError


def detect(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of one output (4 + classes, anchors): cx, cy, w, h in pixels, a score a class."""
    classes = len(answer.card.labels)
    expect_output(answer.outputs[0], (4 + classes, -1), f"a {classes}-class head")
    return Candidates(*yolov8.candidates(answer.outputs[0], least_score))


def pose(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the candidates of one output (4 + classes + points * numbers, anchors).

    A point is x and y in pixels, and where it has a third number, its score in [0, 1].
    """
    classes, (points, numbers) = len(answer.card.labels), answer.card.keypoints
    what = f"a {classes}-class head with {points} points of {numbers} numbers"
    expect_output(answer.outputs[0], (4 + classes + points * numbers, -1), what)
    output = answer.outputs[0]
    rows, score, class_id = best_classes(output[4 : 4 + classes], least_score)
    few = output.take(rows, axis=1).T
    return PointCandidates(
        cxcywh_to_xyxy(few[:, :4]), score, class_id, with_score(few[:, 4 + classes :], answer.card.keypoints, score)
    )


def segment(answer: Answer, least_score: float) -> MaskCandidates:
    """Returns the candidates of (4 + classes + prototypes, anchors) and the prototypes (M, h, w)."""
    output, prototypes = answer.outputs
    classes = len(answer.card.labels)
    if prototypes.ndim != 3 or output.shape[0] != 4 + classes + len(prototypes):
        raise ModelError(
            f"the network's outputs are {output.shape} and {prototypes.shape}, a {classes}-class head "
            f"with masks has ({4 + classes} + prototypes, anchors) and (prototypes, h, w)"
        )
    rows, score, class_id = best_classes(output[4 : 4 + classes], least_score)
    few = output.take(rows, axis=1).T
    return MaskCandidates(cxcywh_to_xyxy(few[:, :4]), score, class_id, few[:, 4 + classes :], prototypes)


def with_score(points: F32, shape: tuple[int, int], score: F32) -> F32:
    """Returns points (N, K * numbers) as (N, K, 3); the box's score stands in where a point has none of its own."""
    count, numbers = shape
    points = points.reshape(len(points), count, numbers)
    if numbers == 3:
        return points
    own = np.broadcast_to(score[:, None, None], (len(points), count, 1))
    return np.concatenate([points, own], axis=2)
