"""The detectors of OpenVINO's Open Model Zoo whose last layer is SSD's: they suppress what overlaps themselves.

Source: Open Model Zoo, the pages of person-detection-retail-0013, face-detection-retail-0005 and
person-vehicle-bike-detection-crossroad-0078; the OpenVINO documentation, "DetectionOutput".
"""

from __future__ import annotations

import numpy as np

from watchline.detectors.candidates import Candidates
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.cells import expect_output


def ssd(answer: Answer, least_score: float) -> Candidates:
    """Returns the candidates of (1, 1, N, 7): picture, label, score, x0, y0, x1, y1, the box as parts of the input.

    A picture of -1 ends the list. The label is the class where there are several. A network with one class may call it
    0 or 1.
    """
    expect_output(answer.outputs[0], (1, 1, -1, 7), "an SSD head of the Open Model Zoo")
    rows = answer.outputs[0][0, 0]
    ended = np.flatnonzero(rows[:, 0] < 0)
    rows = rows[: ended[0]] if len(ended) else rows
    few = rows[(rows[:, 2] >= least_score) & (rows[:, 2] > 0)]
    height, width = answer.size
    class_id = np.rint(few[:, 1]).astype(np.int32)
    if len(answer.card.labels) == 1:
        class_id[:] = 0
    return Candidates(few[:, 3:7] * np.array([width, height] * 2, np.float32), few[:, 2], class_id)
