"""Cohort: a fair, bounded sample, and what a score is worth beside it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reid.people import MODEL, WIDTH, f32, seen
from watchline.detectors.boxes import F32
from watchline.reid.cohort import LEAST_SPREAD, TOP, Cohort, Moments, Yardstick, moments, s_norm
from watchline.reid.features import unit


def cohort_of(vectors: F32, most: int = 1000, seed: int = 0) -> Cohort:
    cohort = Cohort(MODEL, least=TOP + 1, most=most, seed=seed)
    cohort.add(np.arange(len(vectors)), vectors, ["door"] * len(vectors))
    return cohort


def test_a_person_like_many_others_scores_no_higher_for_it() -> None:
    rng = np.random.default_rng(1)
    crowd = rng.standard_normal((3000, WIDTH)) + 0.7  # of one look
    plain = unit((crowd[0] - 0.7 + 0.9)[None].astype(np.float32))  # much of that look
    odd = unit((crowd[1] - 0.7 - 0.2)[None].astype(np.float32))  # little of it
    others = unit(crowd[2:].astype(np.float32))
    templates = np.concatenate([plain, odd])
    before = templates @ others[1500:].T
    yardstick = Yardstick.of(others[:1000])
    after = s_norm(before, yardstick.measure(templates), yardstick.measure(others[1500:]))

    def lead(scores: F32) -> float:
        """How much higher the plain one scores with strangers, in standard deviations."""
        return float((scores[0] - scores[1]).mean() / scores.std(axis=1).mean())

    assert 0 < lead(after) < 0.6 * lead(before)  # the template's half of it is gone, the probe's says nothing of it


def test_only_the_most_alike_count() -> None:
    found = moments(f32([[0.0, 1.0, 0.5, -1.0], [4.0, 4.0, 4.0, 9.0]]), top=2)
    assert found.mean.tolist() == [0.75, 6.5]
    assert found.spread.tolist() == [0.25, 2.5]


def test_a_spread_is_half_way_to_the_usual_one_and_never_none() -> None:
    found = Moments(np.zeros(2, np.float32), f32([0.0, 0.2]))
    assert np.allclose(found.drawn_to(0.2).spread, [0.2 * 0.5**0.5, 0.2])
    assert found.usual == pytest.approx(0.2 * 0.5**0.5)
    assert found.drawn_to(0.0).spread[0] == np.float32(LEAST_SPREAD)
    assert Moments(np.zeros(0, np.float32), np.zeros(0, np.float32)).usual == 0


def test_a_member_is_not_measured_by_itself() -> None:
    vectors = seen(60).vectors
    yardstick = Yardstick.of(vectors)
    with_itself = moments(vectors[:5] @ vectors.T, TOP)
    assert (yardstick.measure(vectors[:5]).mean < with_itself.mean - 0.01).all()
    same = Yardstick.of(np.repeat(vectors[:1], 50, axis=0)).measure(vectors[:1])
    assert np.isfinite(same.mean).all()
    assert np.isfinite(same.spread).all()


def test_nothing_measured_is_nothing() -> None:
    assert len(Yardstick.of(seen(20).vectors).measure(np.zeros((0, WIDTH), np.float32))) == 0


def test_a_cohort_is_bounded_and_every_tracklet_as_likely_as_another() -> None:
    vectors = np.repeat(seen(1).vectors[:1], 600, axis=0)
    kept = np.zeros(600)
    for seed in range(60):
        cohort = cohort_of(vectors, most=100, seed=seed)
        assert (len(cohort), cohort.seen) == (100, 600)
        kept[cohort.members()[0]] += 1
    early, late = kept[:300].sum(), kept[300:].sum()
    assert early + late == 6000
    assert abs(early - late) < 400  # ten standard deviations


def test_equal_seeds_choose_the_same() -> None:
    vectors = seen(100).vectors
    one, other = (cohort_of(vectors, most=50, seed=7) for _ in range(2))
    assert one.members()[0].tolist() == other.members()[0].tolist()
    assert one.members()[0].tolist() != cohort_of(vectors, most=50, seed=8).members()[0].tolist()


def test_what_is_removed_is_gone_and_its_place_is_taken_by_the_next() -> None:
    vectors = seen(20).vectors
    cohort = cohort_of(vectors)
    assert cohort.remove(np.array([3, 5, 999])) == 2
    keys, kept, cameras = cohort.members()
    assert len(keys) == len(kept) == len(cameras) == 58
    assert not {3, 5} & set(keys.tolist())
    assert np.array_equal(kept, vectors[keys])
    everything = np.concatenate([cohort._vectors, vectors[3:4]])
    assert (everything == vectors[3]).all(axis=1).sum() == 1  # nowhere in its memory
    cohort.add(np.array([70]), vectors[:1], ["gate"])
    assert cohort.members()[0][-1] == 70


def test_a_cohort_says_when_it_is_enough() -> None:
    cohort = cohort_of(seen(7).vectors[:TOP])
    assert not cohort.enough
    cohort.add(np.array([99]), seen(1).vectors[:1], ["gate"])
    assert cohort.enough


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="want 20 < least <= most, got 20 and 30"):
        Cohort(MODEL, least=20, most=30)
    cohort = cohort_of(seen(1).vectors)
    with pytest.raises(ValueError, match="row 0: want finite numbers"):
        cohort.add(np.array([9]), np.zeros((1, WIDTH), np.float32), ["door"])
    with pytest.raises(ValueError, match="keys: want int64"):
        cohort.add(np.array([9.0]), seen(1).vectors[:1], ["door"])
    assert len(cohort) == 3
