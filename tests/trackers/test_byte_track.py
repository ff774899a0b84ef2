from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable

import numpy as np
import pytest

from tests import worlds
from tests.worlds import CAR, Sight, World
from watchline.detectors.detections import Detections
from watchline.streams.errors import UsageError
from watchline.trackers.byte_track import ByteTrack, ByteTrackOptions
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import Tracks, TrackState


def follow(scene: World, tracker: ByteTrack | None = None) -> list[Tracks]:
    tracker = tracker or ByteTrack()
    return [tracker.update(frame, at) for frame, at in zip(scene.frames, scene.times, strict=True)]


def ids_of(scene: World, tracks: Iterable[Tracks]) -> dict[int, list[int]]:
    """The ids that each object of the scene was given, in the order of first use."""
    ids: dict[int, list[int]] = {}
    for names, found in zip(scene.truth, tracks, strict=True):
        for name, track_id in zip(names[found.detection].tolist(), found.track_id.tolist(), strict=True):
            if track_id not in ids.setdefault(name, []):
                ids[name].append(track_id)
    return ids


def same(a: Tracks, b: Tracks) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in Tracks.__slots__)


def box(x1: float, y1: float, x2: float, y2: float, score: float = 0.9) -> Detections:
    return Detections(np.array([[x1, y1, x2, y2]], np.float32), np.array([score], np.float32), np.zeros(1, np.int32))


def one(score: float) -> Detections:
    return box(10, 10, 50, 110, score)


# Who is who


def test_two_people_who_cross_keep_their_ids() -> None:
    scene = worlds.crossing()
    assert ids_of(scene, follow(scene)) == {1: [1], 2: [2]}


@pytest.mark.parametrize("fps", [8, 30])
@pytest.mark.parametrize(("hidden_s", "ids"), [(0.75, [1]), (1.25, [1, 2])])
def test_a_person_hidden_for_less_than_lost_s_keeps_the_id_and_for_longer_gets_a_new_one(
    fps: float, hidden_s: float, ids: list[int]
) -> None:
    scene = worlds.occlusion(hidden_s, fps)
    assert ids_of(scene, follow(scene)) == {1: ids}


def test_a_longer_life_is_an_option() -> None:
    scene = worlds.occlusion(hidden_s=1.25)
    assert ids_of(scene, follow(scene, ByteTrack(ByteTrackOptions(lost_s=2)))) == {1: [1]}


def test_a_person_who_comes_back_much_later_elsewhere_is_a_new_track() -> None:
    scene = worlds.re_entry()
    assert ids_of(scene, follow(scene)) == {1: [1, 2]}


def test_a_gap_in_the_stream_longer_than_lost_s_ends_all_tracks() -> None:
    tracker = ByteTrack()
    assert [tracker.update(one(0.9), at).track_id.tolist() for at in (0, 0.5, 1.5, 2.6, 2.7)] == [
        [1],
        [1],
        [1],
        [],
        [2],
    ]


def test_low_scores_keep_a_track_alive_and_without_them_it_would_break() -> None:
    scene = worlds.fading(faint_score=0.2, frames=150)  # 50 frames, 1.7 s, in the shade
    assert ids_of(scene, follow(scene)) == {1: [1]}
    assert sum(map(len, follow(scene))) == 150
    without_them = ByteTrack(ByteTrackOptions(low_score=0.5))
    assert ids_of(scene, follow(scene, without_them)) == {1: [1, 2]}


def test_a_low_score_brings_a_lost_track_back() -> None:
    tracker = ByteTrack()
    shown = [
        tracker.update(frame, i / 30) for i, frame in enumerate([one(0.9), one(0.9), Detections.empty(), one(0.2)])
    ]
    assert [tracks.track_id.tolist() for tracks in shown] == [[1], [1], [], [1]]
    assert shown[-1].score[0] == np.float32(0.2)


@pytest.mark.parametrize("fuse", [True, False])
def test_who_steps_in_front_does_not_take_the_track_of_who_is_now_half_hidden(fuse: bool) -> None:
    person, front, half_hidden = (0, 0, 100, 200), (40, 0, 140, 200), (2, 0, 102, 200)
    both = Detections(
        np.array([front, half_hidden], np.float32), np.array([0.9, 0.3], np.float32), np.zeros(2, np.int32)
    )
    tracker = ByteTrack(ByteTrackOptions(fuse_score=fuse))
    shown = [tracker.update(frame, i / 30) for i, frame in enumerate([box(*person), box(*person), both, both])]
    assert [dict(zip(tracks.track_id.tolist(), tracks.detection.tolist(), strict=True)) for tracks in shown] == [
        {1: 0},
        {1: 0},
        {1: 1},
        {1: 1, 2: 0},
    ]


def test_low_scores_never_begin_a_track() -> None:
    scene = worlds.world([[Sight(1, 100, 300, score=0.45)]] * 5)
    assert sum(map(len, follow(scene))) == 0


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.7])  # as float32 a little above, above and below the number written
def test_a_score_that_equals_a_threshold_counts(threshold: float) -> None:
    begins = ByteTrack(ByteTrackOptions(high_score=threshold, new_score=threshold))
    assert len(begins.update(one(threshold), 0)) == 1
    keeps = ByteTrack(ByteTrackOptions(low_score=threshold, high_score=0.8, new_score=0.8))
    keeps.update(one(0.9), 0)
    assert len(keeps.update(one(threshold), 1 / 30)) == 1
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    assert len(keeps.update(one(below), 2 / 30)) == 0
    # Equal to high_score means sure: then an overlap of 0.25 is enough, for an unsure detection it is not.
    first = ByteTrack(
        ByteTrackOptions(high_score=threshold, new_score=0.8, fuse_score=False, high_cost=0.8, low_cost=0.5)
    )
    first.update(box(0, 0, 100, 100), 0)
    assert len(first.update(box(60, 0, 160, 100, threshold), 1 / 30)) == 1


def test_a_person_never_becomes_a_car() -> None:
    scene = worlds.person_and_car()
    tracks = follow(scene)
    assert ids_of(scene, tracks) == {1: [1], 2: [2]}
    for found, frame in zip(tracks, scene.frames, strict=True):
        np.testing.assert_array_equal(found.class_id, frame.class_id[found.detection])


def test_a_car_where_a_person_was_is_another_track() -> None:
    scene = worlds.world([[Sight(1, 100, 300)]] * 5 + [[Sight(2, 100, 300, class_id=CAR)]] * 5)
    assert ids_of(scene, follow(scene)) == {1: [1], 2: [2]}


def test_most_of_a_crowd_keeps_its_ids() -> None:
    scene = worlds.crowd(60, frames=90)
    ids = ids_of(scene, follow(scene))
    assert sum(len(given) == 1 for given in ids.values()) >= 0.9 * len(ids)


def test_dropped_frames_do_not_break_tracks_because_the_filter_knows_the_time() -> None:
    scene = worlds.world([[Sight(1, 100 + 4 * i, 300)] for i in range(120)])
    tracker, rng = ByteTrack(), np.random.default_rng(3)
    kept = [*range(20), *(20 + np.flatnonzero(rng.random(100) < 0.2)).tolist()]
    shown = [tracker.update(scene.frames[i], scene.times[i]) for i in kept]
    assert {track_id for tracks in shown[1:] for track_id in tracks.track_id.tolist()} == {1}
    assert all(len(tracks) == 1 for tracks in shown)


# When tracks are shown


def test_the_first_frame_is_believed_at_once_and_later_arrivals_at_second_sight() -> None:
    early, late = Sight(1, 100, 300), Sight(2, 400, 300)
    scene = worlds.world([[early], [early, late], [early, late]])
    tracks = follow(scene)
    assert [found.track_id.tolist() for found in tracks] == [[1], [1], [1, 2]]
    assert all((found.state == TrackState.CONFIRMED).all() for found in tracks)
    np.testing.assert_allclose(tracks[2].age_s, [2 / 30, 1 / 30], atol=1e-6)


def test_a_single_flash_is_never_shown_and_uses_up_its_id() -> None:
    stays, flash, late = Sight(1, 100, 300), Sight(2, 400, 300), Sight(3, 700, 300)
    scene = worlds.world([[stays], [stays, flash], [stays], [stays, late], [stays, late]])
    assert ids_of(scene, follow(scene)) == {1: [1], 3: [3]}


def test_an_empty_scene_gives_no_tracks() -> None:
    assert [len(found) for found in follow(worlds.empty())] == [0] * 10


def test_tracks_come_in_the_order_of_their_ids() -> None:
    for found in follow(worlds.crowd(40)):
        assert (np.diff(found.track_id) > 0).all()


def test_the_box_is_filtered_or_as_detected_by_option() -> None:
    scene = worlds.crowd(10, frames=20)
    filtered = follow(scene)
    detected = follow(scene, ByteTrack(ByteTrackOptions(box="detection")))
    for a, b, frame in zip(filtered, detected, scene.frames, strict=True):
        np.testing.assert_array_equal(a.track_id, b.track_id)
        np.testing.assert_array_equal(b.xyxy, frame.xyxy[b.detection])
    assert not np.array_equal(filtered[-1].xyxy, detected[-1].xyxy)
    np.testing.assert_allclose(filtered[-1].xyxy, detected[-1].xyxy, atol=12)


def two_tracks_of_one_object(first: int, second: int) -> tuple[list[int], ByteTrack]:
    """A lost track seen in `first` frames, a seen one in `second` frames, and in the end they meet."""
    tracker, i = ByteTrack(ByteTrackOptions(lost_s=10)), 0
    for x, frames in ((0.0, first), (200.0, second)):
        for _ in range(frames):
            tracker.update(box(x, 0, x + 100, 200), i / 30)
            i += 1
    shown: list[int] = []
    for step in range(1, 101):  # slowly over to where the first one was lost, too faint to begin a track
        x = 200.0 - 2 * step
        shown = tracker.update(box(x, 0, x + 100, 200, 0.55), (i + step) / 30).track_id.tolist()
    return shown, tracker


@pytest.mark.parametrize(("first", "second", "winner"), [(60, 5, 2), (400, 5, 1), (5, 60, 2)])
def test_a_lost_and_a_seen_track_of_one_object_become_one_under_the_id_of_the_longer_life(
    first: int, second: int, winner: int
) -> None:
    shown, tracker = two_tracks_of_one_object(first, second)
    assert shown == [winner]
    assert len(tracker._live) == 1


@pytest.mark.parametrize("fps", [10, 30])
def test_who_passes_exactly_behind_another_is_no_duplicate_and_keeps_the_id(fps: float) -> None:
    stands = Sight(1, 400, 300)
    walks = [Sight(2, 400 + 120 * i / fps, 300) for i in range(int(-2 * fps), int(2 * fps))]
    scene = worlds.world([[stands] if abs(walk.x - 400) < 40 else [stands, walk] for walk in walks], fps)
    assert ids_of(scene, follow(scene)) == {2: [1], 1: [2]}


def test_a_person_who_first_showed_an_arm_is_soon_as_narrow_as_the_boxes_say() -> None:
    frames = [box(0, 0, 80, 100), *[box(20, 0, 60, 100)] * 8]
    tracker = ByteTrack()
    last = [tracker.update(frame, i / 30) for i, frame in enumerate(frames)][-1]
    assert last.track_id.tolist() == [1]
    np.testing.assert_allclose(last.xyxy, [[20, 0, 60, 100]], atol=1)  # as ByteTrack's authors have it: 14 pixels off


# One tracker leaves the others alone


def test_two_trackers_interleaved_give_what_each_gives_alone() -> None:
    here, there = worlds.crowd(20, seed=1), worlds.crowd(20, seed=2)
    alone = follow(here), follow(there)
    a, b = ByteTrack(), ByteTrack()
    for i, at in enumerate(here.times):
        assert same(a.update(here.frames[i], at), alone[0][i])
        assert same(b.update(there.frames[i], at), alone[1][i])


def test_resetting_or_closing_one_camera_leaves_the_others_ids_alone() -> None:
    scene = worlds.crowd(20)
    alone = follow(scene)
    a, b, c = ByteTrack(), ByteTrack(), ByteTrack()
    for i, at in enumerate(scene.times):
        if i % 10 == 9:
            a.reset()
        if i < 30:
            c.update(scene.frames[i], at)
        elif i == 30:
            del c
        a.update(scene.frames[i], at)
        assert same(b.update(scene.frames[i], at), alone[i])


def test_after_a_reset_tracks_are_new_ids_go_on_and_time_may_start_again() -> None:
    tracker = ByteTrack(ids=TrackIds(first=7))
    assert tracker.update(one(0.9), 100.0).track_id.tolist() == [7]
    tracker.reset()
    tracks = tracker.update(one(0.9), 0.0)
    assert (tracks.track_id.tolist(), tracks.age_s.tolist()) == ([8], [0.0])


def test_what_was_returned_does_not_change_later() -> None:
    tracker = ByteTrack()
    first = tracker.update(one(0.9), 0)
    copy = first[slice(None)]
    kept = {name: getattr(copy, name).copy() for name in Tracks.__slots__}
    tracker.update(box(14, 10, 54, 110, 0.8), 0.1)
    assert all(np.array_equal(getattr(first, name), kept[name]) for name in Tracks.__slots__)


# What must never happen


@pytest.mark.parametrize("at", [1.0, 0.5, float("nan"), float("inf"), -1.0])
def test_time_that_stands_still_or_runs_back_is_refused_and_changes_nothing(at: float) -> None:
    tracker, twin = ByteTrack(), ByteTrack()
    for each in (tracker, twin):
        each.update(one(0.9), 1.0)
    with pytest.raises(ValueError, match=r"^time_s is .*, want a number above 1\.0"):
        tracker.update(one(0.9), at)
    assert same(tracker.update(one(0.9), 1.5), twin.update(one(0.9), 1.5))


BIG, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)


@pytest.mark.parametrize(
    ("x1", "y1", "x2", "y2"),
    [
        (5, 5, 6, 6),
        (0, 0, TINY, TINY),
        (-BIG, -BIG, BIG, BIG),
        (0, 0, BIG, TINY),
        (0, 0, TINY, BIG),
        (-5000, -5000, -4999, 9000),
    ],
)
def test_one_pixel_and_huge_boxes_are_followed_without_nan_or_warning(
    x1: float, y1: float, x2: float, y2: float
) -> None:
    tracker = ByteTrack()
    for i in range(40):
        frame = box(x1, y1, x2, y2) if i % 5 else Detections.empty()
        tracks = tracker.update(frame, i / 7)
        assert np.isfinite(tracks.xyxy).all()
        assert i < 2 or tracks.track_id.tolist() == ([1] if i % 5 else [])


def test_twenty_thousand_frames_of_churn_keep_the_tracker_small() -> None:
    tracker, most, shown = ByteTrack(), 0, 0
    visitors = np.random.default_rng(0).uniform(0, 2000, (5_000, 2))
    for i in range(20_000):
        corner = visitors[i // 4]
        shown += len(tracker.update(box(*corner, *(corner + 60)), i / 30))
        most = max(most, len(tracker._live))
    assert shown > 14_000
    assert most <= 10  # 30 frames of life, a new visitor every 4
    assert set(vars(tracker)) == {"_kind", "_layout", "_options", "_ids", "_live", "_now_s"}  # nothing else to grow


def test_fifty_people_take_little_time() -> None:
    scene, tracker, spent = worlds.crowd(50), ByteTrack(), []
    for frame, at in zip(scene.frames, scene.times, strict=True):
        begin = time.thread_time()
        tracker.update(frame, at)
        spent.append(time.thread_time() - begin)
    assert np.median(spent) < 0.01  # measured 0.6 ms; room for slow and busy machines


# The door


@pytest.mark.parametrize(
    ("name", "value"),
    [("high_score", 1.1), ("low_score", 0.6), ("new_score", 0.4), ("high_cost", 1.0), ("lost_s", float("nan"))],
)
def test_an_option_outside_its_range_is_named_with_the_range(name: str, value: float) -> None:
    options: dict[str, float] = {name: value}
    with pytest.raises(UsageError, match=rf"^{name} is {value}; take a value from .* to "):
        ByteTrackOptions(**options)  # type: ignore[arg-type]


def test_an_unknown_kind_of_box_is_refused() -> None:
    with pytest.raises(UsageError, match=r'^box is "raw"; take "filtered" or "detection"$'):
        ByteTrackOptions(box="raw")  # type: ignore[arg-type]


def test_importing_the_tracker_loads_no_heavy_package() -> None:
    heavy = {"scipy", "cv2", "onnxruntime", "onnx", "av"}
    code = f"import sys, watchline.trackers.byte_track; print(*{heavy} & {{*sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
