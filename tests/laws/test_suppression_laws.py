"""Laws of decoding and suppression: the native functions equal their readable twins, whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from watchline.detectors.boxes import F32, iou_matrix
from watchline.detectors.detections import I32
from watchline.detectors.heads.best_class import best_classes_native, best_classes_numpy
from watchline.detectors.nms import nms_native, nms_numpy

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("native")]

Random = np.random.Generator

_ANY_NUMBER = st.floats(width=32) | st.sampled_from([0.0, -0.0, 0.5, np.nan, np.inf, -np.inf])
_ODD_NUMBERS = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 3e38, -3e38, 1e30, 1e-45, -1e-45, 1e-20], np.float32)
_OVERLAPS = (0.0, 1 / 3, 0.5, 0.6, 0.7, 1.0)


def _assert_nms_is_the_twins(
    xyxy: F32, score: F32, class_id: I32, iou: float, limit: int = 300, agnostic: bool = False
) -> int:
    assert nms_native is not None
    with np.errstate(all="ignore"):
        want = nms_numpy(xyxy, score, class_id, iou, limit, agnostic)
    got = nms_native(xyxy, score, class_id, iou, limit, agnostic)
    assert got.dtype == want.dtype
    assert got.tolist() == want.tolist()
    return len(got)


def _assert_best_classes_are_the_twins(scores: F32, least_score: float) -> int:
    assert best_classes_native is not None
    with np.errstate(all="ignore"):
        want = best_classes_numpy(scores, least_score)
    got = best_classes_native(scores, least_score)
    assert [column.dtype for column in got] == [column.dtype for column in want]
    assert [column.tobytes() for column in got] == [column.tobytes() for column in want]
    return len(got[0])


@settings(deadline=None, max_examples=500)
@given(st.data(), st.integers(0, 40), st.floats(0, 1) | st.sampled_from(_OVERLAPS), st.integers(-1, 45), st.booleans())
def test_suppression_is_the_twins_for_any_numbers(
    data: st.DataObject, n: int, iou: float, limit: int, agnostic: bool
) -> None:
    xyxy = data.draw(arrays(np.float32, (n, 4), elements=_ANY_NUMBER))
    score = data.draw(arrays(np.float32, (n,), elements=_ANY_NUMBER))
    class_id = data.draw(arrays(np.int32, (n,)))
    _assert_nms_is_the_twins(xyxy, score, class_id, iou, limit, agnostic)


def _boxes(rng: Random, n: int) -> F32:
    """(n, 4): on a coarse grid, so that overlaps are equal to limits; spread; or a few places with many boxes."""
    kind = rng.integers(4)
    if kind == 0:
        corner, size = rng.integers(0, 12, (n, 2)) * 1.0, rng.integers(0, 7, (n, 2)) * 1.0  # some have no area
    elif kind == 1:
        corner, size = rng.uniform(0, 640, (n, 2)), rng.uniform(1, 200, (n, 2))
    else:
        place = rng.integers(0, 1 + n // 8, n)
        corner = rng.uniform(0, 640, (n + 1, 2))[place] + rng.normal(0, 3 * (kind == 2), (n, 2))
        size = rng.uniform(10, 90, (n + 1, 2))[place]
    xyxy: F32 = (np.concatenate([corner, corner + size], axis=1) * rng.choice([1, 1, 1, 1e3, 1e-4])).astype(np.float32)
    return xyxy


def _sprinkled(rng: Random, array: F32) -> F32:
    """Now and then with some numbers that no network should give."""
    if rng.random() < 0.2:
        return np.where(rng.random(array.shape) < 0.1, rng.choice(_ODD_NUMBERS, array.shape), array)
    return array


def _laid_out(rng: Random, array: F32) -> F32:
    """The same numbers, lying in memory as they mostly do, the other way round, backwards or apart."""
    kind = rng.integers(6)
    if kind == 0:
        return np.asfortranarray(array)
    if kind == 1:
        return array[::-1].copy()[::-1]
    if kind == 2:
        return np.repeat(np.repeat(array, 2, axis=0), 3, axis=-1)[::2, ..., ::3] if array.ndim == 2 else array
    return array


def test_suppression_is_the_twins_in_thousands_of_scenes() -> None:
    rng, kept = np.random.default_rng(11), 0
    for _ in range(4000):
        n = int(rng.integers(0, 60) if rng.random() < 0.95 else rng.integers(60, 600))
        xyxy = _laid_out(rng, _sprinkled(rng, _boxes(rng, n)))
        score: F32 = rng.random(n, np.float32)
        if rng.random() < 0.5:
            score = rng.integers(0, 4, n).astype(np.float32)
        class_id = rng.integers(-2, rng.choice([-1, 0, 1, 80]), n).astype(np.int32)
        iou = float(rng.choice(_OVERLAPS) if rng.random() < 0.7 else rng.random())
        limit = int(rng.choice([0, 1, 5, 16, 17, 300]))
        kept += _assert_nms_is_the_twins(xyxy, _sprinkled(rng, score), class_id, iou, limit, bool(rng.integers(2)))
    assert kept > 20_000


def test_an_overlap_is_the_twins_to_the_last_bit() -> None:
    assert nms_native is not None
    rng, score, class_id, pairs = np.random.default_rng(14), np.ones(2, np.float32), np.zeros(2, np.int32), 0
    for _ in range(3000):
        corner, size = rng.uniform(0, 40, (2, 2)), rng.uniform(20, 90, (2, 2))
        xyxy = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
        overlap = np.float32(iou_matrix(xyxy[:1], xyxy[1:])[0, 0])
        if overlap > 0:
            pairs += 1
            assert len(nms_native(xyxy, score, class_id, float(overlap))) == 2
            assert len(nms_native(xyxy, score, class_id, float(np.nextafter(overlap, np.float32(0))))) == 1
    assert pairs > 2000


def test_suppression_is_the_twins_for_every_anchor_of_a_large_picture() -> None:
    rng = np.random.default_rng(12)
    corner, size = rng.uniform(0, 640, (8400, 2)), rng.uniform(5, 300, (8400, 2))
    xyxy = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    score = rng.random(8400, np.float32).round(3)
    for classes in (1, 80):
        class_id = rng.integers(0, classes, 8400).astype(np.int32)
        assert _assert_nms_is_the_twins(xyxy, score, class_id, 0.7) == 300


@settings(deadline=None, max_examples=500)
@given(st.data(), st.integers(1, 9), st.integers(0, 40), _ANY_NUMBER, st.booleans())
def test_the_best_class_is_the_twins_for_any_numbers(
    data: st.DataObject, classes: int, anchors: int, least_score: float, transposed: bool
) -> None:
    shape = (anchors, classes) if transposed else (classes, anchors)
    scores = data.draw(arrays(np.float32, shape, elements=_ANY_NUMBER))
    _assert_best_classes_are_the_twins(scores.T if transposed else scores, least_score)


def test_the_best_class_is_the_twins_in_thousands_of_outputs() -> None:
    rng, found = np.random.default_rng(13), 0
    for _ in range(3000):
        classes = int(rng.choice([1, 2, 5, 15, 16, 17, 80, 91]))
        anchors = int(rng.integers(0, 70) if rng.random() < 0.9 else rng.integers(2000, 4200))
        scores = rng.random((classes, anchors), np.float32) ** 3
        if rng.random() < 0.3:
            scores = scores.round(1)  # equal classes
        scores = _laid_out(rng, _sprinkled(rng, scores - np.float32(rng.choice([0, 0, 0, 1]))))
        least_score = float(rng.choice([0.0, 0.1, 0.5, 0.9, 1.0, -0.5, float(rng.random())]))
        found += _assert_best_classes_are_the_twins(scores, least_score)
    assert found > 100_000


@pytest.mark.parametrize("least_score", [np.nan, np.inf, -np.inf])
def test_an_odd_threshold_means_what_a_comparison_says(least_score: float) -> None:
    scores = np.array([[-np.inf, 0.5, np.inf, np.nan, 0.5], [-np.inf, 0.5, 0.0, 1.0, np.nan]], np.float32)
    _assert_best_classes_are_the_twins(scores, least_score)
