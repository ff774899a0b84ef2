"""Faces lie alike once aligned, however they lay before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reid.drawn import face
from watchline.detectors.boxes import F32
from watchline.reid.align import SIDE, TEMPLATE, align, can_align, similarity
from watchline.streams.errors import ModelError

MEAN_FACE = np.array(TEMPLATE, np.float32)
POINTS = np.array([[38, 58], [78, 58], [59, 80], [44, 106], [74, 106]], np.float32)  # of the drawn face


def umeyama(points: F32, onto: F32) -> F32:
    """The paper's own way, by singular values, for any number of dimensions."""
    a, b = points.astype(np.float64), onto.astype(np.float64)
    a0, b0 = a - a.mean(axis=0), b - b.mean(axis=0)
    u, d, vt = np.linalg.svd(b0.T @ a0 / len(a))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ sign @ vt
    scale = (d * np.diag(sign)).sum() / a0.var(axis=0).sum()
    move = b.mean(axis=0) - scale * turn @ a.mean(axis=0)
    return np.column_stack([scale * turn, move]).astype(np.float32)


@given(st.integers(0, 10_000), st.booleans())
def test_the_transform_is_umeyamas(seed: int, mirrored: bool) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform(0, 500, (5, 2)).astype(np.float32)
    if mirrored:  # a face seen in a mirror is still only turned, never turned over
        points = (MEAN_FACE * (-1, 1) * 3 + random.normal(0, 4, (5, 2)) + 400).astype(np.float32)
    found = similarity(points, MEAN_FACE)
    assert np.allclose(found, umeyama(points, MEAN_FACE), atol=2e-3)
    assert np.linalg.det(found[:, :2]) > 0


@given(st.floats(-180, 180), st.floats(0.1, 8), st.integers(-300, 300))
def test_points_that_were_only_turned_scaled_and_moved_come_back_to_their_places(
    degrees: float, scale: float, move: int
) -> None:
    turn = np.exp(1j * np.radians(degrees)) * scale
    there = (MEAN_FACE @ (1, 1j)) * turn + move
    points = np.column_stack([there.real, there.imag]).astype(np.float32)
    back = similarity(points, MEAN_FACE)
    assert np.allclose(points @ back[:, :2].T + back[:, 2], MEAN_FACE, atol=0.02)


def test_a_face_that_lies_on_its_side_is_aligned_as_the_upright_one() -> None:
    upright = align(face(), POINTS)
    assert upright.shape == (SIDE, SIDE, 3)
    height = face().shape[0]
    lying = np.ascontiguousarray(np.rot90(face(), -1))  # clockwise: (x, y) comes to (height - 1 - y, x)
    points = np.column_stack([height - 1 - POINTS[:, 1], POINTS[:, 0]]).astype(np.float32)
    assert np.abs(align(lying, points).astype(int) - upright).mean() < 1.0


def test_the_eyes_lie_where_the_template_says() -> None:
    aligned = align(face(), POINTS).astype(int)
    for x, y in TEMPLATE[:2]:
        assert aligned[round(y), round(x)].sum() < 250  # a dark pupil
    x, y = TEMPLATE[0]
    assert aligned[round(y), round(x) + 5].sum() > 600  # the white beside it


@pytest.mark.parametrize(
    "points",
    [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((0, 2)), POINTS[:4], np.full((5, 2), np.inf)],
    ids=["all one", "no numbers", "none", "four", "infinite"],
)
def test_points_that_span_no_face_are_refused(points: F32) -> None:
    points = np.asarray(points, np.float32)
    assert not can_align(points)
    with pytest.raises(ModelError, match=f"^a face with {len(points)} landmarks that do not span it") as caught:
        align(face(), points)
    assert "\n" not in str(caught.value)
