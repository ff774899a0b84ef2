"""How rare is a score? Told by samples whose law is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from watchline.detectors.boxes import F32
from watchline.reid.rates import LEAST, RateCurve, learn_rates


def learnt(scores: F32, known: int = 0) -> RateCurve:
    """The curve of independent scores, of which the last `known` are known to be of nobody who is looked for."""
    return learn_rates(scores, np.arange(len(scores)), np.arange(len(scores)) >= len(scores) - known)


def bell(count: int, seed: int = 0) -> F32:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


def test_within_what_was_seen_the_share_is_that_of_the_sample() -> None:
    curve = learnt(np.arange(1000, dtype=np.float32))
    for share in (1.0, 0.5, 0.2, 0.1, 0.05, 0.01):
        assert curve.score_for(share).value == pytest.approx(1000 * (1 - share), abs=10)
        assert not curve.score_for(share).extrapolated
    assert curve.share_at(-5).value == 1
    assert curve.share_at(900).value == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(("rarity", "score"), [(0.001, 3.0902), (0.0001, 3.719)])
def test_the_tail_of_a_bell_curve_is_told_beyond_what_was_seen_rather_too_high(rarity: float, score: float) -> None:
    told = [learnt(bell(2000, seed)).share_at(score) for seed in range(10)]
    assert all(each.extrapolated for each in told)
    assert rarity < np.exp(np.mean([np.log(each.value) for each in told])) < 2 * rarity


def test_a_score_that_nobody_came_near_is_rare_and_never_impossible() -> None:
    curve = learnt(bell(1000))
    shares = [curve.share_at(score).value for score in (4, 6, 10, 30)]
    assert 0 < shares[-1] < shares[-2] < shares[1] < shares[0] < 1e-3


def test_who_is_looked_for_among_the_tracklets_stands_out_and_lifts_a_threshold_a_little() -> None:
    others = bell(2000)
    clean, mixed = learnt(others), learnt(np.append(others, np.full(15, 9, np.float32)))
    assert clean.far_above == 0
    assert mixed.far_above == 15
    for share in (0.05, 0.01, 0.001):
        assert clean.score_for(share).value <= mixed.score_for(share).value  # told too rare rather than too often
        assert mixed.score_for(share).value < clean.score_for(share).value + 0.7


def test_a_tracklet_known_to_be_somebody_else_counts_where_it_stands() -> None:
    scores = np.append(bell(2000), np.full(15, 9, np.float32))
    curve = learnt(scores, known=15)
    assert curve.far_above == 0
    assert curve.share_at(8.9).value == pytest.approx(15 / 2015)
    assert curve.share_at(8.9).value > 100 * learnt(scores).share_at(8.9).value


def test_repeats_of_one_person_make_it_less_sure_not_more() -> None:
    scores = np.repeat(bell(200), 10)
    none = np.zeros(len(scores), np.bool_)
    apart = learn_rates(scores, np.arange(len(scores)), none).score_for(0.05)
    together = learn_rates(scores, np.repeat(np.arange(200), 10), none).score_for(0.05)
    assert together.value == apart.value
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_scores_that_are_all_one_still_make_a_curve() -> None:
    curve = learnt(np.full(500, 0.5, np.float32))
    assert curve.share_at(0.5).value == 1
    assert curve.share_at(0.6).value < 1e-6


def test_a_stored_curve_is_the_same_and_a_damaged_one_is_refused() -> None:
    curve = learnt(bell(500))
    record = json.loads(json.dumps(curve.record()))
    again = RateCurve.of_record(record)
    for score in (-9.0, 0.0, 2.5, 5.0):
        assert again.share_at(score) == curve.share_at(score)
    for damage in ({"share": record["low"][::-1]}, {"reach": "high"}, {"score": [1.0]}, {"low": [float("nan")]}):
        with pytest.raises(ValueError, match=r"damaged.*calibrate again"):
            RateCurve.of_record({**record, **damage})
    with pytest.raises(ValueError, match="damaged"):
        RateCurve.of_record({})


def test_too_few_or_broken_scores_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at least {LEAST}"):
        learnt(bell(LEAST - 1))
    with pytest.raises(ValueError, match="finite"):
        learnt(np.full(LEAST, np.nan, np.float32))
    with pytest.raises(ValueError, match="more than 0"):
        learnt(bell(LEAST)).score_for(0)
