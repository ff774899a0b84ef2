"""Whose face, pose or mask is it? Scenes that a person would settle at a glance."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import make_detections, make_faces
from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections, FaceDetections
from watchline.pipeline.tying import tie_alike, tie_faces

STANDING = (100.0, 100.0, 180.0, 300.0)  # 80 x 200: a face of 20 at 140, 118
FACE = (130.0, 108.0, 150.0, 128.0)


def owners(faces: FaceDetections, people: Detections) -> list[int]:
    return [int(row) for row in tie_faces(faces, people, no_poses(people))]


def no_poses(people: Detections) -> F32:
    return np.zeros((len(people), 17, 3), np.float32)


def facing(place: tuple[float, float], score: float = 0.9) -> F32:
    """Keypoints of a person whose nose and eyes are at `place`, and who has shoulders."""
    points = np.zeros((17, 3), np.float32)
    points[[0, 1, 2]] = [[*place, score], [place[0] + 4, place[1] - 4, score], [place[0] - 4, place[1] - 4, score]]
    points[[5, 6]] = [0, 0, 0.9]
    return points


def test_a_face_belongs_to_the_person_around_it() -> None:
    people = make_detections((300, 100, 380, 300), STANDING)
    assert owners(make_faces(FACE), people) == [1]


@pytest.mark.parametrize(
    "person",
    [
        (100, 100, 180, 190),  # from the chest up
        (115, 100, 165, 300),  # arms close to the body
        (80, 100, 200, 310),  # a long step
        (100, 105, 180, 300),  # the box cuts the hair off
        (120, 90, 200, 300),  # leaning to the left
    ],
)
def test_a_head_may_be_where_heads_are(person: tuple[float, float, float, float]) -> None:
    assert owners(make_faces(FACE), make_detections(person)) == [0]


@pytest.mark.parametrize(
    "face",
    [
        (130, 200, 150, 220),  # at the belt
        (130, 108, 134, 112),  # a fifth of the size
        (105, 105, 175, 175),  # the whole chest
        (90, 108, 110, 128),  # half outside
        (300, 108, 320, 128),  # elsewhere
    ],
)
def test_what_is_not_where_heads_are_is_nobodys(face: tuple[float, float, float, float]) -> None:
    assert owners(make_faces(face), make_detections(STANDING)) == [-1]


def test_a_far_face_beside_a_near_back_belongs_to_the_far_person() -> None:
    near, far = (100, 100, 260, 500), (215, 130, 275, 280)
    assert owners(make_faces((238, 138, 252, 152)), make_detections(near, far)) == [1]


def test_two_people_side_by_side_have_a_face_each_whatever_their_boxes_share() -> None:
    people = make_detections((100, 100, 180, 300), (140, 100, 220, 300))
    assert owners(make_faces((170, 108, 190, 128), (130, 108, 150, 128)), people) == [1, 0]


def test_of_two_faces_in_one_box_the_better_one_is_its_own_and_the_other_nobodys() -> None:
    assert owners(make_faces((132, 112, 152, 132), FACE), make_detections(STANDING)) == [-1, 0]


def test_of_two_boxes_on_one_person_the_surer_has_the_face() -> None:
    people = Detections(
        np.array([(98, 101, 182, 301), STANDING], np.float32), np.array([0.15, 0.9], np.float32), np.zeros(2, np.int32)
    )
    assert owners(make_faces(FACE), people) == [1]
    assert owners(make_faces(FACE), people[::-1]) == [0]


def test_a_nose_decides_against_the_boxes() -> None:
    left, right = (100, 100, 180, 300), (120, 100, 200, 300)
    people, faces = make_detections(left, right), make_faces(FACE)  # in the middle of the left one
    assert owners(faces, people) == [0]
    poses = np.stack([facing((110, 120)), facing((140, 120))])  # and the nose of the right one
    assert tie_faces(faces, people, poses).tolist() == [1]


def test_a_back_has_no_face_where_somebody_else_could_have_it() -> None:
    people, faces = make_detections((100, 100, 180, 300), (106, 98, 186, 300)), make_faces(FACE)
    assert owners(faces, people) == [0]
    turned = np.stack([facing((0, 0), score=0.1), np.zeros((17, 3), np.float32)])
    assert tie_faces(faces, people, turned).tolist() == [1]


def test_guessed_noses_decide_nothing() -> None:
    people = make_detections(STANDING)
    points = facing((170, 290), score=0.3)[None]
    points[0, 5:] = 0  # no shoulders either: nothing is known
    assert tie_faces(make_faces(FACE), people, points).tolist() == [0]


def test_where_there_are_no_people_or_no_faces_nothing_is_tied() -> None:
    nobody, nothing = make_detections(), make_faces()
    assert owners(make_faces(FACE), nobody) == [-1]
    assert owners(nothing, make_detections(STANDING)) == []
    assert owners(nothing, nobody) == []


def test_what_two_models_found_of_one_object_is_tied_by_class_and_place() -> None:
    first = make_detections((0, 0, 50, 100), (60, 0, 110, 100))
    found = make_detections((62, 0, 112, 98), (2, 1, 51, 100), (200, 0, 250, 100))
    assert tie_alike(found, np.array([0], np.int32), first).tolist() == [1, 0, -1]
    assert tie_alike(found, np.array([1], np.int32), first).tolist() == [-1, -1, -1]


def test_an_overlap_of_less_than_half_ties_nothing() -> None:
    first = make_detections((0, 0, 50, 100))
    same = np.array([0], np.int32)
    assert tie_alike(make_detections((0, 0, 50, 51)), same, first).tolist() == [0]
    assert tie_alike(make_detections((0, 0, 50, 49)), same, first).tolist() == [-1]
