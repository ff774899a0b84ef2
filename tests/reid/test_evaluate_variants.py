"""The ways to rank: what each changes, on galleries small enough to know the answer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.evaluate import Scores
from watchline.reid.features import JUNK, UNKNOWN, FeatureSet
from watchline.reid.variants import VARIANTS, Trial
from watchline.streams.errors import UsageError


def features(*rows: tuple[int, str, bool, list[float]], tracks: list[int] | None = None) -> FeatureSet:
    """Features of rows of (person, camera, is a query, vector)."""
    return FeatureSet.of(
        np.array([vector for *_, vector in rows], np.float32),
        EmbeddingModel("any", "", Kind.BODY, len(rows[0][3])),
        names=[f"{i}.jpg" for i in range(len(rows))],
        camera=[camera for _, camera, *_ in rows],
        person_id=np.array([person for person, *_ in rows], np.int32),
        query=np.array([asked for _, _, asked, _ in rows]),
        track_id=np.array(tracks or [-1] * len(rows), np.int64),
    )


def scores_of(found: FeatureSet) -> dict[str, Scores]:
    return dict(Trial.of(found).scores())


def test_every_variant_has_a_score_and_its_name_in_order() -> None:
    scores = scores_of(features((1, "a", True, [1, 0]), (1, "b", False, [1, 0.1]), (2, "b", False, [0, 1])))
    assert tuple(scores) == VARIANTS
    assert all(each.rank(1) == 1 for each in scores.values())


def test_cosine_knows_directions_and_euclidean_distances() -> None:
    scores = scores_of(features((1, "a", True, [1, 0]), (1, "b", False, [9, 0]), (2, "b", False, [1, 0.5])))
    assert scores["cosine"].rank(1) == 1
    assert scores["euclidean"].rank(1) == 0


def test_what_a_camera_adds_to_all_its_pictures_is_taken_off() -> None:
    people = np.array([[1, 0, 0], [0.2, 1, 0], [0, 0.1, 1]])
    night = np.array([-0.9, 3.0, 0.5])  # its pictures look like person 2
    rows = [(i + 1, "day", True, person.tolist()) for i, person in enumerate(people)]
    rows += [(i + 1, "day", False, person.tolist()) for i, person in enumerate(people)]
    rows += [(i + 1, "night", False, (person + night).tolist()) for i, person in enumerate(people)]
    scores = scores_of(features(*rows))
    assert scores["cosine"].rank(1) < 1
    assert scores["camera_centred"].rank(1) == 1


def test_a_camera_that_only_asks_is_centred_by_the_whole_gallery() -> None:
    scores = scores_of(
        features((1, "a", True, [1, 0.1]), (1, "b", False, [1, 0]), (2, "b", False, [0, 1]), (3, "c", False, [-1, 1]))
    )
    assert scores["camera_centred"].rank(1) == 1


def test_many_shots_of_the_querys_camera_make_up_for_a_poor_one() -> None:
    poor: tuple[int, str, bool, list[float]] = (1, "a", True, [0.4, 1, 0])
    good = [(1, "a", False, [1.0, 0.0, 0.1]), (1, "a", False, [1.0, 0.1, 0.0])]
    scores = scores_of(features(poor, *good, (1, "b", False, [1, 0, 0]), (2, "b", False, [0, 1, 0])))
    assert scores["cosine"].rank(1) == 0
    assert scores["multi_shot"].rank(1) == 1
    others = [(2, "a", False, [1.0, 0.0, 0.1]), (1, "c", False, [1.0, 0.1, 0.0])]  # another person, another camera
    assert scores_of(features(poor, *others, (2, "b", False, [0, 1, 0])))["multi_shot"].rank(1) == 0


def test_the_gallery_is_ranked_by_means_of_tracklets() -> None:
    found = features(
        (1, "a", True, [1, 0]),
        (1, "b", False, [1, 0.9]),
        (1, "b", False, [1, -0.9]),
        (2, "b", False, [1, 0.5]),
        (0, "b", False, [0, 1]),
        (0, "b", False, [0, 1]),
        tracks=[-1, 5, 5, 6, -1, -1],
    )
    scores = scores_of(found)
    assert scores["cosine"].rank(1) == 0
    assert scores["tracklets"].rank(1) == 1
    assert (scores["cosine"].gallery, scores["tracklets"].gallery) == (5, 4)


def test_names_of_the_market_form_tell_tracklets_of_cut_out_pictures() -> None:
    rows = [(1, "c1", True, [1.0, 0.0])] + [(person, "c2", False, [1.0, 0.1]) for person in (1, 1, 1, 2, 0, 0)]
    names = [
        "0001_c1s1_0_0",
        "0001_c2s1_0_0",
        "0001_c2s1_9_0",
        "0001_c2s2_9_0",
        "0002_c2s1_0_0",
        *["0000_c2s1_0_0"] * 2,
    ]
    found = features(*rows)
    assert scores_of(found)["tracklets"].gallery == 6
    named = dataclasses.replace(found, names=np.array([f"gallery/{name}.jpg" for name in names], object))
    assert scores_of(named)["tracklets"].gallery == 5
    assert scores_of(dataclasses.replace(named, person_id=found.person_id * 7))["tracklets"].gallery == 6


@pytest.mark.parametrize("scale", [1e-42, 1e-20, 1e37])
def test_vectors_of_any_size_are_measured(scale: float) -> None:
    found = features((1, "a", True, [1, 0]), (1, "b", False, [1, 0.5]), (2, "b", False, [3, 0]))
    scores = scores_of(dataclasses.replace(found, vectors=found.vectors * np.float32(scale)))
    assert (scores["cosine"].rank(1), scores["euclidean"].rank(1)) == (0, 1)


def test_junk_and_people_of_whom_nobody_knows_are_left_out_and_counted() -> None:
    rows = [(1, "a", True, [1, 0.1]), (JUNK, "b", False, [1, 0.1]), (UNKNOWN, "b", False, [1, 0.1])]
    found = features(*rows, (1, "b", False, [1, 0]), (0, "b", False, [0, 1]))
    trial = Trial.of(found)
    assert (trial.junk, trial.unknown) == (1, 1)
    scores = dict(trial.scores())
    assert all(each.rank(1) == 1 for each in scores.values())
    assert scores["cosine"].gallery == 2


def test_where_no_picture_is_marked_each_is_asked_for_against_all_others() -> None:
    who = [(1, "a"), (1, "b"), (2, "a"), (2, "b"), (0, "a"), (3, "a")]
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 3]]
    rows = [(person, camera, False, vector) for (person, camera), vector in zip(who, vectors.tolist(), strict=True)]
    trial = Trial.of(features(*rows))
    assert trial.all_ask
    for each in dict(trial.scores()).values():
        assert (each.queries, each.unmatched, each.rank(1), each.gallery) == (4, 1, 1, 6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(UNKNOWN, "a", False, [1.0])], "does not say who is in the pictures"),
        ([(1, "a", True, [1.0]), (1, "", False, [1.0])], "does not say which camera took 1 of .* '1.jpg'"),
        ([(1, "a", True, [1.0])], "has no gallery"),
        ([(0, "a", True, [1.0]), (1, "a", False, [1.0])], "has no query of a known person"),
    ],
)
def test_a_file_that_lacks_what_is_needed_says_so(rows: list[tuple[int, str, bool, list[float]]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Trial.of(features(*rows))


def test_a_file_of_no_features_says_so() -> None:
    with pytest.raises(UsageError, match="holds no features"):
        Trial.of(features((1, "a", True, [1.0])).take(np.zeros(1, np.bool_)))
