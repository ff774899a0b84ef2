"""Networks that suppress what overlaps themselves: what they give is final, and only needs to be read."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.candidates import Candidates, MaskCandidates, PointCandidates
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.cells import expect_output
from watchline.detectors.heads.decoded import with_score


def detect(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of (N, 6): x0, y0, x1, y1 in pixels, score, class; unused rows have a score of 0."""
    expect_output(answer.outputs[0], (-1, 6), "a finished head")
    return _candidates(answer.outputs[0], least_score)[0]


def pose(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the candidates of (N, 6 + points * numbers), the points in pixels."""
    expect_output(
        answer.outputs[0], (-1, 6 + answer.card.keypoints[0] * answer.card.keypoints[1]), "a finished head with points"
    )
    found, rest = _candidates(answer.outputs[0], least_score)
    return PointCandidates(
        found.xyxy, found.score, found.class_id, with_score(rest, answer.card.keypoints, found.score)
    )


def segment(answer: Answer, least_score: float) -> MaskCandidates:
    """Returns the candidates of (N, 6 + prototypes) and the prototypes (M, h, w)."""
    expect_output(answer.outputs[0], (-1, 6 + len(answer.outputs[1])), "a finished head with masks")
    found, rest = _candidates(answer.outputs[0], least_score)
    return MaskCandidates(found.xyxy, found.score, found.class_id, rest, answer.outputs[1])


def rows_of_seven(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of YOLOv7's (N, 7): picture, x0, y0, x1, y1 in pixels, class, score."""
    expect_output(answer.outputs[0], (-1, 7), "a finished YOLOv7 head")
    return _candidates(answer.outputs[0][:, [1, 2, 3, 4, 6, 5]], least_score)[0]


def _candidates(output: F32, least_score: float) -> tuple[Candidates, F32]:
    few = output[(output[:, 4] >= least_score) & (output[:, 4] > 0)]
    return Candidates(few[:, :4], few[:, 4], np.rint(few[:, 5]).astype(np.int32)), few[:, 6:]
