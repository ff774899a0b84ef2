"""Scoring: parts that are switched on as they have enough to go by, and the margin to the runner-up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.reid.index_kit import model_of
from tests.reid.people import MODEL, WIDTH, Seen, f32, first_right, seen
from watchline.reid.centring import CameraMeans
from watchline.reid.cohort import Cohort
from watchline.reid.scoring import Part, Scorer, best
from watchline.reid.template import Shot, Template
from watchline.streams.errors import UsageError


def learnt(people: int) -> tuple[CameraMeans, Cohort]:
    found, means, cohort = seen(people, seed=1), CameraMeans(MODEL), Cohort(MODEL)
    means.add(found.vectors, found.cameras)
    cohort.add(np.arange(len(found.vectors)), found.vectors, found.cameras)
    return means, cohort


def templates_of(found: Seen, shots: int = 1) -> list[Template]:
    return [
        Template.of(
            *(
                Shot(str(i), MODEL, found.vectors[i], found.cameras[i], "photo.jpg", "ann", 0.0, 0.0, 1.0)
                for i in np.nonzero(found.person == person)[0][:shots].tolist()
            )
        )
        for person in range(int(found.person.max()) + 1)
    ]


def test_each_part_finds_more_people() -> None:
    (means, cohort), found = learnt(100), seen(60, seed=2, noise=1.3)
    right = []
    for scorer in (Scorer(MODEL), Scorer(MODEL, means), Scorer(MODEL, means, cohort)):
        scores = scorer.scores(scorer.templates(templates_of(found)), scorer.probes(found.vectors, found.cameras))
        assert (scores.shape, scores.dtype.name, scorer.missing) == ((60, 180), "float32", ())
        right.append(first_right(scores, found.person))
    assert right[0] + 0.1 < right[1] <= right[2] + 0.02, right
    more = Scorer(MODEL, means)
    both = more.scores(more.templates(templates_of(found, 2)), more.probes(found.vectors, found.cameras))
    assert first_right(both, found.person) > right[1]


def test_a_part_that_has_too_little_is_off_and_says_what_is_missing() -> None:
    scorer = Scorer(MODEL, *learnt(5))
    assert scorer.parts == {Part.COSINE}
    assert scorer.missing == (
        "15 of 20 tracklets for the means of cameras",
        "15 of 200 tracklets for the cohort",
    )
    scorer = Scorer(MODEL, *learnt(20))
    assert scorer.parts == {Part.COSINE, Part.CENTRING}
    found = seen(3)
    plain = Scorer(MODEL)
    scores = plain.scores(plain.templates(templates_of(found)), plain.probes(found.vectors, found.cameras))
    assert np.allclose(scores, found.vectors[::3] @ found.vectors.T, atol=1e-6)


def test_what_is_learnt_later_does_not_move_a_scorer() -> None:
    means, cohort = learnt(100)
    scorer, found, more = Scorer(MODEL, means, cohort), seen(9), seen(90, seed=5)
    before = scorer.probes(found.vectors, found.cameras)
    means.add(more.vectors, more.cameras)
    cohort.remove(np.arange(300))
    after = scorer.probes(found.vectors, found.cameras)
    assert before.vectors.tobytes() == after.vectors.tobytes()
    assert before.moments is not None
    assert after.moments is not None
    assert before.moments.mean.tobytes() == after.moments.mean.tobytes()


def test_one_probe_scores_as_it_does_among_many() -> None:
    scorer, found = Scorer(MODEL, *learnt(100)), seen(30, seed=4)
    templates = scorer.templates(templates_of(found))
    many = scorer.scores(templates, scorer.probes(found.vectors, found.cameras))
    single = [
        scorer.scores(templates, scorer.probes(found.vectors[i : i + 1], found.cameras[i : i + 1]))[:, 0]
        for i in range(90)
    ]
    assert np.allclose(np.stack(single, axis=1), many, atol=1e-4)


def test_no_templates_and_no_probes_have_no_scores() -> None:
    scorer = Scorer(MODEL, *learnt(100))
    nobody = scorer.probes(np.zeros((0, WIDTH), np.float32), [])
    assert scorer.scores(scorer.templates([]), nobody).shape == (0, 0)


def test_a_hint_of_times_moves_a_score_by_as_much_as_its_scale_is_worth() -> None:
    scores, odds = f32([[0.5, 0.5]]), f32([[2.0, -1.0]])
    means, cohort = learnt(100)
    assert np.allclose(Scorer(MODEL, means).hinted(scores, odds), [[0.7, 0.4]])
    assert np.allclose(Scorer(MODEL, means, cohort).hinted(scores, odds), [[2.5, -0.5]])


def test_sides_of_two_scorers_do_not_mix() -> None:
    means, cohort = learnt(100)
    plain, normed, found = Scorer(MODEL, means), Scorer(MODEL, means, cohort), seen(2)
    with pytest.raises(ValueError, match="make both ready by one scorer"):
        plain.scores(plain.templates(templates_of(found)), normed.probes(found.vectors, found.cameras))


def test_models_do_not_mix() -> None:
    other, found = model_of(WIDTH, "b" * 64), seen(2)
    with pytest.raises(UsageError, match="learnt by osnet is no help"):
        Scorer(other, CameraMeans(MODEL))
    with pytest.raises(UsageError, match="does not compare"):
        Scorer(other).templates(templates_of(found))


def test_the_margin_is_to_the_best_template_of_somebody_else() -> None:
    scores = f32([[0.9, 0.1, 0.5], [0.8, 0.3, 0.5], [0.2, 0.2, 0.4]])
    found = best(scores)
    assert found.template.tolist() == [0, 1, 0]
    assert np.allclose(found.margin, [0.1, 0.1, 0.0])
    same = best(scores, np.array([7, 7, 8]))
    assert np.allclose(same.margin, [0.7, 0.1, 0.1])
    assert all(math.isnan(each) for each in best(scores[:1]).margin)
