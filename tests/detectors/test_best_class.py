from __future__ import annotations

import numpy as np
import pytest

from watchline.detectors.heads import yolov8
from watchline.detectors.heads.best_class import BestClasses, best_classes, best_classes_native, best_classes_numpy

BOTH = [pytest.param(best_classes_numpy, id="numpy")]
if best_classes_native is not None:
    BOTH.append(pytest.param(best_classes_native, id="native"))

NAN = np.nan


@pytest.mark.parametrize("best", BOTH)
@pytest.mark.parametrize(
    ("scores", "anchors", "class_ids"),
    [
        ([[0.5]], [0], [0]),  # a score equal to the threshold passes
        ([[0.4]], [], []),
        ([[0.2, 0.9, 0.6], [0.8, 0.1, 0.6]], [0, 1, 2], [1, 0, 0]),  # of equal classes the first
        ([[NAN, 0.9], [0.9, NAN]], [], []),  # who has a NaN has no best class
        ([[]], [], []),
    ],
)
def test_who_is_a_candidate(
    best: BestClasses, scores: list[list[float]], anchors: list[int], class_ids: list[int]
) -> None:
    table = np.array(scores, np.float32)
    anchor, score, class_id = best(table, 0.5)
    assert (anchor.tolist(), class_id.tolist()) == (anchors, class_ids)
    assert score.tolist() == table[class_ids, anchors].tolist()
    assert [column.dtype.name for column in (anchor, score, class_id)] == ["int64", "float32", "int32"]


@pytest.mark.parametrize("best", BOTH)
def test_the_threshold_is_a_float32_as_the_scores_are(best: BestClasses) -> None:
    scores = np.array([[0.7]], np.float32)  # a little less than 0.7
    assert len(best(scores, np.float64(0.7))[0]) == 1


@pytest.mark.parametrize("best", BOTH)
def test_scores_without_a_class_are_refused(best: BestClasses) -> None:
    with pytest.raises(ValueError, match="at least one class"):
        best(np.zeros((0, 5), np.float32), 0.5)


def test_a_head_with_a_row_an_anchor_passes_its_transpose() -> None:
    output = np.random.default_rng(1).random((300, 85), np.float32)
    apart, packed = output[:, 5:].T, np.ascontiguousarray(output[:, 5:].T)
    assert [column.tolist() for column in best_classes(apart, 0.99)] == [
        column.tolist() for column in best_classes(packed, 0.99)
    ]


def test_a_yolov8_candidate_has_the_corners_and_the_score_of_its_anchor() -> None:
    output = np.array([[8, 1, 20], [8, 1, 30], [4, 1, 5], [2, 1, 10], [0.1, 0.2, 0.75], [0.5, 0.3, 0.25]], np.float32)
    xyxy, score, class_id = yolov8.candidates(output, 0.5)
    assert xyxy.tolist() == [[6, 7, 10, 9], [17.5, 25, 22.5, 35]]
    assert (score.tolist(), class_id.tolist()) == ([0.5, 0.75], [1, 0])


@pytest.mark.native
class TestNativeBestClasses:
    @pytest.fixture(autouse=True)
    def _built(self, native: None) -> None:
        pass

    @pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, ">f4"])
    def test_refuses_other_dtypes(self, dtype: str) -> None:
        with pytest.raises(TypeError):
            best_classes(np.zeros((2, 2), dtype), 0.5)

    def test_refuses_other_shapes(self) -> None:
        for shape in ((4,), (1, 2, 3)):
            with pytest.raises(TypeError):
                best_classes(np.zeros(shape, np.float32), 0.5)

    def test_refuses_numbers_that_lie_askew(self) -> None:
        askew = np.zeros(41, np.uint8)[1:].view(np.float32).reshape(2, 5)
        with pytest.raises((TypeError, ValueError)):
            best_classes(askew, 0.5)
