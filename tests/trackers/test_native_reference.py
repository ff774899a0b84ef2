"""The native reference trackers beside their Python twins: the same rows, for whatever comes in."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import worlds
from watchline.streams.errors import UsageError
from watchline.trackers import native_byte_track
from watchline.trackers.byte_track_reference import ByteTrackReference
from watchline.trackers.kalman import F64
from watchline.trackers.native_reference import NativeByteTrackReference, NativeOcSortReference
from watchline.trackers.oc_sort_reference import OcSortReference
from watchline.trackers.reference_options import ByteTrackReferenceOptions, OcSortReferenceOptions
from watchline.trackers.rows import FrameStepper, Rows
from watchline.trackers.tracker import TrackIds

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("native")]

BIG, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)
HERE, THERE = (100.0, 100.0, 140.0, 200.0), (500.0, 100.0, 540.0, 200.0)

Frame = tuple[F64, F64]


@pytest.fixture(scope="module", autouse=True)
def one_arc_cosine() -> Iterator[None]:
    """NumPy's differs in the last bit between processors, which can decide a tie: here both take the C library's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "arccos", np.vectorize(math.acos, otypes=[np.float64]))
        yield


@dataclass(frozen=True)
class Twins:
    """One tracker in both languages."""

    options: ByteTrackReferenceOptions | OcSortReferenceOptions

    def native(self, ids: TrackIds | None = None) -> FrameStepper:
        if isinstance(self.options, ByteTrackReferenceOptions):
            return NativeByteTrackReference(self.options, ids)
        return NativeOcSortReference(self.options, ids)

    def python(self, ids: TrackIds | None = None) -> FrameStepper:
        if isinstance(self.options, ByteTrackReferenceOptions):
            return ByteTrackReference(self.options, ids)
        return OcSortReference(self.options, ids)


PAIRS = {
    "bytetrack": Twins(ByteTrackReferenceOptions()),
    "ocsort": Twins(OcSortReferenceOptions()),
    "ocsort with bytes": Twins(OcSortReferenceOptions(use_byte=True)),
}
each = pytest.mark.parametrize("twins", PAIRS.values(), ids=PAIRS)

_BYTE_TRACK = st.builds(
    ByteTrackReferenceOptions,
    track_thresh=st.sampled_from([0.0, 0.5, 0.6]),
    track_buffer=st.sampled_from([0, 1, 3, 30]),
    match_thresh=st.sampled_from([0.0, 0.5, 0.8, 0.99, 1.0]),
    mot20=st.booleans(),
    frame_rate=st.sampled_from([10.0, 30.0]),
)
_OC_SORT = st.builds(
    OcSortReferenceOptions,
    det_thresh=st.sampled_from([0.0, 0.5, 0.6]),
    max_age=st.sampled_from([0, 1, 3, 30]),
    min_hits=st.sampled_from([0, 1, 3]),
    iou_threshold=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    delta_t=st.sampled_from([1, 2, 3, 5]),
    inertia=st.sampled_from([0.0, 0.2, 1.0]),
    use_byte=st.booleans(),
)
_TWINS = (_BYTE_TRACK | _OC_SORT).map(Twins)
_SCORES = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.6, 0.61, 0.9, 1.0]) | st.floats(0, 1)


def _boxes(places: st.SearchStrategy[float], sides: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(places, places, sides, sides, _SCORES)


_CLOSE = _boxes(st.floats(-20, 60), st.floats(1, 40) | st.just(20.0))
_ON_A_GRID = _boxes(st.integers(0, 3).map(lambda i: 10.0 * i), st.sampled_from([10.0, 20.0]))  # ties everywhere
_EXTREME = _boxes(
    st.sampled_from([0.0, 1.0, -BIG / 2, BIG / 4, 1e7, -1e-30]), st.sampled_from([TINY, 1.0, 40.0, 1e7, 1e30, BIG / 2])
)


def frame_of(rows: Sequence[tuple[float, ...]]) -> Frame:
    """Boxes of left, top, width, height, score; every fifth has no width."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    table[4::5, 2] = 0
    xyxy = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    kept = xyxy[:, 3] - xyxy[:, 1] >= TINY  # a tiny side added to a far place may leave nothing
    return xyxy[kept], table[kept, 4]


def _frames(box: st.SearchStrategy[tuple[float, ...]], most: int) -> st.SearchStrategy[list[Frame]]:
    return st.lists(st.lists(box, max_size=most).map(frame_of), min_size=1, max_size=12)


def crowd(people: int, frames: int = 40, seed: int = 0) -> list[Frame]:
    scene = worlds.crowd(people, frames, seed)
    return [(found.xyxy.astype(np.float64), found.score.astype(np.float64)) for found in scene.frames]


def assert_same(native: Rows, python: Rows) -> None:
    for name in Rows.__slots__:
        ours, theirs = getattr(native, name), getattr(python, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def assert_twins(twins: Twins, frames: Sequence[Frame]) -> None:
    native, python = twins.native(), twins.python()
    for frame in frames:
        with np.errstate(all="ignore"):
            expected = python.step(*frame)
        assert_same(native.step(*frame), expected)
        np.testing.assert_array_equal(native.held(), python.held())


@settings(deadline=None, max_examples=150)
@given(_TWINS, _frames(_CLOSE, 8))
def test_both_twins_follow_a_crowd_alike(twins: Twins, frames: list[Frame]) -> None:
    assert_twins(twins, frames)


@settings(deadline=None, max_examples=150)
@given(_TWINS, _frames(_ON_A_GRID, 10))
def test_both_twins_settle_ties_alike(twins: Twins, frames: list[Frame]) -> None:
    assert_twins(twins, frames)


@settings(deadline=None, max_examples=100)
@given(_TWINS, _frames(_EXTREME, 6))
def test_both_twins_follow_huge_and_tiny_boxes_alike(twins: Twins, frames: list[Frame]) -> None:
    assert_twins(twins, frames)


@each
@pytest.mark.parametrize(("people", "seed"), [(1, 0), (10, 1), (50, 2), (200, 3)])
def test_both_twins_follow_a_walking_crowd_alike(twins: Twins, people: int, seed: int) -> None:
    assert_twins(twins, crowd(people, 40 if people < 200 else 15, seed))


@each
@pytest.mark.parametrize("seed", range(6))
def test_both_twins_agree_where_detections_come_twice_or_not_at_all(twins: Twins, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for xyxy, score in crowd(30, 50, seed):
        rows = rng.integers(0, len(xyxy), rng.choice([0, 5, len(xyxy) + 10], p=[0.1, 0.2, 0.7]))
        frames.append((xyxy[rows], score[rows]))
    assert_twins(twins, frames)


@each
def test_both_twins_find_people_again_after_a_gap_alike(twins: Twins) -> None:
    frames = crowd(15, 90, seed=5)
    for hidden in (*range(10, 14), *range(30, 62)):
        frames[hidden] = frame_of([])
    assert_twins(twins, frames)


@each
def test_strided_and_read_only_arrays_are_taken_as_they_are(twins: Twins) -> None:
    table = np.zeros((3, 9, 3))
    table[:, :5, 0] = [(*HERE, 0.9), (*THERE, 0.8), (10, 10, 30, 50, 0.7)]
    table.flags.writeable = False
    xyxy, score = table[::-1, :4, 0], table[::-1, 4, 0]
    assert_same(twins.native().step(xyxy, score), twins.python().step(xyxy, score))


@pytest.mark.parametrize(
    ("xyxy", "score"),
    [
        (np.array([HERE, (0.0, 0, 1, np.nan)]), np.full(2, 0.9)),
        (np.array([HERE, (0.0, 0, np.inf, 1)]), np.full(2, 0.9)),
        (np.array([HERE, (0.0, 0, 1e300, 1)]), np.full(2, 0.9)),
        (np.array([HERE, (0.0, 0, 1, 1e-300)]), np.full(2, 0.9)),
        (np.array([HERE, (2.0, 0, 1, 1)]), np.full(2, 0.9)),
        (np.array([HERE, (0.0, 1, 1, 1)]), np.full(2, 0.9)),
        (np.array([HERE, THERE]), np.array([0.5, np.nan])),
        (np.array([HERE, THERE]), np.array([0.5, 1.1])),
        (np.array([HERE, THERE]), np.array([-0.1, 1.0])),
        (np.array([HERE, THERE], np.float32), np.full(2, 0.9)),
        (np.array([HERE, THERE]), np.full(2, 0.9, np.float32)),
        (np.array([HERE, THERE]), np.full(3, 0.9)),
        (np.array([HERE, THERE]), np.full((2, 1), 0.9)),
        (np.zeros((2, 5)), np.full(2, 0.9)),
        (np.array(HERE), np.full(4, 0.9)),
        (np.zeros((0, 0)), np.zeros(0)),
    ],
)
@each
def test_what_is_no_box_is_refused_in_the_twins_words_and_changes_nothing(twins: Twins, xyxy: F64, score: F64) -> None:
    native, python, messages = twins.native(), twins.python(), []
    for tracker in (native, python):
        tracker.step(*frame_of([(*HERE, 0.9)]))
        with pytest.raises(ValueError, match=r"^(box|score|xyxy)") as refused:
            tracker.step(xyxy, score)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    for frame in crowd(3, 6):
        assert_same(native.step(*frame), python.step(*frame))


@each
def test_a_reset_tracker_starts_again_but_for_the_ids(twins: Twins) -> None:
    tracker, frames = twins.native(), crowd(5, 6)
    first = [tracker.step(*frame).track_id for frame in frames]
    held = len(tracker.held())
    tracker.reset()
    assert (held, tracker.held().tolist()) == (5, [])
    again = [tracker.step(*frame).track_id for frame in frames]
    assert [ids.tolist() for ids in again] == [(ids + 5).tolist() for ids in first]


@each
def test_ids_come_from_the_source_given_and_two_trackers_never_touch_each_other(twins: Twins) -> None:
    one, other = twins.native(TrackIds(7)), twins.native()
    both = (np.array([HERE, THERE]), np.full(2, 0.9))
    assert sorted(one.step(*both).track_id.tolist()) == [7, 8]
    assert sorted(other.step(*both).track_id.tolist()) == [1, 2]


@each
def test_what_was_returned_stays_and_what_was_given_is_not_changed(twins: Twins) -> None:
    tracker, frames = twins.native(), crowd(20, 5)
    for xyxy, score in frames:
        xyxy.flags.writeable = score.flags.writeable = False
    shown = [tracker.step(*frame) for frame in frames]
    kept = [[getattr(rows, name).copy() for name in Rows.__slots__] for rows in shown]
    del tracker
    again = twins.native()
    for frame, rows, copies in zip(frames, shown, kept, strict=True):
        again.step(*frame)
        for name, copy in zip(Rows.__slots__, copies, strict=True):
            np.testing.assert_array_equal(getattr(rows, name), copy)


@each
def test_an_id_source_that_fails_is_heard_and_a_call_from_within_is_refused(twins: Twins) -> None:
    class Nested(TrackIds):
        def next(self) -> int:
            tracker.step(*frame_of([]))
            return 1

    tracker = twins.native(Nested())
    with pytest.raises(RuntimeError, match=r"^a tracker belongs to one thread at a time$"):
        tracker.step(*frame_of([(*HERE, 0.9)]))


@each
def test_many_threads_each_with_its_tracker_get_the_answers_of_one(twins: Twins) -> None:
    frames = crowd(60, 30)
    results: dict[int, list[list[int]]] = {}

    def follow(number: int) -> None:
        tracker = twins.native()
        results[number] = [tracker.step(*frame).track_id.tolist() for frame in frames]

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    follow(4)
    assert all(result == results[4] for result in results.values())


@each
def test_a_long_run_with_people_coming_and_going_holds_only_those_of_late(twins: Twins) -> None:
    tracker = twins.native()
    for frame in range(600):
        left = 1000.0 * (frame // 3)  # a new person every third frame
        tracker.step(*frame_of([(left, 100, 40, 100, 0.9)]))
    assert len(tracker.held()) <= 12


@pytest.mark.parametrize("make", [NativeByteTrackReference, NativeOcSortReference])
def test_without_a_native_build_the_error_says_what_to_take(
    make: Callable[[], FrameStepper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native_byte_track, "_module", None)
    with pytest.raises(UsageError, match=r'not built here; take backend "python"'):
        make()
