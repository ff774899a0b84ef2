from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import make_detections
from watchline.detectors.detections import Detections

BOX = np.array([[0, 0, 1, 1]], np.float32)
SCORE = np.array([0.5], np.float32)
CLASS = np.zeros(1, np.int32)


def test_nothing_is_a_value_with_every_field() -> None:
    empty = Detections.empty()
    assert (len(empty), empty.xyxy.shape, empty.score.shape, empty.class_id.shape) == (0, (0, 4), (0,), (0,))


def test_a_one_pixel_box_is_a_box() -> None:
    assert len(make_detections((5, 5, 6, 6))) == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((BOX.astype(np.float64), SCORE, CLASS), r"xyxy: want float32 \(1, 4\), got float64 \(1, 4\)"),
        ((BOX[0], SCORE, CLASS), r"xyxy: want float32 \(4, 4\), got float32 \(4,\)"),
        ((BOX, np.float32([0.5, 0.5]), CLASS), r"score: want float32 \(1,\)"),  # type: ignore[arg-type]
        ((BOX, SCORE, CLASS.astype(np.int64)), r"class_id: want int32"),
        ((BOX[:, ::-1].copy(), SCORE, CLASS), "box 0 has no area"),
        ((BOX * np.float32(np.nan), SCORE, CLASS), "box 0 has no area or is not finite"),
        ((BOX + np.array([[0, 0, np.inf, 0]], np.float32), SCORE, CLASS), "not finite"),
        ((BOX, SCORE + np.float32(1), CLASS), r"score 0 is outside \[0, 1\]: 1.5"),
        ((BOX, SCORE * np.float32(np.nan), CLASS), r"score 0 is outside \[0, 1\]: nan"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: tuple[np.ndarray, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Detections(*fields)
