"""Laws of the collector: whatever frames come, every sight ends in one tracklet, in bounded memory, and times agree."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import make_faces
from watchline.detectors.detections import FaceDetections
from watchline.reid.collector import Collector, CollectorSettings
from watchline.reid.quality import FACE_GATE, Gate
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.frame import ClockSource, Frame, Picture
from watchline.trackers.tracks import Tracks, TrackState

LABELS = ("person", "car")
PIXELS = np.random.default_rng(3).integers(0, 255, (60, 80, 3), np.uint8)
PIXELS.flags.writeable = False

_BOXES = st.tuples(st.integers(-20, 80), st.integers(-20, 60), st.integers(0, 50), st.integers(0, 60))
_ROWS = st.tuples(
    st.integers(1, 6),  # track id
    _BOXES,
    st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0]),
    st.sampled_from([0, 0, 0, 1]),  # class
    st.booleans(),  # is it seen?
)
_STEPS = st.tuples(
    st.sampled_from([0.0, 0.04, 0.04, 0.3, 1.0, 4.0, 30.0]),  # since the frame before
    st.sampled_from([0.0, 0.0, 0.0, -3600.0, 86400.0]),  # the wall clock is set meanwhile
    st.lists(_ROWS, max_size=6, unique_by=lambda row: row[0]),
)
_SETTINGS = st.builds(
    CollectorSettings,
    crops=st.integers(1, 5),
    faces=st.integers(0, 2),
    slot_s=st.sampled_from([0.04, 0.5, 10.0]),
    look_s=st.sampled_from([0.0, 0.1]),
    part_s=st.sampled_from([0.1, 2.0, 60.0]),
    end_after_s=st.sampled_from([0.05, 1.0, 5.0]),
    path_hz=st.sampled_from([1.0, 100.0]),
    most_path=st.integers(4, 8),
    most_height=st.sampled_from([10, 384]),
    most_width=st.sampled_from([8, 192]),
    gate=st.sampled_from([Gate(), Gate(2, 2, 40, 0.2, 0.9, 0.0, (0, 100))]),
    face_gate=st.sampled_from([FACE_GATE, Gate(2, 2, 40, 0.2, 1.0, 0.0, (0, 100))]),
)
_Row = tuple[int, tuple[int, int, int, int], float, int, bool]
_Step = tuple[float, float, list[_Row]]


@dataclass(frozen=True)
class _Shown:
    """A frame as it was shown to the collector."""

    frame: Frame
    tracks: Tracks

    @property
    def people(self) -> list[int]:
        return [int(i) for i in self.tracks.track_id[self.tracks.seen & (self.tracks.class_id == 0)]]


def _shown(steps: list[_Step]) -> list[_Shown]:
    pts_s, wall_s, shown = 10.0, 1e9, []
    for i, (wait_s, set_by_s, rows) in enumerate(steps):
        pts_s += wait_s
        wall_s += wait_s + set_by_s
        xyxy = [(x, y, x + w, y + h) for _, (x, y, w, h), _, _, _ in rows]
        tracks = Tracks(
            track_id=np.array([row[0] for row in rows], np.int64),
            xyxy=np.array(xyxy, np.float32).reshape(-1, 4),
            score=np.array([row[2] for row in rows], np.float32),
            class_id=np.array([row[3] for row in rows], np.int32),
            state=np.full(len(rows), TrackState.CONFIRMED, np.uint8),
            age_s=np.zeros(len(rows), np.float32),
            detection=np.array([j if row[4] else -1 for j, row in enumerate(rows)], np.int32),
        )
        frame = Frame("yard", i, pts_s, wall_s, ClockSource.ARRIVAL, Picture.from_rgb(PIXELS))
        shown.append(_Shown(frame, tracks))
    return shown


def _faces_of(tracks: Tracks) -> dict[int, FaceDetections]:
    return {
        int(row): make_faces((x1 + 1, y1 + 1, x1 + 12, y1 + 14))
        for row, (x1, y1, _, _) in zip(tracks.detection, tracks.xyxy.tolist(), strict=True)
    }


def _collect(shown: list[_Shown], collector: Collector) -> list[Tracklet]:
    tracklets = [
        tracklet
        for each in shown
        for tracklet in collector.look(each.frame, each.tracks, _faces_of(each.tracks).__getitem__)
    ]
    return tracklets + collector.finish()


@settings(deadline=None)
@given(st.lists(_STEPS, max_size=25), _SETTINGS)
def test_every_sight_of_a_person_lies_in_one_tracklet_and_parts_do_not_overlap(
    steps: list[_Step], option: CollectorSettings
) -> None:
    shown = _shown(steps)
    tracklets = _collect(shown, Collector("yard", LABELS, option))
    seen, told = defaultdict(list), defaultdict(list)
    for each in shown:
        for track_id in each.people:
            seen[track_id].append(each.frame.pts_s)
    for tracklet in tracklets:
        told[tracklet.track_id].append(tracklet)
    assert seen.keys() == told.keys()
    for track_id, parts in told.items():
        assert (parts[0].start_pts_s, parts[-1].end_pts_s) == (seen[track_id][0], seen[track_id][-1])
        for before, after in pairwise(parts):
            assert before.end_pts_s <= after.start_pts_s
            assert after.part == (0 if before.is_last else before.part + 1)
        assert parts[-1].is_last
        assert sum(part.frames for part in parts) == len(seen[track_id])
        for part in parts:
            assert {part.start_pts_s, part.end_pts_s} <= set(seen[track_id])
            assert part.end_pts_s - part.start_pts_s <= option.part_s


@settings(deadline=None)
@given(st.lists(_STEPS, max_size=25), _SETTINGS)
def test_pictures_are_few_in_order_of_time_and_copies(steps: list[_Step], option: CollectorSettings) -> None:
    for tracklet in _collect(_shown(steps), Collector("yard", LABELS, option)):
        assert len(tracklet.crops) <= option.crops
        assert len(tracklet.faces) <= option.faces
        assert bool(tracklet.crops) == (tracklet.reason == "")
        for crops in (tracklet.crops, tracklet.faces):
            _assert_pictures(crops, tracklet, option)


def _assert_pictures(crops: tuple[Crop, ...], tracklet: Tracklet, option: CollectorSettings) -> None:
    times = [crop.pts_s for crop in crops]
    assert times == sorted(times)
    for crop in crops:
        assert tracklet.start_pts_s <= crop.pts_s <= tracklet.end_pts_s
        assert not np.shares_memory(crop.rgb, PIXELS)
        assert crop.rgb.base is None or crop.rgb.base.nbytes <= crop.rgb.nbytes
        assert 0 < crop.rgb.shape[0] <= option.most_height
        assert 0 < crop.rgb.shape[1] <= option.most_width
        assert 0 < crop.quality <= 1


@settings(deadline=None)
@given(st.lists(_STEPS, max_size=25), _SETTINGS)
def test_the_times_of_a_tracklet_and_its_path_agree_whatever_the_clocks_do(
    steps: list[_Step], option: CollectorSettings
) -> None:
    for tracklet in _collect(_shown(steps), Collector("yard", LABELS, option)):
        lasted_s = tracklet.end_pts_s - tracklet.start_pts_s
        assert lasted_s >= 0
        assert tracklet.ended_at >= tracklet.started_at
        assert abs((tracklet.ended_at - tracklet.started_at) - lasted_s) < 1e-3
        times = tracklet.path[:, 0]
        assert 1 <= len(times) <= option.most_path
        assert (np.diff(times) >= 0).all()
        assert times[0] == 0
        assert abs(times[-1] - lasted_s) < 1e-3


@settings(deadline=None)
@given(
    st.lists(_STEPS, max_size=25),
    st.integers(1, 4),
    st.sampled_from([0, 500, 4000]),
)
def test_what_is_held_is_bounded(steps: list[_Step], most_tracks: int, most_bytes: int) -> None:
    option = CollectorSettings(
        most_tracks=most_tracks, most_bytes=most_bytes, gate=Gate(2, 2, 40, 0.2, 0.9, 0.0, (0, 100)), look_s=0
    )
    collector = Collector("yard", LABELS, option)
    shown, tracklets = _shown(steps), []
    for each in shown:
        tracklets += collector.look(each.frame, each.tracks, _faces_of(each.tracks).__getitem__)
        held = list(collector._open.values())
        assert len(held) <= most_tracks
        assert sum(part.body.size_bytes + part.face.size_bytes for part in held) == collector._bytes <= most_bytes
    tracklets += collector.finish()
    assert not collector._open
    assert collector._bytes == 0
    gathered = collector.gathered
    assert gathered.tracklets == len(tracklets)
    assert sum(gathered.without_crop.values()) == sum(not tracklet.crops for tracklet in tracklets)
    assert sum(tracklet.frames for tracklet in tracklets) + gathered.refused == sum(len(e.people) for e in shown)


@settings(deadline=None)
@given(st.lists(_STEPS, min_size=1, max_size=10), st.lists(_STEPS, min_size=1, max_size=10))
def test_a_stream_clock_that_goes_back_ends_what_was_before(first: list[_Step], second: list[_Step]) -> None:
    collector = Collector("yard", LABELS)
    before, after = _shown([(1000.0, 0.0, []), *first]), _shown(second)
    early = [t for each in before for t in collector.look(each.frame, each.tracks)]
    late = collector.look(after[0].frame, after[0].tracks)
    late += [t for each in after[1:] for t in collector.look(each.frame, each.tracks)] + collector.finish()
    if after[-1].frame.pts_s < before[0].frame.pts_s:
        assert collector.gathered.rewinds == 1
    for tracklet in early + late:
        assert tracklet.end_pts_s >= tracklet.start_pts_s
    assert sum(t.frames for t in early + late) == sum(len(each.people) for each in before + after)
