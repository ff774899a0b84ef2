"""Watch lists drawn from people of whom everything is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from watchline.detectors.boxes import F32
from watchline.reid import open_set
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.features import DISTRACTOR, FeatureSet, unit
from watchline.reid.open_set import RATES, Draw, LeftOut, Pool, Result, Way, evaluate
from watchline.streams.errors import UsageError

AT_1_PERCENT = 6
WIDTH = 24


def crowd(people: int, noise: float = 0.25, distractors: int = 0, light: float = 0.0, seed: int = 0) -> FeatureSet:
    """Pictures of people by three cameras, two of each by each; every camera adds a light of its own."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(1, people + 1), 6)
    camera = np.tile(np.repeat([0, 1, 2], 2), people)
    likeness = rng.normal(size=(people + 1, WIDTH))[person] + light * rng.normal(size=(3, WIDTH))[camera]
    vectors = unit((likeness + noise * rng.normal(size=likeness.shape)).astype(np.float32))
    strange: F32 = unit(rng.normal(size=(distractors, WIDTH)).astype(np.float32))
    return FeatureSet.of(
        np.concatenate([vectors, strange]),
        EmbeddingModel("drawn", "ab", Kind.BODY, WIDTH),
        person_id=np.append(person, np.full(distractors, DISTRACTOR)).astype(np.int32),
        camera=[f"c{each}" for each in camera.tolist()] + ["c0"] * distractors,
        track_id=np.append(person, np.full(distractors, -1)).astype(np.int64),
    )


def results(features: FeatureSet, **options: object) -> list[Result]:
    found = list(evaluate(Pool.of(features), **options))  # type: ignore[arg-type]
    assert all(isinstance(each, Result) for each in found), found
    return [each for each in found if isinstance(each, Result)]


def test_a_tracklet_is_what_one_camera_saw_of_one_person_and_a_distractor_is_somebody_of_his_own() -> None:
    pool = Pool.of(crowd(40, distractors=7))
    assert len(pool.vectors) == 40 * 3 + 7
    assert len(np.unique(pool.person)) == 47
    assert pool.named.sum() == 120
    assert np.allclose(np.linalg.norm(pool.vectors, axis=1), 1, atol=1e-5)
    assert len(Pool.of(crowd(40, distractors=7), distractors=False).vectors) == 120


def test_people_who_look_like_nobody_else_are_all_found_and_the_rate_is_kept() -> None:
    for result in results(crowd(240, noise=0.1), sizes=(1, 10), draws=8, ways=(Way.COSINE,)):
        assert result.mean("found")[AT_1_PERCENT] == 1
        assert result.mean("people").min() == 1
        assert result.first == 1
        assert 0.7 < result.mean("realised")[-1] / RATES[-1] < 1.4


def test_more_alarms_find_more_people_and_a_longer_list_finds_fewer() -> None:
    small, large = results(crowd(240, noise=0.8), sizes=(5, 60), enrolled_by=(1,), draws=8, ways=(Way.COSINE,))
    for result in (small, large):
        for name in ("found", "people", "realised", "at_rate"):
            assert (np.diff(result.mean(name)) >= 0).all()
    assert large.mean("found")[AT_1_PERCENT] < small.mean("found")[AT_1_PERCENT] - 0.03


def test_centring_takes_the_light_of_cameras_off_and_two_cameras_tell_more_than_one() -> None:
    found = results(crowd(240, noise=1.0, light=1.0), sizes=(10,), draws=4)
    dir_at = {(each.way, each.enrolled_by): each.mean("found")[AT_1_PERCENT] for each in found}
    assert dir_at[Way.CENTRED, 1] > dir_at[Way.COSINE, 1] + 0.1
    assert dir_at[Way.CENTRED, 2] > dir_at[Way.CENTRED, 1]
    for each in found:
        assert each.mean("realised")[AT_1_PERCENT] < 3 * RATES[AT_1_PERCENT]


def test_nobody_is_on_two_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool.of(crowd(80, distractors=30))
    splits = []
    nothing = np.zeros(len(RATES))

    def noted(_: Pool, __: Way, split: open_set._Split) -> Draw:
        splits.append(split)
        return Draw(nothing, nothing, nothing, nothing, 0, 0, 0)

    monkeypatch.setattr(open_set, "_draw", noted)
    list(evaluate(pool, sizes=(10,), enrolled_by=(2,), draws=5, ways=(Way.COSINE,)))
    assert len(splits) == 5
    for split in splits:
        listed = np.concatenate([*split.templates, split.probes])
        sides = [set(pool.person[rows].tolist()) for rows in (listed, split.calibration, split.test)]
        assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides)) == 110
        assert abs((~pool.named[split.calibration]).sum() - 15) <= 1
        for person, rows in zip(split.watch, split.templates, strict=True):
            assert set(pool.person[rows]) == {person}
            assert len(set(pool.camera[rows])) == 2
            probing = split.probes[pool.person[split.probes] == person]
            assert len(probing)
            assert not set(pool.camera[probing]) & set(pool.camera[rows])


def test_equal_seeds_draw_equal_people() -> None:
    def once(seed: int) -> Result:
        return results(crowd(100, noise=0.9), sizes=(5,), enrolled_by=(1,), draws=2, seed=seed, ways=(Way.COSINE,))[0]

    assert once(1).mean("at_rate").tolist() == once(1).mean("at_rate").tolist()
    assert once(1).mean("at_rate").tolist() != once(2).mean("at_rate").tolist()


@pytest.mark.parametrize(
    ("people", "size", "cameras", "why"),
    [
        (60, 100, 1, "100 people seen by 2 cameras or more are wanted, there are 60"),
        (60, 1, 3, "1 people seen by 4 cameras or more are wanted, there are 0"),
        (60, 30, 1, "30 people are left for calibration and test, 40 are wanted"),
        (60, 10, 1, "75 tracklets may be left for calibration, 100 are wanted"),
    ],
)
def test_a_list_that_there_are_too_few_people_for_says_why(people: int, size: int, cameras: int, why: str) -> None:
    (left_out,) = evaluate(Pool.of(crowd(people)), sizes=(size,), enrolled_by=(cameras,))
    assert left_out == LeftOut(size, cameras, why)


def test_a_way_that_has_too_little_to_learn_from_says_so() -> None:
    *others, last = evaluate(Pool.of(crowd(100)), sizes=(10,), enrolled_by=(1,), draws=2)
    assert [each.way for each in others if isinstance(each, Result)] == [Way.COSINE, Way.CENTRED]
    assert isinstance(last, LeftOut)
    assert last.why.startswith("cohort: ")


def test_a_distractor_of_no_camera_and_people_with_very_many_tracklets_are_no_trouble() -> None:
    features = crowd(120, distractors=40)
    camera = features.camera.copy()
    camera[features.person_id == DISTRACTOR] = ""
    apart = replace(features, camera=camera, track_id=np.arange(len(features)))  # each picture a tracklet of its own
    many = FeatureSet.of(
        np.repeat(apart.vectors, 40, axis=0),
        apart.model,
        person_id=np.repeat(apart.person_id, 40),
        camera=np.repeat(apart.camera, 40),
        track_id=np.arange(40 * len(apart)),
    )
    (result,) = results(many, sizes=(5,), enrolled_by=(1,), draws=1, ways=(Way.CENTRED,))
    assert result.mean("found")[-1] > 0.9


def test_no_draws_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 draw"):
        list(evaluate(Pool.of(crowd(50)), draws=0))
