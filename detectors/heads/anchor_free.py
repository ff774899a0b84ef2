"""The YOLOX and YOLOv6 heads: one box a cell, an objectness (YOLOv6: always 1) and a score a class; faces too."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import cxcywh_to_xyxy
from watchline.detectors.candidates import Candidates, PointCandidates
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.best_class import best_classes
from watchline.detectors.heads.cells import cell_count, expect_output, grid
from watchline.detectors.heads.decoded import with_score


def detect(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of one output (cells, 5 + classes): cx, cy, w, h, objectness, class scores.

    In the "raw" layout, YOLOX's usual one, the centre counts in cells from its cell's corner, and width and height are
    logarithms of cells; else all four are pixels. The scores are in [0, 1] either way.
    """
    card, size, output = answer.card, answer.size, answer.outputs[0]
    classes = len(card.labels)
    expect_output(
        output,
        (cell_count(size, card.strides), 5 + classes),
        f"a {classes}-class {card.family} head",
    )
    able = np.flatnonzero(output[:, 4] >= least_score)
    rows, score, class_id = best_classes((output[able, 5:] * output[able, 4:5]).T, least_score)
    rows = able[rows]
    boxes = output[rows, :4]
    if card.layout == "raw":
        corner, step = grid(size, card.strides)
        boxes = np.concatenate([boxes[:, :2] + corner[rows], np.exp(boxes[:, 2:])], axis=1) * step[rows]
    return Candidates(cxcywh_to_xyxy(boxes), score, class_id)


def face(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the candidates of YOLOv6-face's (cells, 15 + classes): box, landmarks, a one, class scores.

    The box is cx, cy, w, h, the landmarks are x and y each, all in pixels.
    """
    card, output = answer.card, answer.outputs[0]
    classes, width = len(card.labels), card.keypoints[0] * card.keypoints[1]
    cells = cell_count(answer.size, card.strides)
    expect_output(output, (cells, 5 + width + classes), f"a {classes}-class {card.family} head with landmarks")
    rows, score, class_id = best_classes(output[:, 5 + width :].T, least_score)
    few = output[rows]
    points = with_score(few[:, 4 : 4 + width], card.keypoints, score)
    return PointCandidates(cxcywh_to_xyxy(few[:, :4]), score, class_id, points)
