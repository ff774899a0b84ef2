"""Laws of tying: one to one, whatever comes, in whatever order."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import make_faces
from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32, Detections, FaceDetections
from watchline.pipeline.tying import tie_alike, tie_faces


@st.composite
def people(draw: st.DrawFn) -> tuple[Detections, F32]:
    """A crowd on few places, so that equal boxes and equal costs are common, with poses of some."""
    count = draw(st.integers(0, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corner = rng.integers(0, 6, (count, 2)) * 10.0
    size = np.stack([rng.choice([20, 30, 80], count), rng.choice([30, 60, 160], count)], axis=1)
    xyxy = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    score = rng.choice([0.1, 0.5, 0.9], count).astype(np.float32)
    keypoints = rng.uniform(0, 100, (count, 17, 3)).astype(np.float32)
    keypoints[..., 2] = rng.choice([0, 0.9], (count, 17))
    return Detections(xyxy, score, rng.integers(0, 2, count).astype(np.int32)), keypoints


@st.composite
def faces(draw: st.DrawFn) -> FaceDetections:
    count = draw(st.integers(0, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    places = rng.integers(0, 12, (count, 2)) * 5.0
    side = rng.choice([3, 6, 12], count)
    return make_faces(*[(x, y, x + s, y + s) for (x, y), s in zip(places.tolist(), side.tolist(), strict=True)])


@settings(deadline=None, max_examples=300)
@given(faces(), people())
def test_a_face_has_one_owner_at_most_and_an_owner_one_face(
    found: FaceDetections, crowd: tuple[Detections, F32]
) -> None:
    owner = tie_faces(found, *crowd)
    assert owner.shape == (len(found),)
    assert owner.dtype == np.int32
    owned = owner[owner >= 0]
    assert len(set(owned.tolist())) == len(owned)
    assert (owned < len(crowd[0])).all()


@settings(deadline=None, max_examples=300)
@given(faces(), people(), st.integers(0, 2**32 - 1))
def test_the_order_of_faces_and_people_does_not_matter(
    found: FaceDetections, crowd: tuple[Detections, F32], seed: int
) -> None:
    first, keypoints = crowd
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(found)), rng.permutation(len(first))
    straight = tie_faces(found, first, keypoints)
    shuffled = tie_faces(found[rows], first[columns], keypoints[columns])
    assert pairs(found, first, straight) == pairs(found[rows], first[columns], shuffled)


def pairs(found: FaceDetections, first: Detections, owner: I32) -> list[tuple[float, ...]]:
    """Which face went to whom, by what they are and not by where they stand."""
    return sorted(
        (*found.xyxy[i].tolist(), *first.xyxy[row].tolist(), float(first.score[row]))
        for i, row in enumerate(owner.tolist())
        if row >= 0
    )


@settings(deadline=None, max_examples=300)
@given(people(), people(), st.lists(st.integers(-1, 1), min_size=2, max_size=2))
def test_alike_objects_are_tied_one_to_one_to_their_own_class(
    crowd: tuple[Detections, F32], other: tuple[Detections, F32], classes: list[int]
) -> None:
    found, first, same = crowd[0], other[0], np.array(classes, np.int32)
    owner = tie_alike(found, same, first)
    owned = owner[owner >= 0]
    assert len(set(owned.tolist())) == len(owned)
    assert (first.class_id[owned] == same[found.class_id[owner >= 0]]).all()


@settings(deadline=None)
@given(people())
def test_a_model_tied_to_itself_leaves_nothing_over(crowd: tuple[Detections, F32]) -> None:
    first = crowd[0]
    owner = tie_alike(first, np.array([0, 1], np.int32), first)
    np.testing.assert_array_equal(first.xyxy[owner], first.xyxy)
