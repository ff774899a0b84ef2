"""Laws of agreement, for any detections."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from watchline.detectors.agreement import agreement, suggest_thresholds
from watchline.detectors.detections import Detections


@st.composite
def found(draw: st.DrawFn) -> list[Detections]:
    """Detections of three frames, crowded enough to overlap."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(3):
        n = draw(st.integers(0, 12))
        corner = random.uniform(0, 30, (n, 2))
        xyxy = np.concatenate([corner, corner + random.uniform(5, 25, (n, 2))], axis=1).astype(np.float32)
        score = random.uniform(0.01, 1, n).astype(np.float32)
        frames.append(Detections(xyxy, score, random.integers(0, 2, n).astype(np.int32)))
    return frames


@given(found())
def test_a_model_agrees_with_itself(a: list[Detections]) -> None:
    same = agreement(a, a)
    assert (same.recall, same.precision, same.recall_tight, same.precision_tight) == (1.0, 1.0, 1.0, 1.0)
    assert (same.mean_iou, same.found_fainter) == (1.0, 1.0)
    assert (same.score_bias, same.score_shift, same.score_shift_p95) == (0.0, 0.0, 0.0)


@given(found(), found())
def test_it_does_not_matter_which_of_two_models_is_the_first(a: list[Detections], b: list[Detections]) -> None:
    one, other = agreement(a, b), agreement(b, a)
    assert (one.matched, one.matched_tight, one.mean_iou) == (other.matched, other.matched_tight, other.mean_iou)
    assert (one.recall, one.precision) == (other.precision, other.recall)


@given(found(), found())
def test_shares_are_shares_and_tight_matches_are_matches(a: list[Detections], b: list[Detections]) -> None:
    both = agreement(a, b)
    assert 0 <= both.recall_tight <= both.recall <= both.found_fainter <= 1
    assert both.matched <= min(both.boxes_a, both.boxes_b)
    assert abs(both.score_bias) <= both.score_shift <= 1


@given(found(), found(), st.permutations(range(3)))
def test_the_order_of_frames_and_boxes_does_not_matter(
    a: list[Detections], b: list[Detections], order: list[int]
) -> None:
    turned = [b[i][np.arange(len(b[i]))[::-1]] for i in order]
    one, other = agreement(a, b), agreement([a[i] for i in order], turned)
    assert (one.matched, one.boxes_b, one.recall) == (other.matched, other.boxes_b, other.recall)


@given(found(), found())
def test_a_suggested_score_is_no_worse_than_the_usual_one(a: list[Detections], b: list[Detections]) -> None:
    usual, better = agreement(a, b, 0.25), suggest_thresholds(a, b, 0.25)
    worth = 2 * usual.matched / max(1, usual.boxes_a + usual.boxes_b)
    total = better.recall + better.precision
    if total and usual.boxes_a:
        assert 2 * better.recall * better.precision / total >= worth - 1e-9
    assert 0 < better.low_score <= better.score < 1
