"""The published programs' habits, each in a scene of its own, and what holds for any input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import worlds
from tests.fakes import make_detections
from watchline.streams.errors import UsageError
from watchline.trackers.byte_track_reference import ByteTrackReference
from watchline.trackers.kalman import F64
from watchline.trackers.oc_sort_reference import OcSortReference
from watchline.trackers.reference_options import ByteTrackReferenceOptions, OcSortReferenceOptions
from watchline.trackers.rows import Boxes, FrameStepper, Rows, SteppedTracker
from watchline.trackers.tracker import TrackIds

BOTH: list[Callable[[], FrameStepper]] = [
    ByteTrackReference,
    OcSortReference,
    lambda: OcSortReference(OcSortReferenceOptions(use_byte=True)),
]
NAMES = ["bytetrack", "ocsort", "ocsort with bytes"]
HERE = (100.0, 100.0, 140.0, 200.0)
THERE = (500.0, 100.0, 540.0, 200.0)


def seen(*boxes: tuple[float, ...], score: float = 0.9) -> tuple[F64, F64]:
    """Boxes x1, y1, x2, y2 and, where it is not `score`, their score."""
    rows = np.array([(*box, score)[:5] for box in boxes], np.float64).reshape(-1, 5)
    return rows[:, :4].copy(), rows[:, 4].copy()


def ids(tracker: FrameStepper, frames: Sequence[tuple[F64, F64]]) -> list[list[int]]:
    return [tracker.step(*frame).track_id.tolist() for frame in frames]


# ByteTrack


def test_bytetrack_believes_the_first_frame_and_later_tracks_at_second_sight() -> None:
    assert ids(ByteTrackReference(), [seen(HERE), seen(HERE, THERE), seen(HERE, THERE)]) == [[1], [1], [1, 2]]


def test_bytetrack_loses_a_score_equal_to_the_threshold() -> None:
    tracker = ByteTrackReference()
    assert ids(tracker, [seen(HERE), seen(HERE, score=0.5), seen(HERE, score=0.49)]) == [[1], [], []]
    assert ids(tracker, [seen(HERE)]) == [[1]]


def test_bytetrack_keeps_a_seen_track_by_a_low_score_but_finds_no_lost_one_by_it() -> None:
    frames = [seen(HERE), seen(HERE, score=0.2), seen(), seen(HERE, score=0.2), seen(HERE)]
    assert ids(ByteTrackReference(), frames) == [[1], [1], [], [], [1]]


def test_bytetrack_begins_a_track_a_tenth_above_the_threshold() -> None:
    assert ids(ByteTrackReference(), [seen(HERE, score=0.59), seen(HERE, score=0.6)]) == [[], []]
    assert ids(ByteTrackReference(), [seen(HERE, score=0.6), seen(HERE, score=0.51)]) == [[1], [1]]


def test_bytetrack_takes_ids_at_creation_so_that_those_of_unconfirmed_tracks_are_missing() -> None:
    frames = [seen(), seen(HERE), seen(THERE), seen(THERE)]
    assert ids(ByteTrackReference(), frames) == [[], [], [], [2]]


@pytest.mark.parametrize(("hidden", "found"), [(31, [1]), (32, [])])
def test_bytetrack_finds_a_track_one_frame_after_it_was_removed(hidden: int, found: list[int]) -> None:
    # The buffer of 30 frames is over in the 31st without the object; the track may be matched in the next.
    assert ids(ByteTrackReference(), [seen(HERE), *[seen()] * hidden, seen(HERE)])[-1] == found


def test_bytetrack_never_loses_a_removed_track_that_was_found_it_is_gone_at_the_first_miss() -> None:
    frames = [seen(HERE), *[seen()] * 31, seen(HERE), seen(HERE), seen(), seen(HERE), seen(HERE)]
    assert ids(ByteTrackReference(), frames)[-5:] == [[1], [1], [], [], [2]]


def test_bytetrack_scales_its_buffer_by_the_frame_rate() -> None:
    slow = ByteTrackReferenceOptions(frame_rate=10, track_buffer=30)
    assert ids(ByteTrackReference(slow), [seen(HERE), *[seen()] * 11, seen(HERE)])[-1] == [1]
    assert ids(ByteTrackReference(slow), [seen(HERE), *[seen()] * 12, seen(HERE)])[-1] == []


def test_bytetrack_counts_the_last_pixel_of_a_box() -> None:
    # 2 x 2 boxes a pixel apart: IoU 3 / 15 with the last pixel, none without. Cost 0.8 is just the limit for mot20.
    near, option = (2.0, 0.0, 3.9, 2.0), ByteTrackReferenceOptions(mot20=True)
    assert ids(ByteTrackReference(option), [seen((0.0, 0.0, 2.0, 2.0)), seen(near)]) == [[1], [1]]


def test_bytetrack_drops_the_seen_one_of_two_doubles_of_equal_age() -> None:
    # Two boxes at one place: one goes unseen, and the other, of the same age, is dropped for it.
    tracker = ByteTrackReference()
    assert ids(tracker, [seen(HERE, HERE), seen(HERE)]) == [[1, 2], [1]]
    twin = ByteTrackReference()
    late = [seen(HERE), seen(HERE, HERE), seen(HERE, HERE), seen(HERE)]
    assert ids(twin, late)[-2:] == [[1, 2], [1]]


# OC-SORT


def test_oc_sort_reports_at_once_in_the_first_frames_and_after_three_more_sights_later() -> None:
    frames = [seen(HERE)] * 4 + [seen(HERE, THERE)] * 4
    assert ids(OcSortReference(), frames) == [[1], [1], [1], [1], [1], [1], [1], [2, 1]]


def test_oc_sort_hides_a_track_for_the_frame_missed_and_two_more() -> None:
    frames = [*[seen(HERE)] * 6, seen(), *[seen(HERE)] * 3]
    assert ids(OcSortReference(), frames)[-4:] == [[], [], [], [1]]


def test_oc_sort_loses_a_score_equal_to_the_threshold() -> None:
    assert ids(OcSortReference(), [seen(HERE, score=0.6), seen(HERE, score=0.61)]) == [[], [1]]


@pytest.mark.parametrize(("hidden", "found"), [(30, 1), (31, 2)])
def test_oc_sort_drops_a_track_that_is_unseen_for_longer_than_max_age(hidden: int, found: int) -> None:
    tracker = OcSortReference(OcSortReferenceOptions(min_hits=0))
    assert ids(tracker, [*[seen(HERE)] * 3, *[seen()] * hidden, *[seen(HERE)] * 2])[-1] == [found]


def test_oc_sort_reports_the_detection_itself() -> None:
    tracker = OcSortReference()
    for shift in range(5):
        boxes = seen(tuple(value + 7.3 * shift for value in HERE), score=0.7)
        rows = tracker.step(*boxes)
    np.testing.assert_array_equal(rows.xyxy, boxes[0])
    assert (rows.score.tolist(), rows.detection.tolist()) == ([0.7], [0])


def test_oc_sort_takes_a_box_far_outside_the_picture_for_none_and_reports_the_filtered_one() -> None:
    tracker = OcSortReference()
    for shift in range(3):
        boxes = seen(tuple(value - 1000 + 5 * shift for value in HERE))
        rows = tracker.step(*boxes)
    assert 0 < np.abs(rows.xyxy - boxes[0]).max() < 5


def test_oc_sort_matches_low_scores_only_when_told_to() -> None:
    frames = [*[seen(HERE)] * 3, seen(HERE, score=0.3)]
    assert ids(OcSortReference(), frames)[-1] == []
    assert ids(OcSortReference(OcSortReferenceOptions(use_byte=True)), frames)[-1] == [1]


# Both


@pytest.mark.parametrize("make", BOTH, ids=NAMES)
def test_two_trackers_in_one_process_never_touch_each_other(make: Callable[[], FrameStepper]) -> None:
    one, other = make(), make()
    one.step(*seen(HERE, THERE))
    assert other.step(*seen(HERE)).track_id.tolist() == [1]
    assert sorted(one.step(*seen(HERE, THERE)).track_id.tolist()) == [1, 2]


@pytest.mark.parametrize("make", BOTH, ids=NAMES)
def test_a_reset_tracker_starts_again_but_for_the_ids(make: Callable[[], FrameStepper]) -> None:
    tracker = make()
    first = ids(tracker, [seen(HERE), seen(HERE), seen()])
    tracker.reset()
    assert tracker.held().tolist() == []
    assert ids(tracker, [seen(HERE), seen(HERE), seen()]) == [[each + 1 for each in row] for row in first]


def test_ids_come_from_the_source_given() -> None:
    for tracker in (ByteTrackReference(ids=TrackIds(7)), OcSortReference(ids=TrackIds(7))):
        assert tracker.step(*seen(HERE)).track_id.tolist() == [7]


@pytest.mark.parametrize("make", BOTH, ids=NAMES)
def test_a_long_run_with_people_coming_and_going_holds_only_those_of_late(make: Callable[[], FrameStepper]) -> None:
    tracker = make()
    for frame in range(600):
        left = 1000.0 * (frame // 3)  # a new person every third frame
        tracker.step(*seen((left, 100, left + 40, 200)))
    assert len(tracker.held()) <= 12


@pytest.mark.parametrize(
    ("box", "score"),
    [
        ((0.0, 0, 1, np.nan), 0.9),
        ((0.0, 0, np.inf, 1), 0.9),
        ((0.0, 0, 1e300, 1), 0.9),
        ((0.0, 0, 1, 1e-300), 0.9),
        ((2.0, 0, 1, 1), 0.9),
        ((0.0, 1, 1, 1), 0.9),
        ((0.0, 0, 1, 1), np.nan),
        ((0.0, 0, 1, 1), 1.1),
    ],
)
def test_what_is_no_box_or_score_is_refused_at_the_door(box: tuple[float, ...], score: float) -> None:
    for make in BOTH:
        with pytest.raises(ValueError, match=r"^(box|score) 1 "):
            make().step(*seen(HERE, (*box, score)))
    with pytest.raises(ValueError, match=r"^xyxy: want float64 \(1, 4\), got float32 \(1, 4\)$"):
        Boxes(np.zeros((1, 4), np.float32), np.zeros(1))


@pytest.mark.parametrize("make", BOTH, ids=NAMES)
def test_boxes_that_were_clipped_to_no_width_do_no_harm(make: Callable[[], FrameStepper]) -> None:
    line = (100.0, 100.0, 100.0, 200.0)
    tracker = make()
    for _ in range(5):
        rows = tracker.step(*seen(THERE, line))
    assert 1 in rows.track_id.tolist()


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        (ByteTrackReferenceOptions, "track_thresh", 1.5),
        (ByteTrackReferenceOptions, "match_thresh", float("nan")),
        (ByteTrackReferenceOptions, "track_buffer", -1),
        (OcSortReferenceOptions, "delta_t", 0),
        (OcSortReferenceOptions, "iou_threshold", -0.1),
    ],
)
def test_a_value_outside_its_range_is_refused_with_the_range(
    options: Callable[..., object], name: str, value: float
) -> None:
    with pytest.raises(UsageError, match=rf"^{name} is {value}; take a value from \d+ to \d+$"):
        options(**{name: value})


# Behind the seam


@pytest.mark.parametrize("make", BOTH, ids=NAMES)
def test_behind_the_tracker_seam_tracks_have_the_class_of_their_detection_and_an_age(
    make: Callable[[], FrameStepper],
) -> None:
    tracker = SteppedTracker(make(), TrackIds())
    found = make_detections(HERE, class_id=2)
    for at in (0.0, 0.5, 1.25):
        tracks = tracker.update(found, at)
    assert (tracks.track_id.tolist(), tracks.class_id.tolist(), tracks.age_s.tolist()) == ([1], [2], [1.25])
    assert tracker.backend == "python"


@pytest.mark.parametrize("make", BOTH, ids=NAMES)
def test_behind_the_tracker_seam_time_must_rise_until_a_reset(make: Callable[[], FrameStepper]) -> None:
    tracker = SteppedTracker(make(), TrackIds())
    tracker.update(make_detections(HERE), 1.0)
    with pytest.raises(ValueError, match=r"time_s is 1.0, want a number above 1.0"):
        tracker.update(make_detections(HERE), 1.0)
    tracker.reset()
    assert tracker.update(make_detections(HERE), 0.0).track_id.tolist() == [2]


@pytest.mark.parametrize("make", BOTH, ids=NAMES)
def test_behind_the_tracker_seam_a_crowd_is_followed_as_in_float64(make: Callable[[], FrameStepper]) -> None:
    scene, plain, behind = worlds.crowd(20), make(), SteppedTracker(make(), TrackIds())
    for found, at in zip(scene.frames, scene.times, strict=True):
        rows = plain.step(found.xyxy.astype(np.float64), found.score.astype(np.float64))
        tracks = behind.update(found, at)
        np.testing.assert_array_equal(tracks.track_id, rows.track_id)
        np.testing.assert_array_equal(tracks.xyxy, rows.xyxy.astype(np.float32))


# Any input

_BOX = st.tuples(
    st.sampled_from([0.0, 3.5, 10.0, -500.0, 1e20]),  # left
    st.sampled_from([0.0, 2.5, 9.0, -1e20]),  # top
    st.sampled_from([0.5, 5.0, 20.0, 1e19]),  # width
    st.sampled_from([0.5, 6.0, 20.0, 1e19]),  # height
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.61, 1.0]),
)
_FRAMES = st.lists(st.lists(_BOX, max_size=6), min_size=1, max_size=15)


def frame_of(rows: list[tuple[float, ...]]) -> tuple[F64, F64]:
    """Read-only arrays, so that writing to them fails."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    high = table[:, :2] + table[:, 2:4]
    table = table[high[:, 1] > table[:, 1]]  # a height that is lost beside a far-off top is none
    xyxy, score = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1), table[:, 4].copy()
    xyxy.flags.writeable = score.flags.writeable = False
    return xyxy, score


@settings(deadline=None)
@given(_FRAMES, st.sampled_from(BOTH))
def test_every_row_is_one_detection_and_every_detection_at_most_one_row(
    frames: list[list[tuple[float, ...]]], make: Callable[[], FrameStepper]
) -> None:
    tracker, again = make(), make()
    for xyxy, score in map(frame_of, frames):
        rows = tracker.step(xyxy, score)
        assert len(set(rows.detection.tolist())) == len(set(rows.track_id.tolist())) == len(rows)
        np.testing.assert_array_equal(rows.score, score[rows.detection])
        assert set(rows.track_id.tolist()) <= set(tracker.held().tolist())
        same = again.step(xyxy, score)
        assert all(np.array_equal(getattr(rows, name), getattr(same, name), equal_nan=True) for name in Rows.__slots__)
