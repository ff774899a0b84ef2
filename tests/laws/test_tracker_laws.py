from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from watchline.detectors.detections import Detections
from watchline.trackers.byte_track import ByteTrack, ByteTrackOptions
from watchline.trackers.oc_sort import OcSort, OcSortOptions
from watchline.trackers.tracker import Tracker
from watchline.trackers.tracks import Tracks, TrackState

_ROWS = st.tuples(
    st.floats(-20, 60, width=16),  # left
    st.floats(-20, 60, width=16),  # top
    st.floats(1, 40, width=16),  # width
    st.floats(1, 40, width=16),  # height
    st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.55, 0.6, 0.9, 1.0]),
    st.integers(0, 1),
)


@st.composite
def _detections(draw: st.DrawFn) -> Detections:
    """A crowd in a small room, where everything overlaps; read-only, so that writing to it fails."""
    rows = np.array(draw(st.lists(_ROWS, max_size=6)), np.float32).reshape(-1, 6)
    found = Detections(
        np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1), rows[:, 4], rows[:, 5].astype(np.int32)
    )
    for array in (found.xyxy, found.score, found.class_id):
        array.flags.writeable = False
    return found


_FRAMES = st.lists(st.tuples(_detections(), st.sampled_from([1, 1, 1, 4, 40])), min_size=1, max_size=12)
_BYTE_TRACK = st.builds(
    ByteTrackOptions,
    fuse_score=st.booleans(),
    box=st.sampled_from(["filtered", "detection"]),
    lost_s=st.sampled_from([0.2, 1.0, 3.0]),
    duplicate_iou=st.sampled_from([0.3, 0.85]),
)
_OC_SORT = st.builds(
    OcSortOptions,
    low_score=st.sampled_from([0.1, 0.6]),
    inertia=st.sampled_from([0.0, 0.2, 1.0]),
    direction_s=st.sampled_from([0.0, 0.1]),
    confirm_hits=st.sampled_from([1, 2, 3]),
    box=st.sampled_from(["filtered", "detection"]),
    lost_s=st.sampled_from([0.2, 1.0, 3.0]),
)
_Options = ByteTrackOptions | OcSortOptions
_OPTIONS = st.one_of(_BYTE_TRACK, _OC_SORT)
_Frames = list[tuple[Detections, int]]


def _follow(frames: _Frames, options: _Options, start_s: float = 0) -> list[Tracks]:
    tracker: Tracker = OcSort(options) if isinstance(options, OcSortOptions) else ByteTrack(options)
    ticks = 0
    tracks = []
    for detections, wait in frames:
        ticks += wait
        tracks.append(tracker.update(detections, start_s + ticks / 30))
    return tracks


def _assert_same(a: list[Tracks], b: list[Tracks], but: str = "") -> None:
    for one, other in zip(a, b, strict=True):
        for name in set(Tracks.__slots__) - {but}:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@settings(deadline=None)
@given(_FRAMES, _OPTIONS)
def test_every_track_is_one_detection_and_every_detection_at_most_one_track(frames: _Frames, options: _Options) -> None:
    for tracks, (detections, _) in zip(_follow(frames, options), frames, strict=True):
        assert (np.diff(tracks.track_id) > 0).all()
        assert len(set(tracks.detection.tolist())) == len(tracks)
        assert ((tracks.detection >= 0) & (tracks.detection < len(detections))).all()
        np.testing.assert_array_equal(tracks.class_id, detections.class_id[tracks.detection])
        np.testing.assert_array_equal(tracks.score, detections.score[tracks.detection])
        assert (tracks.state == TrackState.CONFIRMED).all()
        assert np.isfinite(tracks.xyxy).all()
        assert (tracks.xyxy[:, 2:] > tracks.xyxy[:, :2]).all()
        assert (tracks.age_s >= 0).all()


@settings(deadline=None)
@given(_FRAMES, _OPTIONS)
def test_an_id_keeps_its_class_and_its_birthday(frames: _Frames, options: _Options) -> None:
    class_of: dict[int, int] = {}
    born: dict[int, float] = {}
    ticks = 0
    for tracks, (_, wait) in zip(_follow(frames, options), frames, strict=True):
        ticks += wait
        for track_id, class_id, age_s in zip(tracks.track_id, tracks.class_id, tracks.age_s, strict=True):
            assert class_of.setdefault(int(track_id), int(class_id)) == class_id
            assert abs(born.setdefault(int(track_id), ticks / 30 - float(age_s)) - (ticks / 30 - float(age_s))) < 1e-4


@settings(deadline=None)
@given(_FRAMES, _OPTIONS)
def test_the_same_input_gives_the_same_tracks_and_stays_as_it_was(frames: _Frames, options: _Options) -> None:
    before = [(d.xyxy.copy(), d.score.copy(), d.class_id.copy()) for d, _ in frames]
    _assert_same(_follow(frames, options), _follow(frames, options))
    for (detections, _), (xyxy, score, class_id) in zip(frames, before, strict=True):
        np.testing.assert_array_equal(detections.xyxy, xyxy)
        np.testing.assert_array_equal(detections.score, score)
        np.testing.assert_array_equal(detections.class_id, class_id)


@settings(deadline=None)
@given(_FRAMES, _OPTIONS, st.floats(-1e9, 1e9))
def test_the_zero_of_time_does_not_matter(frames: _Frames, options: _Options, start_s: float) -> None:
    _assert_same(_follow(frames, options), _follow(frames, options, start_s))


@settings(deadline=None)
@given(_FRAMES, _OPTIONS, st.integers(0, 2**32 - 1))
def test_the_order_of_detections_changes_only_their_row_numbers(frames: _Frames, options: _Options, seed: int) -> None:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(detections)) for detections, _ in frames]
    shuffled = [(detections[order], wait) for (detections, wait), order in zip(frames, orders, strict=True)]
    plain, other = _follow(frames, options), _follow(shuffled, options)
    _assert_same(plain, other, but="detection")
    for a, b, (detections, _), order in zip(plain, other, frames, orders, strict=True):
        np.testing.assert_array_equal(detections.xyxy[a.detection], detections.xyxy[order[b.detection]])
