"""Transit times: what they hint, how little they hint where little is known, and where somebody may be next."""

from __future__ import annotations

import math

import numpy as np
import pytest

from watchline.reid.transit import EDGES_S, LIMIT, Next, PairTimes, TransitPrior


def walked(prior: TransitPrior, start: str, end: str, *gap_s: float, same: bool = True, weight: float = 1.0) -> None:
    count = len(gap_s)
    prior.learn([start] * count, [end] * count, np.array(gap_s), np.full(count, weight), same)


def odds(prior: TransitPrior, start: str, end: str, *gap_s: float) -> list[float]:
    count = len(gap_s)
    return [float(each) for each in prior.log_odds([start] * count, [end] * count, np.array(gap_s))]


def site() -> TransitPrior:
    """A walk of half a minute from the door to the gate; strangers pass at any time of an hour."""
    prior, rng = TransitPrior(), np.random.default_rng(0)
    walked(prior, "door", "gate", *rng.normal(30, 4, 60))
    walked(prior, "door", "gate", *rng.uniform(0, 3600, 600), same=False)
    return prior


def test_the_usual_time_speaks_for_one_person_and_others_against() -> None:
    usual, quick, late, overlap = odds(site(), "door", "gate", 30.0, 2.0, 1800.0, -5.0)
    assert usual > 1.5
    assert late < -1
    assert quick < usual - 1
    assert overlap < usual - 1


def test_the_way_back_is_another_way_and_unknown_ones_say_nothing() -> None:
    assert odds(site(), "gate", "door", 30.0, 1800.0) == [0.0, 0.0]
    assert odds(site(), "door", "yard", 30.0) == [0.0]
    assert odds(TransitPrior(), "a", "b") == []


def test_whichever_began_first_comes_first_and_what_has_another_clock_says_nothing() -> None:
    prior = site()
    starts, ends = np.array([1030.0, 950.0, np.nan, 1030.0]), np.array([1040.0, 970.0, np.nan, 1040.0])
    found = prior.hints("gate", (1000.0, 1010.0), ["door", "door", "door", "yard"], starts, ends)
    assert found[1] == odds(prior, "door", "gate", 30.0)[0] > 1.5
    assert found[[0, 2, 3]].tolist() == [0, 0, 0]  # the way back was not learnt
    assert prior.hints("door", (1000.0, 1010.0), ["gate"], np.array([1040.0]), np.array([1050.0]))[0] == found[1]


def test_few_pairs_hint_little() -> None:
    prior = TransitPrior()
    walked(prior, "door", "gate", 30.0)
    (one,) = odds(prior, "door", "gate", 30.0)
    walked(prior, "door", "gate", *[30.0] * 50)
    (many,) = odds(prior, "door", "gate", 30.0)
    assert 0 < one < 1 < many


def test_a_likely_pair_counts_for_less_than_a_confirmed_one() -> None:
    sure, likely = TransitPrior(), TransitPrior()
    walked(sure, "door", "gate", *[30.0] * 10)
    walked(likely, "door", "gate", *[30.0] * 10, weight=0.2)
    assert odds(likely, "door", "gate", 30.0) < odds(sure, "door", "gate", 30.0)


def test_cameras_that_see_one_place_see_a_person_at_one_time() -> None:
    prior = TransitPrior()
    walked(prior, "door", "hall", *[-4.0] * 40, 10.0)
    walked(prior, "door", "hall", *np.random.default_rng(0).uniform(0, 3600, 400).tolist(), same=False)
    overlap, later = odds(prior, "door", "hall", -2.0, 600.0)
    assert overlap > 1.5
    assert later < 0


def test_where_next_tells_cameras_and_times_most_likely_first() -> None:
    prior = site()
    walked(prior, "door", "yard", *[300.0] * 20)
    walked(prior, "gate", "yard", *[7.0] * 90)
    found = prior.where_next("door")
    assert found[0].camera == "gate"
    assert found[0].from_s <= 30 <= found[0].to_s
    assert sum(each.share for each in found) == pytest.approx(1)
    assert sum(each.share for each in found if each.camera == "gate") == pytest.approx(0.75)
    assert [each.share for each in found] == sorted((each.share for each in found), reverse=True)
    assert {each.camera for each in prior.where_next("door", waited_s=150)} == {"yard"}
    assert prior.where_next("nowhere") == []


def test_the_ends_of_time_are_open() -> None:
    prior = TransitPrior(edges_s=(10.0, 100.0))
    walked(prior, "a", "b", -3.0)
    assert prior.where_next("a") == [Next("b", -math.inf, 0.0, 1.0)]
    assert prior.bin_of(np.array([-0.1, 0.0, 9.9, 10.0, 99.0, 100.0, 1e9])).tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_a_pair_goes_on_from_its_record() -> None:
    prior = site()
    again = TransitPrior(records=prior.records())
    for each in (prior, again):
        walked(each, "door", "gate", 40.0)
    assert odds(again, "door", "gate", 1.0, 30.0, 900.0) == odds(prior, "door", "gate", 1.0, 30.0, 900.0)


def test_pairs_and_their_weights_are_bounded() -> None:
    prior = TransitPrior(most=2, most_weight=50)
    for end in ("a", "b", "a", "c"):
        walked(prior, "door", end, *[30.0] * 100)
    assert [(each.start, each.end) for each in prior.records()] == [("door", "a"), ("door", "c")]
    assert prior.forgotten == 1
    assert prior.records()[0].same.sum() == pytest.approx(50)
    walked(prior, "door", "a", *[900.0] * 50)
    assert odds(prior, "door", "a", 900.0) > [0.5]  # the new ones have a say


def test_what_does_not_fit_is_refused() -> None:
    prior = TransitPrior()
    for gap_s, weight in ((math.nan, 1.0), (1.0, 0.0), (1.0, 1.1)):
        with pytest.raises(ValueError, match="gaps that are finite, and weights above 0, at most 1"):
            walked(prior, "a", "b", gap_s, weight=weight)
    with pytest.raises(ValueError, match="edges_s: want ascending"):
        TransitPrior(edges_s=(2.0, 1.0))
    with pytest.raises(ValueError, match="want numbers above 0"):
        TransitPrior(limit=0)
    bins = np.zeros(len(EDGES_S) + 2)
    with pytest.raises(ValueError, match="same of 'a' to 'b': want float64"):
        TransitPrior(records=[PairTimes("a", "b", bins[:3], bins)])
    with pytest.raises(ValueError, match="other of 'a' to 'b': damaged"):
        TransitPrior(records=[PairTimes("a", "b", bins, bins - 1)])
    assert len(prior) == 0
    assert LIMIT > 0
