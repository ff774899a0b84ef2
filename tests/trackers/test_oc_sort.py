from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import worlds
from tests.worlds import CAR, Sight, World
from watchline.detectors.detections import Detections
from watchline.streams.errors import UsageError
from watchline.trackers.oc_sort import OcSort, OcSortOptions
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import Tracks, TrackState


def follow(scene: World, tracker: OcSort | None = None) -> list[Tracks]:
    tracker = tracker or OcSort()
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
    assert ids_of(scene, follow(scene, OcSort(OcSortOptions(lost_s=2)))) == {1: [1]}


def test_a_person_who_comes_back_much_later_elsewhere_is_a_new_track() -> None:
    scene = worlds.re_entry()
    assert ids_of(scene, follow(scene)) == {1: [1, 2]}


def test_a_gap_in_the_stream_longer_than_lost_s_ends_all_tracks() -> None:
    tracker = OcSort()
    assert [tracker.update(one(0.9), at).track_id.tolist() for at in (0, 0.5, 1.5, 2.6, 2.7)] == [
        [1],
        [1],
        [1],
        [],
        [2],
    ]


def test_low_scores_keep_a_track_alive_and_without_their_stage_it_would_break() -> None:
    scene = worlds.fading(faint_score=0.2, frames=150)  # 50 frames, 1.7 s, in the shade
    assert ids_of(scene, follow(scene)) == {1: [1]}
    assert sum(map(len, follow(scene))) == 150
    no_such_stage = OcSort(OcSortOptions(low_score=0.6))
    assert ids_of(scene, follow(scene, no_such_stage)) == {1: [1, 2]}


def test_a_low_score_brings_a_lost_track_back() -> None:
    tracker = OcSort()
    shown = [
        tracker.update(frame, i / 30) for i, frame in enumerate([one(0.9), one(0.9), Detections.empty(), one(0.2)])
    ]
    assert [tracks.track_id.tolist() for tracks in shown] == [[1], [1], [], [1]]
    assert shown[-1].score[0] == np.float32(0.2)


def test_low_scores_never_begin_a_track() -> None:
    scene = worlds.world([[Sight(1, 100, 300, score=0.45)]] * 5)
    assert sum(map(len, follow(scene))) == 0


@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.7])  # as float32 a little above, above and below the number written
def test_a_score_that_equals_a_threshold_counts(threshold: float) -> None:
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    begins = OcSort(OcSortOptions(det_score=threshold))
    assert len(begins.update(one(below), 0)) == 0
    begins.reset()
    assert len(begins.update(one(threshold), 0)) == 1
    keeps = OcSort(OcSortOptions(low_score=threshold, det_score=0.8))
    keeps.update(one(0.9), 0)
    assert len(keeps.update(one(threshold), 1 / 30)) == 1
    assert len(keeps.update(one(below), 2 / 30)) == 0


@pytest.mark.parametrize(("least", "ids"), [(0.25, [1]), (0.26, [])])
def test_an_overlap_that_equals_min_iou_counts(least: float, ids: list[int]) -> None:
    tracker = OcSort(OcSortOptions(min_iou=least))
    tracker.update(box(0, 0, 100, 100), 0)
    assert tracker.update(box(60, 0, 160, 100), 1 / 30).track_id.tolist() == ids  # 40 of 160


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
    tracker, rng = OcSort(), np.random.default_rng(3)
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
    detected = follow(scene, OcSort(OcSortOptions(box="detection")))
    for a, b, frame in zip(filtered, detected, scene.frames, strict=True):
        np.testing.assert_array_equal(a.track_id, b.track_id)
        np.testing.assert_array_equal(b.xyxy, frame.xyxy[b.detection])
    assert not np.array_equal(filtered[-1].xyxy, detected[-1].xyxy)
    np.testing.assert_allclose(filtered[-1].xyxy, detected[-1].xyxy, atol=12)


def test_the_box_of_a_car_that_comes_nearer_keeps_up_with_it() -> None:
    frames = [box(500 - side, 500 - side / 2, 500 + side, 500 + side / 2) for side in 40 * 1.03 ** np.arange(40)]
    tracker = OcSort()
    last = [tracker.update(frame, i / 30) for i, frame in enumerate(frames)][-1]
    filtered, seen = ((b[0, 2:] - b[0, :2]).prod() for b in (last.xyxy, frames[-1].xyxy))
    assert 0.95 < filtered / seen <= 1  # with SORT's noise 0.93


# What was observed leads


def test_a_confirmed_track_is_reported_again_in_the_frame_that_it_is_back() -> None:
    tracker = OcSort()
    seen = [*[one(0.9)] * 3, Detections.empty(), one(0.9), Detections.empty(), Detections.empty(), one(0.2)]
    shown = [tracker.update(frame, i / 30).track_id.tolist() for i, frame in enumerate(seen)]
    assert shown == [[1], [1], [1], [], [1], [], [], [1]]


@pytest.mark.parametrize(("hits", "first_shown"), [(1, 1), (2, 2), (3, 3)])
def test_a_late_arrival_is_shown_after_confirm_hits_detections_in_a_row(hits: int, first_shown: int) -> None:
    tracker = OcSort(OcSortOptions(confirm_hits=hits))
    frames = [Detections.empty(), one(0.9), Detections.empty(), *[one(0.9)] * 4]  # the miss breaks the row
    shown = [len(tracker.update(frame, i / 30)) for i, frame in enumerate(frames)]
    assert shown[3:] == [1 if i >= first_shown or hits == 1 else 0 for i in range(1, 5)]


def test_a_person_who_stood_still_while_unseen_is_found_by_the_last_box() -> None:
    walk = [[Sight(1, 100 + 8 * i, 300)] for i in range(30)]
    stands = [[Sight(1, 100 + 8 * 29, 300)] for _ in range(5)]
    scene = worlds.world([*walk, *[[]] * 10, *stands])  # expected two widths further on
    assert ids_of(scene, follow(scene)) == {1: [1]}


def motion_after(missing: int) -> NDArray[np.void]:
    """What a tracker believes of a person who turned as soon as it was unseen, when it is back."""
    walk = [[Sight(1, 100 + 4 * i, 300)] for i in range(20)]
    turned = [[Sight(1, 176 - 2 * i, 300 + 2 * i)] for i in range(1, 9)]
    tracker = OcSort()
    tracks = follow(worlds.world([*walk, *[[]] * missing, *turned[missing:]]), tracker)
    assert tracks[-1].track_id.tolist() == [1]
    motion: NDArray[np.void] = tracker._live["motion"]
    return motion


def test_after_a_gap_the_filter_is_as_if_the_object_had_been_seen_on_a_straight_way() -> None:
    seen, missed = motion_after(missing=0), motion_after(missing=7)
    assert seen["speed"][0, 0] < 1  # was 4 before it turned
    for name in seen.dtype.names or ():
        # Time is read to the microsecond: a frame of 1/30 s is 1e-5 short.
        np.testing.assert_allclose(missed[name], seen[name], rtol=1e-4, atol=1e-3, err_msg=name)


def test_of_two_boxes_that_overlap_alike_the_one_in_the_track_s_direction_is_taken() -> None:
    def ids(inertia: float) -> dict[int, list[int]]:
        walk = [[Sight(1, 100 + 6 * i, 300, 90)] for i in range(10)]
        fork = [Sight(2, 160 - 30, 300, 90), Sight(3, 160 + 31, 300, 90)]
        scene = worlds.world([*walk, fork])
        return ids_of(scene, follow(scene, OcSort(OcSortOptions(inertia=inertia))))

    assert ids(inertia=0) == {1: [1], 2: [1]}
    assert ids(inertia=0.2) == {1: [1], 3: [1]}


def test_a_box_with_a_negative_sum_of_corners_is_a_box_like_any_other() -> None:
    frames = [box(-500, -500, -460, -400)] * 3 + [Detections.empty()] * 5 + [box(-490, -500, -450, -400)]
    tracker = OcSort()
    assert [tracker.update(frame, i / 30).track_id.tolist() for i, frame in enumerate(frames)][-1] == [1]


def test_a_crowd_keeps_its_ids_at_any_frame_rate() -> None:
    for fps in (5, 15, 30, 60, 120):
        scene = worlds.crowd(30, frames=3 * fps, fps=fps)
        ids = ids_of(scene, follow(scene))
        assert sum(len(given) == 1 for given in ids.values()) >= 0.8 * len(ids), fps


# One tracker leaves the others alone


def test_two_trackers_interleaved_give_what_each_gives_alone() -> None:
    here, there = worlds.crowd(20, seed=1), worlds.crowd(20, seed=2)
    alone = follow(here), follow(there)
    a, b = OcSort(), OcSort()
    for i, at in enumerate(here.times):
        assert same(a.update(here.frames[i], at), alone[0][i])
        assert same(b.update(there.frames[i], at), alone[1][i])


def test_resetting_or_closing_one_camera_leaves_the_others_ids_alone() -> None:
    scene = worlds.crowd(20)
    alone = follow(scene)
    a, b, c = OcSort(), OcSort(), OcSort()
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
    tracker = OcSort(ids=TrackIds(first=7))
    assert tracker.update(one(0.9), 100.0).track_id.tolist() == [7]
    tracker.reset()
    tracks = tracker.update(one(0.9), 0.0)
    assert (tracks.track_id.tolist(), tracks.age_s.tolist()) == ([8], [0.0])


def test_what_was_returned_does_not_change_later() -> None:
    tracker = OcSort()
    first = tracker.update(one(0.9), 0)
    copy = first[slice(None)]
    kept = {name: getattr(copy, name).copy() for name in Tracks.__slots__}
    tracker.update(box(14, 10, 54, 110, 0.8), 0.1)
    assert all(np.array_equal(getattr(first, name), kept[name]) for name in Tracks.__slots__)


# What must never happen


@pytest.mark.parametrize("at", [1.0, 0.5, float("nan"), float("inf"), -1.0])
def test_time_that_stands_still_or_runs_back_is_refused_and_changes_nothing(at: float) -> None:
    tracker, twin = OcSort(), OcSort()
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
    tracker = OcSort()
    for i in range(40):
        frame = box(x1, y1, x2, y2) if i % 5 else Detections.empty()
        tracks = tracker.update(frame, i / 7)
        assert np.isfinite(tracks.xyxy).all()
        assert i < 2 or tracks.track_id.tolist() == ([1] if i % 5 else [])


def test_five_thousand_frames_of_churn_keep_the_tracker_small() -> None:
    tracker, most, shown = OcSort(), 0, 0
    visitors = np.random.default_rng(0).uniform(0, 2000, (1_250, 2))
    for i in range(5_000):
        corner = visitors[i // 4]
        shown += len(tracker.update(box(*corner, *(corner + 60)), i / 30))
        most = max(most, len(tracker._live))
    assert shown > 3_500
    assert most <= 10  # 30 frames of life, a new visitor every 4
    assert tracker._live.itemsize < 1000  # the observations kept are counted
    assert set(vars(tracker)) == {"_kind", "_layout", "_options", "_ids", "_live", "_now_s"}  # nothing else to grow


def test_fifty_people_take_little_time() -> None:
    scene, tracker, spent = worlds.crowd(50), OcSort(), []
    for frame, at in zip(scene.frames, scene.times, strict=True):
        begin = time.thread_time()
        tracker.update(frame, at)
        spent.append(time.thread_time() - begin)
    assert np.median(spent) < 0.01  # measured 1.2 ms; room for slow and busy machines


# The door


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("det_score", 1.1),
        ("low_score", 0.7),
        ("min_iou", 0.0),
        ("low_iou", 1.1),
        ("inertia", -0.1),
        ("direction_s", 11.0),
        ("confirm_hits", 0),
        ("lost_s", float("nan")),
    ],
)
def test_an_option_outside_its_range_is_named_with_the_range(name: str, value: float) -> None:
    options: dict[str, float] = {name: value}
    with pytest.raises(UsageError, match=rf"^{name} is {value}; take a value from .* to "):
        OcSortOptions(**options)  # type: ignore[arg-type]


def test_an_unknown_kind_of_box_is_refused() -> None:
    with pytest.raises(UsageError, match=r'^box is "raw"; take "filtered" or "detection"$'):
        OcSortOptions(box="raw")  # type: ignore[arg-type]


def test_importing_the_tracker_loads_no_heavy_package() -> None:
    heavy = {"scipy", "cv2", "onnxruntime", "onnx", "av"}
    code = f"import sys, watchline.trackers.oc_sort; print(*{heavy} & {{*sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
