"""Arrays that nobody should send: the native code answers or refuses, and is there afterwards.

`make sanitize` runs this with every access and every sum checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.worlds import crowd
from watchline.detectors.detections import Detections
from watchline.streams.errors import UsageError
from watchline.trackers.native_byte_track import NativeByteTrack
from watchline.trackers.native_oc_sort import NativeOcSort
from watchline.trackers.native_reference import NativeByteTrackReference, NativeOcSortReference

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("native")]

_native = pytest.importorskip("watchline.trackers._native")
_detectors = pytest.importorskip("watchline.detectors._native")

Random = np.random.Generator

_REFUSALS = (TypeError, ValueError)
_HOSTILE = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    np.nan,
    np.inf,
    -np.inf,
    1e-45,
    3e38,
    -3e38,
    1e300,
    -1e300,
    5e-324,
    2.0**31,
    2.0**63,
)
_DTYPES = (
    np.float32,
    np.float64,
    np.int32,
    np.int64,
    np.uint8,
    np.float16,
    np.bool_,
    np.complex64,
    object,
    ">f4",
    ">f8",
)


def _values(rng: Random, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Sound boxes' coordinates, hostile numbers, or some of both."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.uniform(-100, 2000, shape)
    if kind == 1:
        return rng.choice(_HOSTILE, shape)
    return np.where(rng.random(shape) < 0.1, rng.choice(_HOSTILE, shape), rng.uniform(0, 1, shape))


def _array(rng: Random, dtype: Any, shape: tuple[int, ...]) -> Any:
    """An array that mostly has this dtype and shape; else another dtype, shape, order, or is none at all."""
    what = rng.integers(30)
    if what == 0:
        return [None, 3, "boxes", [[1.0, 2, 3, 4]], b"1234"][rng.integers(5)]
    if what == 1:
        shape = tuple(int(side) for side in rng.integers(0, 6, rng.integers(0, 4)))
    if what == 2:
        dtype = _DTYPES[rng.integers(len(_DTYPES))]
    with np.errstate(all="ignore"):
        array = _values(rng, shape).astype(dtype)
    if what == 3 and array.ndim:
        array = np.repeat(array, 2, axis=0)[::2]
    if what == 4:
        array = array[::-1] if array.ndim else array
    if what == 5:
        array = np.asfortranarray(array)
    if what == 6:
        array.flags.writeable = False
    return array


def _boxes(rng: Random, n: int, dtype: Any) -> Any:
    """(n, 4) xyxy that mostly have area, some of them far off, tiny or huge; now and then anything."""
    if rng.random() < 0.3:
        return _array(rng, dtype, (n, 4))
    corner, size = rng.uniform(-50, 300, (n, 2)), rng.uniform(1e-3, 80, (n, 2)) * 10.0 ** rng.integers(-2, 3, (n, 1))
    corner *= 10.0 ** rng.choice([0, 0, 0, 4, 30], (n, 1))
    return np.concatenate([corner, corner + size], axis=1).astype(dtype)


def _attempt(call: Callable[..., object], *arguments: object) -> bool:
    """Is the call answered, not refused? Any other error, and of course a crash, fails the test."""
    try:
        with np.errstate(all="ignore"):
            call(*arguments)
    except _REFUSALS:
        return False
    return True


@pytest.mark.parametrize("make", [NativeByteTrack, NativeOcSort])
def test_trackers_survive_any_arrays_and_follow_good_ones_afterwards(make: type) -> None:
    rng, answered = np.random.default_rng(1), 0
    for case in range(150):
        core, time_s = make()._core, 0.0
        for _ in range(12):
            n = int(rng.integers(0, 12))
            score = rng.random(n).astype(np.float32) if rng.random() < 0.8 else _array(rng, np.float32, (n,))
            class_id = rng.integers(0, 2, n).astype(np.int32) if rng.random() < 0.8 else _array(rng, np.int32, (n,))
            xyxy, ids = _boxes(rng, n, np.float32), lambda count: list(range(1, count + 1))
            time_s += float(rng.choice([1 / 30, 1e-9, 0.5, 1e6]))
            at = time_s if rng.random() < 0.9 else float(rng.choice(_HOSTILE))
            answered += _attempt(core.update, xyxy, score, class_id, at, ids)
        tracker, still = (
            make(),
            Detections(np.array([[9, 9, 50, 99]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32)),
        )
        assert tracker.update(still, case + 1.0).track_id.tolist() == [1]
    assert answered > 300


@pytest.mark.parametrize("make", [NativeByteTrackReference, NativeOcSortReference])
def test_reference_trackers_survive_any_arrays(make: type) -> None:
    rng, answered = np.random.default_rng(2), 0
    for _ in range(150):
        stepper = make()
        for _ in range(12):
            n = int(rng.integers(0, 12))
            score = rng.random(n) if rng.random() < 0.8 else _array(rng, np.float64, (n,))
            answered += _attempt(stepper.step, _boxes(rng, n, np.float64), score)
    assert answered > 300


@pytest.mark.parametrize("make", [NativeByteTrack, NativeOcSort])
def test_ids_that_are_none_end_in_a_refusal(make: type) -> None:
    found = np.array([[9, 9, 50, 99]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32)
    for given in ([], [1, 2], ["a"], None, [2**70], [1.5]):
        assert not _attempt(make()._core.update, *found, 0.0, lambda _, given=given: given)


@pytest.mark.parametrize("solve", [_native.lapjv, _native.assign_sparse])
def test_solvers_survive_any_matrix(solve: Callable[..., object]) -> None:
    rng, answered = np.random.default_rng(3), 0
    for _ in range(3000):
        shape = tuple(int(side) for side in rng.integers(0, 9, 2))
        cost = _array(rng, np.float64, shape) if rng.random() < 0.5 else rng.integers(0, 3, shape) / 2
        limit = float(rng.choice([0.0, 0.5, 1.0, *_HOSTILE]))
        answered += _attempt(solve, cost, limit)
    assert answered > 300


def test_packing_survives_any_arrays() -> None:
    rng, answered = np.random.default_rng(4), 0
    for _ in range(2000):
        height, width = (int(side) for side in rng.integers(0, 20, 2))
        rows, columns = (int(side) for side in rng.integers(0, 20, 2))
        pixels = _array(rng, np.uint8, (height, width, 3))
        out = _array(rng, np.float32, (3, rows, columns))
        pad, top, left = (int(rng.choice([0, 0, 1, 2, 114, -1, 300, 2**31 - 1])) for _ in range(3))
        answered += _attempt(_detectors.pack, pixels, out, pad, top, left)
    assert answered > 20


def test_decoding_and_suppression_survive_any_arrays() -> None:
    rng, answered = np.random.default_rng(6), 0
    for _ in range(3000):
        scores = _array(rng, np.float32, tuple(int(side) for side in rng.integers(0, 40, 2)))
        answered += _attempt(_detectors.best_classes, scores, float(rng.choice([0.0, 0.3, 0.9, *_HOSTILE])))
        n = int(rng.integers(0, 40))
        score, class_id = _array(rng, np.float32, (n,)), _array(rng, np.int32, (n,))
        iou, limit = float(rng.choice([0.0, 0.5, 0.7, *_HOSTILE])), int(rng.choice([0, 3, 300, -1, 2**62]))
        answered += _attempt(_detectors.nms, _boxes(rng, n, np.float32), score, class_id, iou, limit)
    assert answered > 2000


@pytest.mark.parametrize("make", [NativeByteTrack, NativeOcSort])
def test_saved_rows_with_any_numbers_are_followed_or_refused(make: type) -> None:
    rng, scene, followed = np.random.default_rng(5), crowd(8, 20), 0
    saved = make()
    for frame, at in zip(scene.frames[:15], scene.times[:15], strict=True):
        saved.update(frame, at)
    state = saved.save()
    for _ in range(300):
        raw = state.live.copy().view(np.uint8).reshape(len(state.live), -1)
        for _ in range(rng.integers(1, 4)):
            value = np.float64(rng.choice(_HOSTILE)).tobytes() if rng.random() < 0.5 else rng.bytes(8)
            row, place = rng.integers(len(raw)), rng.integers(raw.shape[1] - 8)
            raw[row, place : place + 8] = np.frombuffer(value, np.uint8)
        tracker = make()
        try:
            tracker.restore(dataclasses.replace(state, live=raw.reshape(-1).view(state.live.dtype)))
        except UsageError:
            continue
        for frame, at in zip(scene.frames[15:], scene.times[15:], strict=True):
            followed += len(tracker.update(frame, at))
    assert followed > 300


@pytest.mark.parametrize("make", [NativeByteTrack, NativeOcSort])
@pytest.mark.parametrize("data", [b"x", b"x" * 100_001, None, 3, "rows"])
def test_bytes_that_are_no_rows_are_refused(make: type, data: object) -> None:
    assert not _attempt(make()._core.restore, 0.0, data)
