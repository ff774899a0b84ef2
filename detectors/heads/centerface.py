"""The CenterFace head: a map of face centres at a quarter of the input, and at each what lies there."""

from __future__ import annotations

from typing import Final

import numpy as np

from watchline.detectors.candidates import PointCandidates
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.cells import expect_output
from watchline.detectors.heads.decoded import with_score

CELL_PX: Final = 4  # the card's stride is another: what the input's sides must be multiples of


def faces(answer: Answer, least_score: float) -> PointCandidates:
    """Returns the candidates of four maps: score (1, h, w), size (2, h, w), offset (2, h, w), landmarks (10, h, w).

    Every pair is y before x. Sizes are logarithms of cells, offsets count in cells from the middle of the cell, and
    landmarks in shares of the box from its corner.

    Source: CenterFace (Xu et al., 2019).
    """
    high, wide = (side // CELL_PX for side in answer.size)
    for output, channels in zip(answer.outputs, (1, 2, 2, 10), strict=True):
        expect_output(output, (channels, high, wide), "a CenterFace head")
    scores, sizes, offsets, marks = (output.reshape(len(output), -1) for output in answer.outputs)
    cells = np.flatnonzero(scores[0] >= least_score)
    place = np.stack([cells % wide, cells // wide], axis=1).astype(np.float32)  # x, y
    side = np.exp(sizes[::-1, cells].T) * CELL_PX
    corner = (place + offsets[::-1, cells].T + np.float32(0.5)) * CELL_PX - side / 2
    points = marks[:, cells].T.reshape(-1, 5, 2)[..., ::-1] * side[:, None] + corner[:, None]
    score = scores[0, cells]
    class_id = np.zeros(len(cells), np.int32)
    xyxy = np.concatenate([corner, corner + side], axis=1)
    return PointCandidates(xyxy, score, class_id, with_score(points.reshape(-1, 10), (5, 2), score))
