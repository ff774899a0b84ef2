"""Centring: means of cameras, how they begin, move, end and are stored."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reid.index_kit import model_of
from tests.reid.people import CAMERAS, MODEL, WIDTH, f32, first_right, seen
from watchline.detectors.boxes import F32
from watchline.reid.centring import CameraMean, CameraMeans, centred


def rows(*at: int) -> F32:
    return np.eye(WIDTH, dtype=np.float32)[list(at)]


def test_what_a_camera_adds_to_everybody_is_taken_off() -> None:
    learnt, asked = seen(100, seed=1), seen(40, seed=2)
    means = CameraMeans(MODEL)
    means.add(learnt.vectors, learnt.cameras)
    templates = asked.of("door")
    assert first_right(templates @ asked.vectors.T, asked.person) < 0.9
    without = centred(templates, ["door"] * 40, means) @ centred(asked.vectors, asked.cameras, means).T
    assert first_right(without, asked.person) > 0.95


def test_nothing_is_taken_off_before_there_is_enough() -> None:
    means = CameraMeans(MODEL, least=4)
    means.add(rows(0, 1, 2), ["door", "door", "gate"])
    assert (means.count, means.enough) == (3, False)
    assert not means.of(["door", "gate", ""]).any()
    assert centred(rows(5), ["door"], means).tolist() == rows(5).tolist()


def test_a_young_camera_has_the_mean_of_all_an_old_one_its_own() -> None:
    means = CameraMeans(MODEL, least=10, horizon=100_000)
    means.add(np.repeat(rows(0), 990, axis=0), ["door"] * 990)
    means.add(np.repeat(rows(1), 10, axis=0), ["gate"] * 10)
    door, gate, unknown, photo = means.of(["door", "gate", "yard", ""])
    assert door[0] > 0.99
    assert np.allclose(gate[:2], [0.99 / 2, 0.01 / 2 + 0.5], atol=1e-6)
    assert np.allclose(unknown[:2], [0.99, 0.01], atol=1e-6)
    assert unknown.tolist() == photo.tolist()


def test_no_camera_has_more_say_in_the_mean_of_all_than_the_horizon() -> None:
    means = CameraMeans(MODEL, least=10, horizon=20)
    means.add(np.repeat(rows(0), 980, axis=0), ["door"] * 980)
    means.add(np.repeat(rows(1), 20, axis=0), ["gate"] * 20)
    assert np.allclose(means.of([""])[0, :2], 0.5, atol=1e-6)


def test_a_mean_follows_the_light() -> None:
    means = CameraMeans(MODEL, least=10, horizon=50)
    means.add(np.repeat(rows(0), 1000, axis=0), ["door"] * 1000)
    means.add(np.repeat(rows(1), 35, axis=0), ["door"] * 35)
    (record,) = means.records()
    assert np.allclose(record.mean[:2], 0.5, atol=0.02)  # 0.7 of the horizon is half of it
    means.add(np.repeat(rows(1), 300, axis=0), ["door"] * 300)
    assert means.records()[0].mean[1] > 0.99


def test_a_vector_that_is_its_cameras_mean_tells_nothing() -> None:
    means = CameraMeans(MODEL, least=1, horizon=1)
    means.add(rows(3), ["door"])
    assert not centred(rows(3), ["door"], means).any()


def test_the_camera_that_is_silent_longest_is_forgotten_and_counted() -> None:
    means = CameraMeans(MODEL, least=1, most=2)
    for name in ("door", "gate", "door", "yard"):
        means.add(rows(0), [name])
    assert [record.camera for record in means.records()] == ["door", "yard"]
    assert (len(means), means.forgotten) == (2, 1)
    fewer = CameraMeans(MODEL, least=1, most=1, records=means.records())
    assert [record.camera for record in fewer.records()] == ["yard"]


def test_means_go_on_from_their_records_as_if_nothing_had_been() -> None:
    found, later = seen(30), seen(10, seed=1)
    means = CameraMeans(MODEL)
    means.add(found.vectors, found.cameras)
    again = CameraMeans(MODEL, records=means.records())
    for each in (means, again):
        each.add(later.vectors, later.cameras)
    assert again.of([*CAMERAS, ""]).tobytes() == means.of([*CAMERAS, ""]).tobytes()


def test_a_mean_that_is_nearly_one_persons_vector_is_not_stored_but_copied() -> None:
    means = CameraMeans(MODEL, least=2, horizon=9)
    means.add(rows(0, 1, 2), ["door", "gate", "gate"])
    assert [record.camera for record in means.records()] == ["gate"]
    assert means.copy().of(CAMERAS).tolist() == means.of(CAMERAS).tolist()


def test_a_copy_stays_as_it_is() -> None:
    found = seen(30)
    means = CameraMeans(MODEL)
    means.add(found.vectors, found.cameras)
    copy = means.copy()
    before = copy.of(CAMERAS)
    means.add(rows(1, 2, 3), CAMERAS)
    assert copy.of(CAMERAS).tolist() == before.tolist()
    assert means.of(CAMERAS).tolist() != before.tolist()


def test_what_is_no_vector_of_a_camera_is_refused_and_changes_nothing() -> None:
    means = CameraMeans(MODEL)
    with pytest.raises(ValueError, match="row 1: want finite numbers, and the length 1"):
        means.add(rows(0, 1) * f32([[1], [2]]), ["door", "gate"])
    with pytest.raises(ValueError, match="one has no name"):
        means.add(rows(0, 1), ["door", ""])
    with pytest.raises(ValueError, match="vectors: want float32"):
        means.add(rows(0), ["door", "gate"])
    assert len(means) == 0
    with pytest.raises(ValueError, match="least <= horizon"):
        CameraMeans(MODEL, least=5, horizon=4)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (CameraMean("door", "b" * 64, 3, rows(0)[0]), "mean of camera 'door': of model 'bbbbbbbbbbbb', want 'aaaa"),
        (CameraMean("door", MODEL.sha256, 3, rows(0)[0][:5]), "mean of camera 'door': want float32"),
        (CameraMean("door", MODEL.sha256, 0, rows(0)[0]), "damaged"),
        (CameraMean("door", MODEL.sha256, 3, rows(0)[0] * np.float32(np.nan)), "damaged"),
    ],
)
def test_a_record_that_does_not_fit_says_so(record: CameraMean, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraMeans(MODEL, records=[record])


def test_none_is_centred_to_none() -> None:
    assert centred(rows(), [], CameraMeans(model_of(WIDTH))).shape == (0, WIDTH)
