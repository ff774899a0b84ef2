from __future__ import annotations

import copy
import threading
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
from watchline.trackers.byte_track import ByteTrack, ByteTrackOptions
from watchline.trackers.native_byte_track import NATIVE, NativeByteTrack
from watchline.trackers.tracker import Tracker, TrackIds
from watchline.trackers.tracks import Tracks

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("native")]

_OPTIONS = st.builds(
    ByteTrackOptions,
    high_score=st.just(0.5),
    low_score=st.sampled_from([0.0, 0.1, 0.5]),
    new_score=st.sampled_from([0.5, 0.6, 0.9]),
    high_cost=st.sampled_from([0.0, 0.5, 0.8, 0.99]),
    low_cost=st.sampled_from([0.0, 0.6, 0.99]),
    fuse_score=st.booleans(),
    duplicate_iou=st.sampled_from([0.0, 0.3, 0.85, 1.0]),
    lost_s=st.sampled_from([0.0, 0.2, 1.0, 3.0]),
    coast_s=st.sampled_from([0.0, 0.04, 1.0, 86400.0]),
    box=st.sampled_from(["filtered", "detection"]),
)


def assert_twins(frames: Frames, options: ByteTrackOptions | None = None) -> None:
    twins.assert_twins(NativeByteTrack(options), ByteTrack(options), frames)


@settings(deadline=None, max_examples=150)
@given(twins.frames_of(twins.CLOSE, 8), _OPTIONS)
def test_both_twins_follow_a_crowd_alike(frames: Frames, options: ByteTrackOptions) -> None:
    assert_twins(frames, options)


@settings(deadline=None, max_examples=150)
@given(twins.frames_of(twins.ON_A_GRID, 12), _OPTIONS)
def test_both_twins_settle_ties_alike(frames: Frames, options: ByteTrackOptions) -> None:
    assert_twins(frames, options)


@settings(deadline=None, max_examples=100)
@given(twins.frames_of(twins.EXTREME, 6), _OPTIONS)
def test_both_twins_follow_huge_and_tiny_boxes_alike(frames: Frames, options: ByteTrackOptions) -> None:
    assert_twins(frames, options)


@pytest.mark.parametrize(("people", "seed"), [(1, 0), (10, 1), (50, 2), (200, 3), (400, 4)])
def test_both_twins_follow_a_walking_crowd_alike(people: int, seed: int) -> None:
    assert_twins(twins.walking(people, seed))


@pytest.mark.parametrize("seed", range(8))
def test_both_twins_agree_where_detections_come_twice_and_in_two_classes(seed: int) -> None:
    assert_twins(twins.twice_in_two_classes(seed))


@pytest.mark.data
@pytest.mark.parametrize("name", twins.REAL)
def test_both_twins_agree_on_real_detections(data_dir: Path, name: str) -> None:
    assert_twins(twins.real(data_dir, name))


def test_both_twins_agree_where_everything_stands_in_one_column() -> None:
    assert_twins(twins.in_one_column())


@pytest.mark.parametrize("name", ["crossing", "person_and_car", "re_entry", "empty"])
def test_both_twins_agree_on_small_scenes(name: str) -> None:
    scene: worlds.World = getattr(worlds, name)()
    assert_twins([(frame, 1 / 30) for frame in scene.frames])


def test_it_is_a_tracker_and_says_what_does_the_work() -> None:
    tracker: Tracker = NativeByteTrack()
    assert tracker.backend == "native"
    assert NATIVE


def test_ids_come_from_the_factory_and_only_as_many_as_are_used() -> None:
    ids = TrackIds(first=7)
    tracker = NativeByteTrack(ids=ids)
    assert tracker.update(make_detections((0, 0, 10, 10), (50, 0, 60, 10)), 0.0).track_id.tolist() == [7, 8]
    assert ids.next() == 9
    assert len(tracker.update(make_detections((200, 0, 210, 10)), 0.1)) == 0  # tentative: has an id, is not shown
    assert ids.next() == 11


def test_after_a_reset_tracks_are_new_ids_go_on_and_time_may_start_again() -> None:
    tracker = NativeByteTrack()
    assert tracker.update(make_detections((0, 0, 10, 10)), 100.0).track_id.tolist() == [1]
    tracker.reset()
    tracks = tracker.update(make_detections((0, 0, 10, 10)), 0.0)
    assert (tracks.track_id.tolist(), tracks.age_s.tolist()) == ([2], [0.0])


@pytest.mark.parametrize("at", [1.0, 0.5, float("nan"), float("inf"), -1.0])
def test_time_that_stands_still_or_runs_back_is_refused_as_by_the_twin_and_changes_nothing(at: float) -> None:
    shown = make_detections((0, 0, 10, 10))
    native, twin = NativeByteTrack(), ByteTrack()
    messages = []
    for tracker in (native, twin):
        tracker.update(shown, 1.0)
        with pytest.raises(ValueError, match=r"^time_s is .*, want a number above 1\.0") as refused:
            tracker.update(shown, at)
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    assert_same(native.update(shown, 1.5), twin.update(shown, 1.5))


def test_input_stays_as_it_was_and_what_was_returned_does_not_change_later() -> None:
    frames = worlds.crowd(30, frames=5).frames
    before = [copy.deepcopy((f.xyxy, f.score, f.class_id)) for f in frames]
    for frame in frames:
        for array in (frame.xyxy, frame.score, frame.class_id):
            array.flags.writeable = False
    tracker, shown, kept = NativeByteTrack(), [], []
    for i, frame in enumerate(frames):
        tracks = tracker.update(frame, i / 30)
        shown.append(tracks)
        kept.append({name: getattr(tracks, name).copy() for name in Tracks.__slots__})
    del tracker
    for tracks, copies in zip(shown, kept, strict=True):
        assert all(np.array_equal(getattr(tracks, name), copies[name]) for name in Tracks.__slots__)
    for frame, arrays in zip(frames, before, strict=True):
        assert all(map(np.array_equal, (frame.xyxy, frame.score, frame.class_id), arrays))


def test_its_tracks_pass_the_checks_of_tracks_and_can_be_picked_from() -> None:
    tracks = NativeByteTrack().update(worlds.crowd(20, frames=1).frames[0], 0.0)
    checked = Tracks(**{name: getattr(tracks, name) for name in Tracks.__slots__})
    assert_same(tracks, checked)
    assert len(tracks[tracks.score > 0.7]) == int((tracks.score > 0.7).sum())


def test_rows_of_a_larger_array_need_no_copy_by_the_caller() -> None:
    frame = worlds.crowd(20, frames=1).frames[0][::2]
    assert not frame.xyxy.flags.c_contiguous
    assert_same(NativeByteTrack().update(frame, 0.0), ByteTrack().update(frame, 0.0))


def test_a_call_from_a_second_thread_at_the_same_time_is_refused_not_obeyed() -> None:
    class Slow(TrackIds):
        def next(self) -> int:
            thread = threading.Thread(target=intrude)
            thread.start()
            thread.join()
            return super().next()

    def intrude() -> None:
        with pytest.raises(RuntimeError, match="one thread at a time"):
            tracker.update(Detections.empty(), 1.0)
        refused.append(True)

    refused: list[bool] = []
    tracker = NativeByteTrack(ids=Slow())
    assert tracker.update(make_detections((0, 0, 10, 10)), 0.0).track_id.tolist() == [1]
    assert refused


def test_without_a_native_build_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_byte_track, "_module", None)
    with pytest.raises(UsageError, match='take backend "python"'):
        NativeByteTrack()
