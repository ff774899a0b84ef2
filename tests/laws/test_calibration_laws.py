"""Laws of calibration: whatever the scores are, thresholds and rates go one way, and keep their word."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from watchline.detectors.boxes import F32
from watchline.reid.rates import SUSPECT, RateCurve, learn_rates
from watchline.trackers.tracks import I64

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(100, 1500)
RATES = st.floats(1e-7, 1)


def _scores(rng: np.random.Generator, count: int, kinds: int = 5) -> F32:
    """Scores of one of five laws: bell, exponential, bounded, a crowd with some far above, few values."""
    scores = rng.normal(size=count)
    kind = rng.integers(kinds)
    if kind == 1:
        scores = rng.exponential(size=count)
    elif kind == 2:
        scores = rng.beta(8, 4, size=count)
    elif kind == 3:
        scores[: count // 50] += 20
    elif kind == 4:
        scores = np.round(scores)
    return scores.astype(np.float32)


def _curve(rng: np.random.Generator, count: int, scores: F32 | None = None) -> RateCurve:
    block: I64 = rng.integers(0, 60, count)
    known = rng.random(count) < rng.choice([0, 0.02])
    return learn_rates(_scores(rng, count) if scores is None else scores, block, known)


@settings(deadline=None, max_examples=60)
@given(SEEDS, COUNTS, RATES, RATES)
def test_fewer_alarms_never_ask_for_a_lower_threshold(seed: int, count: int, one: float, other: float) -> None:
    curve = _curve(np.random.default_rng(seed), count)
    rare, often = curve.score_for(min(one, other)), curve.score_for(max(one, other))
    assert rare.value >= often.value
    assert rare.low >= often.low - 1e-9
    assert rare.high >= often.high - 1e-9
    for each in (rare, often):
        assert each.low <= each.value <= each.high


@settings(deadline=None, max_examples=60)
@given(SEEDS, COUNTS, st.floats(-5, 40), st.floats(-5, 40))
def test_a_higher_score_is_never_more_frequent(seed: int, count: int, one: float, other: float) -> None:
    curve = _curve(np.random.default_rng(seed), count)
    low, high = curve.share_at(min(one, other)), curve.share_at(max(one, other))
    assert 0 <= high.value <= low.value <= 1
    assert high.low <= low.low
    assert high.high <= low.high
    assert low.low <= low.value <= low.high


@settings(deadline=None, max_examples=60)
@given(SEEDS, COUNTS, RATES)
def test_the_threshold_for_a_rate_has_that_rate(seed: int, count: int, rate: float) -> None:
    curve = _curve(np.random.default_rng(seed), count)
    told = curve.share_at(curve.score_for(rate).value).value
    assert told >= rate * 0.99
    if rate < curve.share_at(np.nextafter(curve.score[0], 9)).value:
        assert told <= rate * 1.01


@settings(deadline=None, max_examples=60)
@given(SEEDS, COUNTS, st.floats(SUSPECT, 1), st.integers(1, 5))
def test_more_people_enrolled_never_lower_a_threshold(seed: int, count: int, rate: float, people: int) -> None:
    # As far as it is counted: beyond, the tail is an estimate, and so is what lies between few values.
    rng = np.random.default_rng(seed)
    scores = np.stack([_scores(rng, count, kinds=4) for _ in range(people + 1)])
    fewer, more = (_curve(np.random.default_rng(seed), count, each.max(axis=0)) for each in (scores[:-1], scores))
    assume(not fewer.score_for(rate).extrapolated)
    slack = 1e-6 * (1 + abs(more.score_for(rate).value))
    assert more.score_for(rate).value >= fewer.score_for(rate).value - slack


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_the_rate_that_was_asked_for_lies_in_the_interval_nine_times_in_ten(seed: int) -> None:
    rng = np.random.default_rng(seed)
    population = np.sort(_scores(rng, 100_000, kinds=4))
    kept = 0
    for _ in range(25):
        people = rng.choice(population, 250)
        curve = learn_rates(np.repeat(people, 4), np.repeat(np.arange(250), 4), np.zeros(1000, np.bool_))
        found = curve.score_for(0.05)
        passing = 1 - np.searchsorted(population, np.array([found.high + 1e-6, found.low - 1e-6])) / len(population)
        kept += bool(passing[0] <= 0.05 <= passing[1])
    assert kept >= 17  # of 25 where 22 or 23 are meant
