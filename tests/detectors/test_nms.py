from __future__ import annotations

import numpy as np
import pytest

from watchline.detectors.nms import nms


def run_nms(
    boxes: list[list[float]], scores: list[float], classes: list[int], iou: float = 0.5, limit: int = 300
) -> list[int]:
    xyxy = np.array(boxes, np.float32).reshape(len(boxes), 4)
    return [int(row) for row in nms(xyxy, np.array(scores, np.float32), np.array(classes, np.int32), iou, limit)]


SAME = [0, 0, 10, 10]


@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "kept"),
    [
        ([], [], [], []),  # empty scene
        ([SAME], [0.5], [0], [0]),
        ([SAME, SAME], [0.5, 0.6], [0, 0], [1]),  # the better one stays
        ([SAME, SAME], [0.5, 0.5], [0, 0], [0]),  # equal scores: the earlier one
        ([SAME, SAME], [0.5, 0.6], [0, 1], [1, 0]),  # classes never suppress each other
        ([SAME, [10, 0, 20, 10]], [0.5, 0.6], [0, 0], [1, 0]),  # touching is no overlap
        ([SAME, [0, 0, 10, 5]], [0.9, 0.8], [0, 0], [0, 1]),  # overlap equal to the limit stays
        ([[5, 5, 6, 6], [5, 5, 6, 6]], [0.9, 0.8], [0, 0], [0]),  # one-pixel boxes
        # a suppressed box suppresses nothing
        ([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], [0.9, 0.8, 0.7], [0, 0, 0], [0, 2]),
    ],
)
def test_who_stays(boxes: list[list[float]], scores: list[float], classes: list[int], kept: list[int]) -> None:
    iou = 0.4 if len(boxes) == 3 else 0.5
    assert run_nms(boxes, scores, classes, iou=iou) == kept


def test_the_limit_keeps_the_best() -> None:
    boxes = [[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(9)]
    assert run_nms(boxes, [0.1 * i for i in range(1, 10)], [0] * 9, limit=2) == [8, 7]
