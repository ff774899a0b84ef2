"""Networks that suppress what overlaps themselves: what they give is final, and only needs to be read."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.candidates import Candidates, MaskCandidates, PointCandidates
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.cells import expect_output
from watchline.detectors.heads.decoded import with_score
from watchline.streams.errors import ModelError


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


def four_outputs(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of YOLOv6's and YOLOv7's num_dets (1, 1), det_boxes (1, K, 4), det_scores and det_classes.

    The last two are (1, K); boxes are x0, y0, x1, y1 in pixels. Only the first rows count, as many as num_dets says.
    """
    number, boxes, scores, classes = answer.outputs
    rows = scores.shape[-1]
    for output, shape in ((number, (1, 1)), (boxes, (1, rows, 4)), (scores, (1, rows)), (classes, (1, rows))):
        expect_output(output, shape, f"a finished head of {rows} rows")
    count = int(number[0, 0])
    if not 0 <= count <= rows:
        raise ModelError(f"the network says that it found {count} objects, and gives {rows}")
    found = np.column_stack([boxes[0], scores[0], classes[0]])[:count].astype(np.float32)
    return _candidates(found, least_score)[0]


def end_to_end(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of a YOLOv6 or YOLOv7 that suppresses by itself, in either of its forms."""
    return (four_outputs if len(answer.outputs) > 1 else rows_of_seven)(answer, least_score)


def _candidates(output: F32, least_score: float) -> tuple[Candidates, F32]:
    few = output[(output[:, 4] >= least_score) & (output[:, 4] > 0)]
    return Candidates(few[:, :4], few[:, 4], np.rint(few[:, 5]).astype(np.int32)), few[:, 6:]
