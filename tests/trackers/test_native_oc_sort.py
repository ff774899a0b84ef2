"""The native OC-SORT beside its Python twin: the same answers, for whatever comes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import worlds
from tests.fakes import make_detections
from tests.trackers import twins
from tests.trackers.twins import Frames, assert_same
from watchline.detectors.detections import Detections
from watchline.streams.errors import UsageError
from watchline.trackers import native_byte_track
from watchline.trackers.native_oc_sort import NativeOcSort
from watchline.trackers.oc_sort import OcSort, OcSortOptions
from watchline.trackers.tracker import Tracker, TrackIds

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("native")]

_OPTIONS = st.builds(
    OcSortOptions,
    det_score=st.sampled_from([0.5, 0.6, 0.9]),
    low_score=st.sampled_from([0.0, 0.1, 0.5]),
    min_iou=st.sampled_from([0.01, 0.3, 0.7, 1.0]),
    low_iou=st.sampled_from([0.01, 0.3, 0.7]),
    inertia=st.sampled_from([0.0, 0.2, 1.0]),
    direction_s=st.sampled_from([0.0, 0.1, 10.0]),
    confirm_hits=st.sampled_from([1, 2, 3]),
    lost_s=st.sampled_from([0.0, 0.2, 1.0, 3.0, 86400.0]),
    coast_s=st.sampled_from([0.0, 0.04, 1.0, 86400.0]),
    box=st.sampled_from(["filtered", "detection"]),
)


def assert_twins(frames: Frames, options: OcSortOptions | None = None) -> None:
    twins.assert_twins(NativeOcSort(options), OcSort(options), frames)


@settings(deadline=None, max_examples=200)
@given(twins.frames_of(twins.CLOSE, 8), _OPTIONS)
def test_both_twins_follow_a_crowd_alike(frames: Frames, options: OcSortOptions) -> None:
    assert_twins(frames, options)


@settings(deadline=None, max_examples=200)
@given(twins.frames_of(twins.ON_A_GRID, 12), _OPTIONS)
def test_both_twins_settle_ties_alike(frames: Frames, options: OcSortOptions) -> None:
    assert_twins(frames, options)


@settings(deadline=None, max_examples=150)
@given(twins.frames_of(twins.EXTREME, 6), _OPTIONS)
def test_both_twins_follow_huge_and_tiny_boxes_alike(frames: Frames, options: OcSortOptions) -> None:
    assert_twins(frames, options)


@pytest.mark.parametrize(("people", "seed"), [(1, 0), (10, 1), (50, 2), (200, 3), (400, 4)])
def test_both_twins_follow_a_walking_crowd_alike(people: int, seed: int) -> None:
    assert_twins(twins.walking(people, seed))


@pytest.mark.parametrize("seed", range(8))
def test_both_twins_agree_where_detections_come_twice_and_in_two_classes(seed: int) -> None:
    assert_twins(twins.twice_in_two_classes(seed), OcSortOptions(inertia=1.0, coast_s=0.5))


def test_both_twins_agree_where_everything_stands_in_one_column() -> None:
    assert_twins(twins.in_one_column())


@pytest.mark.parametrize("missed", [1, 5, 29, 30, 31, 100])
def test_both_twins_mend_a_motion_alike_however_many_frames_were_missed(missed: int) -> None:
    seen = [make_detections((4.0 * i, 2.0 * i, 40 + 5.0 * i, 100 + 3.0 * i)) for i in range(missed + 20)]
    frames = [(seen[i] if not 10 <= i < 10 + missed else Detections.empty(), 1 / 30) for i in range(len(seen))]
    assert_twins(frames, OcSortOptions(min_iou=0.01, lost_s=10))


@pytest.mark.data
@pytest.mark.parametrize("name", twins.REAL)
def test_both_twins_agree_on_real_detections(data_dir: Path, name: str) -> None:
    assert_twins(twins.real(data_dir, name))


@pytest.mark.parametrize("name", ["crossing", "person_and_car", "re_entry", "empty"])
def test_both_twins_agree_on_small_scenes(name: str) -> None:
    scene: worlds.World = getattr(worlds, name)()
    assert_twins([(frame, 1 / 30) for frame in scene.frames])


def test_it_is_a_tracker_and_says_what_does_the_work() -> None:
    tracker: Tracker = NativeOcSort()
    assert tracker.backend == "native"


def test_ids_come_from_the_factory_and_only_as_many_as_are_used() -> None:
    ids = TrackIds(first=7)
    tracker = NativeOcSort(ids=ids)
    assert tracker.update(make_detections((0, 0, 10, 10), (50, 0, 60, 10)), 0.0).track_id.tolist() == [7, 8]
    assert ids.next() == 9
    assert len(tracker.update(make_detections((200, 0, 210, 10)), 0.1)) == 0  # tentative: has an id, is not shown
    assert ids.next() == 11


def test_after_a_reset_tracks_are_new_ids_go_on_and_time_may_start_again() -> None:
    tracker = NativeOcSort()
    assert tracker.update(make_detections((0, 0, 10, 10)), 100.0).track_id.tolist() == [1]
    tracker.reset()
    tracks = tracker.update(make_detections((0, 0, 10, 10)), 0.0)
    assert (tracks.track_id.tolist(), tracks.age_s.tolist()) == ([2], [0.0])


@pytest.mark.parametrize("at", [1.0, 0.5, float("nan"), float("inf"), -1.0])
def test_time_that_stands_still_or_runs_back_is_refused_and_changes_nothing(at: float) -> None:
    shown = make_detections((0, 0, 10, 10))
    native, twin = NativeOcSort(), OcSort()
    for tracker in (native, twin):
        tracker.update(shown, 1.0)
        with pytest.raises(ValueError, match=r"^time_s is .*, want a number above 1\.0"):
            tracker.update(shown, at)
    assert_same(native.update(shown, 1.5), twin.update(shown, 1.5))


def test_rows_of_a_larger_array_need_no_copy_by_the_caller() -> None:
    frame = worlds.crowd(20, frames=1).frames[0][::2]
    assert not frame.xyxy.flags.c_contiguous
    assert_same(NativeOcSort().update(frame, 0.0), OcSort().update(frame, 0.0))


def test_what_was_returned_does_not_change_later() -> None:
    tracker = NativeOcSort()
    frames = worlds.crowd(30, frames=5).frames
    shown = [tracker.update(frame, i / 30) for i, frame in enumerate(frames)]
    before = [tracks.xyxy.copy() for tracks in shown]
    del tracker
    assert all(map(np.array_equal, before, (tracks.xyxy for tracks in shown)))


def test_without_a_native_build_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_byte_track, "_module", None)
    with pytest.raises(UsageError, match='take backend "python"'):
        NativeOcSort()
