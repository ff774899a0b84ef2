from __future__ import annotations

import numpy as np
import pytest

from tests import worlds
from tests.fakes import make_detections
from watchline.detectors.detections import Detections
from watchline.trackers.build import TRACKERS, TrackerChoice, build_tracker
from watchline.trackers.native_byte_track import NATIVE
from watchline.trackers.tracker import Tracker
from watchline.trackers.tracks import Tracks, TrackState

KINDS = [(name, backend) for name in TRACKERS for backend in (("python", "native") if NATIVE else ("python",))]


def made(name: str, backend: str, *settings: str) -> Tracker:
    return build_tracker(TrackerChoice(name, settings=settings, backend=backend))


def walker(i: int) -> Detections:
    """Somebody who walks 3 pixels a frame to the right."""
    return make_detections((10 + 3 * i, 100, 60 + 3 * i, 220))


@pytest.mark.parametrize("box", ["filtered", "detection"])
@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_an_unseen_walker_is_reported_where_he_should_be_for_as_long_as_asked(
    name: str, backend: str, box: str
) -> None:
    tracker = made(name, backend, "coast_s=0.5", f"box={box}")
    for i in range(40):
        tracks = tracker.update(walker(i), i / 30)
        assert (tracks.state.tolist(), tracks.detection.tolist()) == ([TrackState.CONFIRMED], [0])
    for i in range(40, 60):
        tracks = tracker.update(Detections.empty(), i / 30)
        if i - 39 > 15:
            assert len(tracks) == 0
            continue
        assert (tracks.track_id.tolist(), tracks.state.tolist()) == ([1], [TrackState.LOST])
        assert (tracks.detection.tolist(), tracks.seen.tolist()) == ([-1], [False])
        assert tracks.score.tolist() == [np.float32(0.9)]
        assert np.abs(tracks.xyxy - walker(i).xyxy).max() < 6
    assert tracker.update(walker(60), 60 / 30).track_id.tolist() == [1]


@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_coasting_adds_rows_and_changes_none(name: str, backend: str) -> None:
    scene, added = worlds.crowd(30), 0
    plain, coasting = made(name, backend), made(name, backend, "coast_s=0.3")
    for frame, at in zip(scene.frames, scene.times, strict=True):
        ours, seen = coasting.update(frame, at), plain.update(frame, at)
        added += len(ours) - len(seen)
        assert (np.diff(ours.track_id) > 0).all()
        assert (ours.state == np.where(ours.seen, TrackState.CONFIRMED, TrackState.LOST)).all()
        for field in Tracks.__slots__:
            np.testing.assert_array_equal(getattr(ours[ours.seen], field), getattr(seen, field), err_msg=field)
    assert added > 50


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.skipif(not NATIVE, reason="needs the native build")
def test_both_backends_coast_alike(name: str) -> None:
    scene = worlds.crowd(60)
    native, python = made(name, "native", "coast_s=0.4"), made(name, "python", "coast_s=0.4")
    for frame, at in zip(scene.frames, scene.times, strict=True):
        ours, theirs = native.update(frame, at), python.update(frame, at)
        for field in Tracks.__slots__:
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)


@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_who_was_never_confirmed_does_not_coast(name: str, backend: str) -> None:
    tracker = made(name, backend, "coast_s=0.5")
    tracker.update(Detections.empty(), 0)
    assert len(tracker.update(walker(0), 1 / 30)) == 0
    assert len(tracker.update(Detections.empty(), 2 / 30)) == 0
