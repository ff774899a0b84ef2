"""Fusing body and face: each candidate by what was seen of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.reid.people import f32
from watchline.detectors.boxes import F32
from watchline.reid.fusing import reciprocal, standard, weighted

NONE = np.nan


def seen(body: list[float], face: list[float]) -> F32:
    return np.array([body, face], np.float32)


def test_two_that_agree_count_for_more_than_one() -> None:
    scores = seen([3, 3, 3], [3, NONE, 0])
    assert weighted(scores).argsort().tolist() == [2, 1, 0]


def test_a_missing_face_is_no_fault() -> None:
    body = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    alone = np.stack([body, np.full(50, NONE, np.float32)])
    for fuse in (weighted, reciprocal):
        assert fuse(alone).argsort().tolist() == fuse(body[None]).argsort().tolist() == body.argsort().tolist()


def test_of_strangers_with_and_without_a_face_none_stand_out() -> None:
    scores = np.random.default_rng(1).standard_normal((2, 20_000)).astype(np.float32)
    scores[1, ::2] = NONE
    fused = weighted(scores)
    assert fused[::2].std() == pytest.approx(fused[1::2].std(), rel=0.05)


def test_a_kind_that_tells_more_may_weigh_more() -> None:
    scores = seen([5, 0], [0, 4])
    assert weighted(scores).argmax() == 0
    assert weighted(scores, f32([1, 3])).argmax() == 1


def test_ranks_are_shared_by_equals() -> None:
    found = reciprocal(seen([7, 7, 1], [NONE, NONE, NONE]))
    assert np.allclose(found, [1 / 61, 1 / 61, 1 / 63])


def test_of_whom_nothing_was_seen_nothing_is_said() -> None:
    for fuse in (weighted, reciprocal):
        assert math.isnan(fuse(seen([1, NONE], [2, NONE]))[1])
        assert len(fuse(seen([], []))) == 0


def test_standard_scores_have_one_scale_and_keep_what_is_missing() -> None:
    found = standard(seen([0.1, 0.2, 0.3, NONE], [0.1, 0.1, NONE, 0.1]))
    assert np.allclose(found[0, :3], [-(1.5**0.5), 0, 1.5**0.5], atol=1e-5)
    assert np.isnan(found).tolist() == [[False, False, False, True], [False, False, True, False]]
    assert found[1, [0, 1, 3]].tolist() == [0, 0, 0]
    assert standard(np.zeros((2, 0), np.float32)).shape == (2, 0)


def test_weights_must_fit() -> None:
    with pytest.raises(ValueError, match="weights: want numbers above 0"):
        weighted(seen([1], [1]), f32([1, 0]))
    with pytest.raises(ValueError, match="weights: want float32"):
        weighted(seen([1], [1]), f32([1]))
