"""Laws of scoring: what order and scale cannot change, what stays within bounds, and what is undone is as if never."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.reid.index_kit import model_of
from watchline.detectors.boxes import F32
from watchline.reid.centring import CameraMeans, centred
from watchline.reid.cohort import LEAST_SPREAD, moments, s_norm
from watchline.reid.features import unit
from watchline.reid.fusing import reciprocal, weighted
from watchline.reid.scoring import best
from watchline.reid.template import Shot, Template
from watchline.reid.transit import TransitPrior

MODEL = model_of(8)
SEEDS = st.integers(0, 2**32 - 1)
CAMERAS = np.array(["door", "gate", "yard", ""])


def _vectors(rng: np.random.Generator, count: int) -> F32:
    return unit(rng.standard_normal((count, 8)).astype(np.float32))


@settings(deadline=None, max_examples=100)
@given(SEEDS, st.integers(0, 60), st.integers(1, 20), st.integers(20, 40))
def test_centring_knows_no_order_within_the_horizon_and_no_batches(
    seed: int, count: int, least: int, horizon: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors, cameras = _vectors(rng, count), rng.choice(CAMERAS[:3], count)

    def means(order: list[int], batch: int, horizon: int) -> CameraMeans:
        found = CameraMeans(MODEL, least, horizon)
        for start in range(0, count, batch):
            rows = order[start : start + batch]
            found.add(vectors[rows], cameras[rows])
        return found

    plain, mixed = list(range(count)), rng.permutation(count).tolist()
    asked = _vectors(rng, 12), rng.choice(CAMERAS, 12)
    want = centred(*asked, means(plain, 1, 60))
    assert np.allclose(centred(*asked, means(mixed, 7, 60)), want, atol=1e-4)
    assert np.allclose(means(plain, 9, horizon).of(CAMERAS), means(plain, 1, horizon).of(CAMERAS), atol=1e-5)
    turned = rng.permutation(12)
    assert centred(asked[0][turned], asked[1][turned], means(plain, 1, 60)).tolist() == want[turned].tolist()


@settings(deadline=None, max_examples=100)
@given(SEEDS, st.integers(1, 6), st.integers(1, 9), st.floats(0.5, 100), st.floats(-50, 50))
def test_no_scale_and_no_shift_of_scores_changes_a_normalised_one(
    seed: int, templates: int, probes: int, scale: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)

    def normed(scale: float, shift: float) -> F32:
        def moved(scores: F32) -> F32:
            return (scores * np.float32(scale) + np.float32(shift)).astype(np.float32)

        usual = moments(moved(members), 10).usual
        by = (moments(moved(each), 10).drawn_to(usual) for each in (template, probe))
        return s_norm(moved(scores), *by)

    scores = rng.standard_normal((templates, probes)).astype(np.float32)
    template, probe, members = (rng.standard_normal((n, 40)).astype(np.float32) for n in (templates, probes, 40))
    assert moments(members, 10).usual > 2 * LEAST_SPREAD
    assert np.allclose(normed(scale, shift), normed(1, 0), atol=0.02)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1), st.booleans(), st.sampled_from("ab")), max_size=30),
    st.floats(0.1, 10),
    st.floats(0.1, 100),
    st.lists(st.floats(-1e9, 1e9), max_size=20),
)
def test_the_hint_of_times_is_bounded_whatever_was_learnt(
    learnt: list[tuple[float, float, bool, str]], limit: float, prior: float, asked: list[float]
) -> None:
    found = TransitPrior(limit=limit, prior=prior)
    for gap_s, weight, same, end in learnt:
        found.learn(["a"], [end], np.array([gap_s]), np.array([weight]), same)
    odds = found.log_odds(["a"] * len(asked), ["b"] * len(asked), np.array(asked, np.float64))
    assert np.isfinite(odds).all()
    assert (np.abs(odds) <= np.float32(limit)).all()
    shares = [each.share for each in found.where_next("a")]
    assert not shares or math.isclose(sum(shares), 1, rel_tol=1e-6)
    assert all(each.same.sum() <= found.most_weight * (1 + 1e-9) for each in found.records())


@settings(deadline=None, max_examples=200)
@given(
    arrays(np.float32, (2, 7), elements=st.sampled_from([np.nan, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0])),
    st.integers(0, 1),
    st.integers(0, 6),
    st.floats(0.25, 4, width=32),
    st.floats(0.25, 4, width=32),
)
def test_a_higher_score_never_lowers_who_has_it(scores: F32, kind: int, who: int, more: float, weight: float) -> None:
    raised = scores.copy()
    raised[kind, who] += np.float32(more)
    for fuse in (weighted, reciprocal):
        weights = np.array([1, weight], np.float32)
        before, after = fuse(scores, weights), fuse(raised, weights)
        if not np.isnan(before[who]):
            assert after[who] >= before[who]
            others = np.arange(7) != who
            assert (after[others] <= before[others])[~np.isnan(before[others])].all()


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.integers(1, 9), st.data())
def test_what_is_removed_from_a_template_was_never_in_it(seed: int, count: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    shots = [
        Shot(str(i), MODEL, vector, str(rng.choice(CAMERAS)), "a.jpg", "ann", 0.0, 0.0, 1.0)
        for i, vector in enumerate(_vectors(rng, count + 1))
    ]
    template, extra = Template.of(*shots[:-1]), shots[-1]
    undone = template.adding(extra).removing(extra.key)
    assert undone.shots == template.shots
    assert undone.vector().tobytes() == template.vector().tobytes()
    gone = data.draw(st.integers(0, count - 1))
    if count > 1:
        kept = Template.of(*shots[:gone], *shots[gone + 1 : -1])
        assert template.removing(str(gone)).vector().tobytes() == kept.vector().tobytes()


@settings(deadline=None, max_examples=100)
@given(
    arrays(np.float32, (4, 5), elements=st.floats(-3, 3, width=32)), st.lists(st.integers(0, 2), min_size=4, max_size=4)
)
def test_a_margin_is_never_negative_and_there_where_somebody_else_is(scores: F32, person: list[int]) -> None:
    found = best(scores, np.array(person, np.int64))
    assert (found.score == scores.max(axis=0)).all()
    if len(set(person)) > 1:
        assert (found.margin >= 0).all()
    else:
        assert np.isnan(found.margin).all()
