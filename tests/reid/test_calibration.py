"""Thresholds by false alarms a day, learnt from tracklets that nobody labelled."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from watchline.reid.calibration import (
    Basis,
    Calibration,
    NotEnough,
    Sample,
    best_scores,
    blocks_of,
    calibrate,
    held_out,
    of_people,
    watched_s,
)

BASIS = Basis("ab12", "centring, cohort", ("ann", "bob"), ("door", "yard"))
HOUR = 3600.0


def day(count: int, seed: int = 0) -> Sample:
    """Tracklets of two cameras that were watched for twelve hours each."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(6 * HOUR, 18 * HOUR, count))
    scores = rng.normal(size=count).astype(np.float32)
    return Sample(scores, times, np.zeros(count, np.bool_), 24 * HOUR, 2)


def calibrated(sample: Sample, basis: Basis = BASIS) -> Calibration:
    found = calibrate(sample, basis, now=9.0)
    assert isinstance(found, Calibration)
    return found


def test_a_threshold_is_told_in_false_alarms_a_day_of_all_cameras() -> None:
    found = calibrated(day(2000))
    assert found.tracklets_a_day == 4000  # 2,000 in 24 hours of cameras, and there are two
    for alarms in (400.0, 40.0):
        threshold = found.threshold(alarms)
        assert found.expected_alarms(threshold.value).value == pytest.approx(alarms, rel=0.01)
        assert threshold.low < threshold.value < threshold.high
    assert found.threshold(40).value == pytest.approx(2.3263, abs=0.25)  # one in a hundred of a bell curve
    assert found.hours_of_day == 12


def test_more_cameras_bring_more_alarms_at_one_score() -> None:
    few, many = calibrated(day(2000)), calibrated(day(2000), replace(BASIS, cameras=("a", "b", "c", "d")))
    assert many.expected_alarms(2.0).value == pytest.approx(2 * few.expected_alarms(2.0).value)
    assert many.threshold(10).value > few.threshold(10).value


def test_what_the_data_do_not_show_is_called_extrapolated() -> None:
    found = calibrated(day(2000))
    assert not found.threshold(100).extrapolated
    assert found.threshold(1).extrapolated
    assert found.expected_alarms(5).extrapolated
    assert found.expected_alarms(5).low < found.expected_alarms(5).value < found.expected_alarms(5).high


def test_asking_for_more_alarms_than_there_are_people_gives_the_lowest_score() -> None:
    found = calibrated(day(600))
    assert found.threshold(1e9).value == pytest.approx(float(day(600).scores.min()))
    with pytest.raises(ValueError, match="more than 0"):
        found.threshold(0)


def test_too_few_tracklets_say_how_many_and_how_long() -> None:
    found = calibrate(day(200), BASIS, now=9.0)
    assert isinstance(found, NotEnough)
    assert str(found) == "200 of 500 tracklets of people; about 18 more hours of these cameras"
    nobody = calibrate(replace(day(3), scores=np.full(3, np.nan, np.float32)), BASIS, now=9.0)
    assert str(nobody) == "0 of 500 tracklets of people; these cameras saw nobody"


def test_confirmed_pairs_are_left_out_and_rejected_ones_count() -> None:
    scores = np.array([[0.9, 0.2, 0.3], [0.5, 0.8, 0.1]], np.float32)
    confirmed = np.array([[True, True, False], [False, True, False]])
    best = best_scores(scores, confirmed)
    assert best[[0, 2]].tolist() == pytest.approx([0.5, 0.3])
    assert math.isnan(best[1])
    sample = day(2000)
    seen = np.arange(2000) < 15
    with_twins = replace(sample, scores=np.where(seen, np.float32(8), sample.scores))
    unknown, rejected = calibrated(with_twins), calibrated(replace(with_twins, rejected=seen))
    assert (unknown.curve.far_above, rejected.curve.far_above) == (15, 0)
    assert rejected.expected_alarms(7.9).value == pytest.approx(30)
    assert unknown.expected_alarms(7.9).value < 0.1
    without = calibrated(replace(with_twins, scores=np.where(seen, np.float32(np.nan), sample.scores)))
    assert without.curve.tracklets == 1985


def test_what_is_no_person_or_was_never_described_is_left_out() -> None:
    score, quality = np.array([0.9, 0.3, 0.8], np.float32), np.array([0.5, 0.5, np.nan], np.float32)
    assert of_people(score, quality).tolist() == [True, False, False]


def test_it_tells_what_is_no_longer_as_it_was() -> None:
    assert BASIS.changes(BASIS) == ()
    assert BASIS.changes(replace(BASIS, enrolled=("bob", "ann"))) == ()
    now = Basis("cd34", "cosine", ("ann", "eve", "joe"), ("door",))
    assert BASIS.changes(now) == (
        "another model makes the vectors",
        "scored by cosine, not by centring, cohort as then",
        "people enrolled: 3 now, 2 then (2 new, 1 gone)",
        "cameras: 1 now, 2 then (0 new, 1 gone)",
    )


def test_a_stored_calibration_is_the_same_and_a_damaged_one_is_refused() -> None:
    found = calibrated(day(800))
    record = json.loads(json.dumps(found.record()))
    again = Calibration.of_record(record)
    assert again.basis == found.basis
    assert again.threshold(3) == found.threshold(3)
    assert (again.hours_of_day, again.made_at) == (found.hours_of_day, found.made_at)
    damages: list[dict[str, object]] = [{"basis": None}, {"curve": {}}, {"tracklets_a_day": 0}, {"made_at": "then"}]
    for damage in damages:
        with pytest.raises(ValueError, match=r"damaged.*calibrate again"):
            Calibration.of_record({**record, **damage})


def test_time_that_was_watched_is_told_by_the_tracklets_rather_too_short() -> None:
    times = np.array([0.0, 600, 1200, 90_000, 90_300, 5])
    assert watched_s(times, ["a", "a", "a", "a", "a", "b"]) == 1200 + 3600 + 300
    assert watched_s(times[:0], []) == 0


def test_blocks_are_of_ten_minutes_or_at_least_twenty() -> None:
    assert blocks_of(np.array([0.0, 599, 600, 86_400])).tolist() == [0, 0, 1, 144]
    assert len(np.unique(blocks_of(np.linspace(0, 60, 1000)))) >= 20
    assert blocks_of(np.zeros(5)).tolist() == [0] * 5


def test_each_row_is_scored_once_by_what_its_group_had_no_part_in() -> None:
    group = np.array([7, 7, 1, 2, 3, 4, 5, 6, 7, 1], np.int64)
    seen = []
    for learn, held in held_out(group):
        assert not set(group[learn]) & set(group[held])
        assert len(learn) + len(held) == len(group)
        seen += held.tolist()
    assert sorted(seen) == list(range(len(group)))


def test_a_sample_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="watched_s > 0"):
        replace(day(5), watched_s=0)
    with pytest.raises(ValueError, match="numbers or NaN"):
        replace(day(1), scores=np.full(1, np.inf, np.float32))
