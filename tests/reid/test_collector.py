"""The collector: which pictures of whom are kept, when a tracklet is over, and what is said where none is good."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from tests.fakes import make_faces
from watchline.detectors.detections import FaceDetections
from watchline.reid.collector import Collector, CollectorSettings
from watchline.reid.tracklet import Tracklet
from watchline.streams.frame import U8, ClockSource, Frame, Picture, PixelFormat
from watchline.trackers.tracks import Tracks

LABELS = ("person", "car")
NOISE = np.random.default_rng(1).integers(0, 255, (360, 640, 3), np.uint8)
BLURRED = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 9), np.uint8)
BOX = (100.0, 60.0, 160.0, 220.0)
Box = tuple[float, float, float, float]


def frame(pts_s: float, rgb: U8 = NOISE, captured_at: float | None = None) -> Frame:
    wall_s = 1e9 + pts_s if captured_at is None else captured_at
    return Frame("yard", round(pts_s * 25), pts_s, wall_s, ClockSource.RTCP, Picture.from_rgb(rgb))


def tracks(*rows: tuple[int, Box], score: float = 0.9, class_id: int = 0, seen: bool = True) -> Tracks:
    n = len(rows)
    return Tracks(
        track_id=np.array([row[0] for row in rows], np.int64),
        xyxy=np.array([row[1] for row in rows], np.float32).reshape(n, 4),
        score=np.full(n, score, np.float32),
        class_id=np.full(n, class_id, np.int32),
        state=np.ones(n, np.uint8),
        age_s=np.zeros(n, np.float32),
        detection=np.arange(n, dtype=np.int32) if seen else np.full(n, -1, np.int32),
    )


def walk(times: Sequence[float], settings: CollectorSettings | None = None, box: Box = BOX) -> list[Tracklet]:
    collector = Collector("yard", LABELS, settings)
    ended = [tracklet for pts_s in times for tracklet in collector.look(frame(pts_s), tracks((7, box)))]
    return ended + collector.finish()


def test_a_tracklet_tells_who_where_and_when() -> None:
    (tracklet,) = walk([10 + i / 25 for i in range(50)])
    assert (tracklet.camera, tracklet.track_id, tracklet.part, tracklet.is_last) == ("yard", 7, 0, True)
    assert (tracklet.label, tracklet.clock, tracklet.frames, tracklet.reason) == ("person", ClockSource.RTCP, 50, "")
    assert [tracklet.start_pts_s, tracklet.end_pts_s] == pytest.approx([10.0, 11.96])
    assert [tracklet.started_at - 1e9, tracklet.ended_at - 1e9] == pytest.approx([10.0, 11.96])
    assert tracklet.best_score == pytest.approx(0.9)
    np.testing.assert_allclose(tracklet.path[:, 0], [*np.arange(10) / 5, 1.96], atol=1e-5)
    np.testing.assert_array_equal(tracklet.path[:, 1:], np.tile(np.array(BOX, np.float32), (11, 1)))


def test_pictures_are_spread_over_the_time_of_a_short_track_and_of_a_long_one() -> None:
    for lasts_s in (2.4, 10, 55):
        (tracklet,) = walk([i / 25 for i in range(int(lasts_s * 25))])
        times = np.array([crop.pts_s for crop in tracklet.crops])
        assert 3 <= len(times) <= 5
        assert np.diff(times).min() >= lasts_s / 10
        assert times[-1] >= lasts_s / 2


def test_a_sharp_and_a_large_picture_take_the_place_of_others_of_their_time() -> None:
    collector = Collector("yard", LABELS)
    small, large = (100.0, 60.0, 130.0, 130.0), (100.0, 60.0, 170.0, 230.0)
    shown = [(0.0, NOISE, small), (0.2, BLURRED, large), (0.4, NOISE, large)]
    for pts_s, rgb, box in shown:
        collector.look(frame(pts_s, rgb), tracks((1, box)))
    (tracklet,) = collector.finish()
    assert [crop.pts_s for crop in tracklet.crops] == [0.4]
    assert tracklet.crops[0].rgb.shape == (170, 70, 3)
    np.testing.assert_array_equal(tracklet.crops[0].rgb, NOISE[60:230, 100:170])


def test_pixels_are_not_touched_where_the_place_decides() -> None:
    def fail() -> U8:
        raise AssertionError("the pixels were asked for")

    blind = Frame("yard", 0, 0.2, 0.0, ClockSource.FILE, Picture(360, 640, PixelFormat.OTHER, (), fail))
    collector = Collector("yard", LABELS)
    collector.look(frame(0.0), tracks((1, (100, 10, 220, 300))))
    collector.look(blind, tracks((1, BOX), (2, (300, 60, 310, 80))))  # one is worse than what is kept, one too small
    collector.look(blind, tracks((1, BOX), class_id=1))
    collector.look(blind, tracks((1, BOX), seen=False))
    assert collector.gathered.looked == 1


def test_a_long_track_is_cut_into_parts_that_follow_each_other() -> None:
    parts = walk([i / 5 for i in range(5 * 25)], CollectorSettings(part_s=10))
    assert [(part.part, part.is_last, part.start_pts_s) for part in parts] == [
        (0, False, 0.0), (1, False, 10.0), (2, True, 20.0)
    ]  # fmt: skip
    assert [part.frames for part in parts] == [50, 50, 25]
    assert all(part.crops for part in parts)


def test_a_track_is_cut_where_the_size_of_its_frames_changes() -> None:
    collector = Collector("yard", LABELS)
    small = NOISE[::2, ::2].copy()
    ended = [
        tracklet
        for i in range(20)
        for tracklet in collector.look(frame(i / 25, NOISE if i < 10 else small), tracks((7, BOX)))
    ]
    first, second = ended + collector.finish()
    assert (first.part, first.is_last, first.frame_width, first.frame_height) == (0, False, 640, 360)
    assert (second.part, second.is_last, second.frame_width, second.frame_height) == (1, True, 320, 180)
    assert (first.frames, second.frames) == (10, 10)


def test_whoever_is_not_seen_for_long_is_over_and_who_comes_back_in_time_is_not() -> None:
    collector = Collector("yard", LABELS, CollectorSettings(end_after_s=5))
    collector.look(frame(0), tracks((1, BOX)))
    assert collector.look(frame(4.9), tracks((1, BOX))) == []
    assert collector.look(frame(9), tracks((1, BOX), seen=False)) == []
    (tracklet,) = collector.look(frame(10), Tracks.empty())
    assert (tracklet.is_last, tracklet.end_pts_s, tracklet.frames) == (True, 4.9, 2)
    assert collector.finish() == []


def test_a_wall_clock_that_is_set_does_not_spoil_a_tracklet() -> None:
    for jump_s in (-3600.0, 86400.0):
        collector = Collector("yard", LABELS)
        for i in range(50):
            wall_s = 1e9 + i / 25 + (jump_s if i >= 20 else 0)
            collector.look(frame(i / 25, captured_at=wall_s), tracks((1, BOX)))
        (tracklet,) = collector.finish()
        assert tracklet.started_at == 1e9
        assert tracklet.ended_at == pytest.approx(1e9 + 49 / 25)


def test_a_stream_clock_that_goes_back_ends_all_tracks() -> None:
    collector = Collector("yard", LABELS)
    collector.look(frame(100), tracks((1, BOX)))
    (tracklet,) = collector.look(frame(3), tracks((1, BOX)))
    assert (tracklet.start_pts_s, tracklet.is_last) == (100, True)
    assert collector.gathered.rewinds == 1


def test_the_best_reason_is_told_where_no_picture_is_good_enough() -> None:
    (far,) = walk([0, 0.2], box=(100, 60, 120, 91.4))
    assert (far.reason, far.crops) == ("too small: 31 px high at best, 48 wanted", ())
    collector = Collector("yard", LABELS)
    collector.look(frame(0), tracks((1, (100, 60, 160, 90))))
    collector.look(frame(0.2), tracks((1, BOX), (2, (95, 70, 200, 300))))
    behind, before = sorted(collector.finish(), key=lambda tracklet: tracklet.track_id)
    assert behind.reason == "hidden by others: 94 % of it at best, 50 % is the most"
    assert before.reason == ""
    assert dict(collector.gathered.without_crop) == {"hidden by others": 1}


def test_a_blurred_person_is_called_so() -> None:
    collector = Collector("yard", LABELS)
    collector.look(frame(0, np.full_like(NOISE, 90)), tracks((1, BOX)))
    (tracklet,) = collector.finish()
    assert tracklet.reason == "too blurred: sharpness 0.05 at best, 0.10 wanted"


def test_a_large_person_is_scaled_down() -> None:
    tall = np.random.default_rng(2).integers(0, 255, (1200, 800, 3), np.uint8)
    collector = Collector("yard", LABELS)
    collector.look(frame(0, tall), tracks((1, (100, 100, 500, 1100))))
    ((crop,),) = (tracklet.crops for tracklet in collector.finish())
    assert crop.rgb.shape == (384, 154, 3)
    assert crop.xyxy.tolist() == [100, 100, 500, 1100]


def test_faces_are_kept_with_their_landmarks_in_the_picture() -> None:
    face = make_faces((110, 70, 150, 120))
    asked: list[int] = []

    def faces(row: int) -> FaceDetections:
        asked.append(row)
        return face

    collector = Collector("yard", LABELS)
    collector.look(frame(0), tracks((1, BOX)), faces)
    ((crop,),) = (tracklet.faces for tracklet in collector.finish())
    assert asked == [0]
    assert crop.rgb.shape == (80, 64, 3)  # with what is around it
    np.testing.assert_allclose(crop.landmarks, face.landmarks[0] - [98, 55], atol=1e-4)
    assert crop.xyxy.tolist() == [110, 70, 150, 120]


def test_a_profile_does_not_take_the_place_of_a_face_seen_from_the_front() -> None:
    front, side = make_faces((110, 70, 150, 120)), make_faces((110, 70, 150, 120))
    side.landmarks[0, 2, 0] = side.landmarks[0, 1, 0]
    collector = Collector("yard", LABELS)
    for i, face in enumerate((side, front, side)):
        collector.look(frame(i * 0.15), tracks((1, BOX)), lambda _, face=face: face)  # type: ignore[misc]
    ((crop,),) = (tracklet.faces for tracklet in collector.finish())
    assert crop.pts_s == 0.15


def test_the_back_of_a_head_that_a_detector_half_believes_in_is_no_face() -> None:
    collector = Collector("yard", LABELS)
    collector.look(frame(0), tracks((1, BOX)), lambda _: make_faces((110, 70, 150, 120), score=0.45))
    (tracklet,) = collector.finish()
    assert tracklet.faces == ()


def test_no_more_tracks_than_allowed_are_followed_and_the_rest_is_counted() -> None:
    collector = Collector("yard", LABELS, CollectorSettings(most_tracks=2))
    crowd = [(i, (i * 90.0, 60.0, i * 90.0 + 60, 220.0)) for i in range(1, 5)]
    assert collector.look(frame(0), tracks(*crowd)) == []
    assert collector.gathered.refused == 2
    (early,) = collector.look(frame(0.2), tracks(crowd[0], crowd[3]))  # the second is not in sight
    assert (early.track_id, early.is_last) == (2, True)
    assert collector.gathered.ended_early == 1


def test_where_memory_is_short_whoever_has_the_most_pictures_gives_up_the_worst() -> None:
    one = 160 * 60 * 3
    collector = Collector("yard", LABELS, CollectorSettings(most_bytes=3 * one))
    for i in range(3):
        collector.look(frame(i * 0.6), tracks((1, BOX)))
    collector.look(frame(1.8), tracks((2, BOX)))
    tracklets = {tracklet.track_id: tracklet for tracklet in collector.finish()}
    assert [len(tracklets[i].crops) for i in (1, 2)] == [2, 1]
    assert collector.gathered.given_up == 1


@pytest.mark.parametrize("wrong", [{"crops": 0}, {"part_s": 0.0}, {"end_after_s": float("nan")}, {"most_path": 3}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="want"):
        CollectorSettings(**wrong)  # type: ignore[arg-type]
