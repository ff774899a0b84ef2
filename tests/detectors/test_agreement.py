"""How far two models agree, on scripted detections whose answers can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import make_detections
from watchline.detectors.agreement import agreement, pairs, suggest_thresholds
from watchline.detectors.detections import Detections

LEFT, RIGHT = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)


def _join(*parts: Detections) -> Detections:
    return Detections(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.class_id for part in parts]),
    )


def test_a_box_that_only_one_model_finds_costs_recall_or_precision() -> None:
    both, one = make_detections(LEFT, RIGHT), make_detections(LEFT)
    missing, extra = agreement([both], [one]), agreement([one], [both])
    assert (missing.recall, missing.precision) == (0.5, 1.0)
    assert (extra.recall, extra.precision) == (1.0, 0.5)


def test_frames_are_never_mixed() -> None:
    nothing = Detections.empty()
    found = agreement([make_detections(LEFT), nothing], [nothing, make_detections(LEFT)])
    assert (found.matched, found.recall, found.precision) == (0, 0.0, 0.0)


def test_a_box_of_another_class_is_another_object() -> None:
    found = agreement([make_detections(LEFT)], [make_detections(LEFT, class_id=1)])
    assert (found.recall, found.found_fainter) == (0.0, 0.0)


def test_a_box_that_moved_a_little_is_found_but_not_to_the_pixel() -> None:
    found = agreement([make_detections(LEFT)], [make_detections((2.0, 0.0, 12.0, 10.0))])
    assert (found.recall, found.recall_tight) == (1.0, 0.0)
    assert found.mean_iou == pytest.approx(8 / 12)


def test_a_box_that_became_too_faint_is_told_from_one_that_is_gone() -> None:
    faint = make_detections(LEFT, score=0.2)
    found = agreement([make_detections(LEFT, RIGHT, score=0.3)], [faint], score=0.25)
    assert (found.recall, found.found_fainter) == (0.0, 0.5)
    assert found.score_bias == pytest.approx(-0.1)
    assert found.score_shift == pytest.approx(0.1)
    assert found.score_shift_p95 == pytest.approx(0.1)


def test_a_faint_double_does_not_take_the_place_of_the_sure_box() -> None:
    sure, double = make_detections((1.0, 0.0, 11.0, 10.0), score=0.9), make_detections(LEFT, score=0.1)
    found = agreement([make_detections(LEFT, score=0.9)], [_join(double, sure)])
    assert found.score_shift == 0.0


def test_a_score_at_the_threshold_counts() -> None:
    at = make_detections(LEFT, score=0.3)
    assert agreement([at], [at], score=0.3).matched == 1


def test_nothing_found_by_either_is_full_agreement() -> None:
    found = agreement([Detections.empty()], [Detections.empty()])
    assert (found.recall, found.precision, found.mean_iou, found.recall_tight) == (1.0, 1.0, 1.0, 1.0)


def test_each_box_is_in_one_pair_and_the_best_pairs_come_first() -> None:
    a = make_detections(LEFT, (3.0, 0.0, 13.0, 10.0))
    rows, columns = pairs(a, make_detections((3.0, 0.0, 13.0, 10.0)), 0.5)
    assert (rows.tolist(), columns.tolist()) == ([1], [0])


def test_different_numbers_of_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        agreement([Detections.empty()], [])


def test_the_suggested_score_follows_a_model_whose_scores_all_fell() -> None:
    places = [(20.0 * i, 0.0, 20.0 * i + 10, 10.0) for i in range(9)]
    a = [_join(*(make_detections(place, score=0.1 * (i + 1)) for i, place in enumerate(places)))]
    b = [Detections(a[0].xyxy, a[0].score * np.float32(0.5), a[0].class_id)]
    found = suggest_thresholds(a, b, score=0.35, low_score=0.15)
    assert 0.15 < found.score <= 0.2  # A's 0.4 counts, its 0.3 does not
    assert (found.recall, found.precision) == (1.0, 1.0)
    assert 0.05 < found.low_score <= 0.1


def test_a_model_that_agrees_keeps_its_thresholds() -> None:
    a = [make_detections(LEFT, RIGHT, score=0.5)]
    found = suggest_thresholds(a, a, score=0.25, low_score=0.1)
    assert (found.score, found.low_score, found.recall) == (0.25, 0.1, 1.0)
