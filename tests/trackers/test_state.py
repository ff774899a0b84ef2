from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from tests import worlds
from tests.fakes import make_detections
from watchline.streams.errors import UsageError
from watchline.trackers.build import PRESETS, TRACKERS, TrackerChoice, build_tracker
from watchline.trackers.native_byte_track import NATIVE
from watchline.trackers.state import TrackerState
from watchline.trackers.tracker import Tracker, TrackIds
from watchline.trackers.tracks import Tracks

BACKENDS = ("python", "native") if NATIVE else ("python",)
KINDS = [(name, backend) for name in TRACKERS for backend in BACKENDS]


def made(name: str, backend: str = "python", preset: str = "default", ids: TrackIds | None = None) -> Tracker:
    return build_tracker(TrackerChoice(name, preset, backend=backend), ids=ids)


def assert_same(ours: Tracks, theirs: Tracks) -> None:
    for name in Tracks.__slots__:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


def follow(tracker: Tracker, frames: range, scene: worlds.World) -> list[Tracks]:
    return [tracker.update(scene.frames[i], scene.times[i]) for i in frames]


@pytest.mark.parametrize(("name", "backend"), KINDS)
@pytest.mark.parametrize("other", BACKENDS)
@pytest.mark.parametrize("stop", [0, 1, 2, 40])
def test_a_restart_changes_nothing_whichever_backend_goes_on(name: str, backend: str, other: str, stop: int) -> None:
    scene = worlds.crowd(30, 80)
    first, second = made(name, backend), made(name, other)
    follow(first, range(stop), scene)
    second.restore(TrackerState.from_bytes(first.save().to_bytes()))
    for ours, theirs in zip(follow(second, range(stop, 80), scene), follow(first, range(stop, 80), scene), strict=True):
        assert_same(ours, theirs)
        assert len(theirs)


@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_saving_changes_nothing_and_what_was_saved_stays_as_it_was(name: str, backend: str) -> None:
    scene = worlds.crowd(10, 40)
    plain, saved = made(name, backend), made(name, backend)
    for i in range(20):
        assert_same(saved.update(scene.frames[i], scene.times[i]), plain.update(scene.frames[i], scene.times[i]))
        state = saved.save()
    before = state.to_bytes()
    follow(saved, range(20, 40), scene)
    assert state.to_bytes() == before


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_no_id_is_given_twice_across_a_restart(name: str, backend: str, preset: str) -> None:
    scene = worlds.crowd(10, 40)
    before, after = made(name, backend, preset), made(name, backend, preset)
    seen = {int(i) for tracks in follow(before, range(10), scene) for i in tracks.track_id}
    state = before.save()
    after.restore(state)
    after.reset()  # whatever becomes of the tracks
    later = {int(i) for tracks in follow(after, range(10, 40), scene) for i in tracks.track_id}
    assert min(later) >= state.next_id > max(seen)


def test_ids_that_have_gone_further_do_not_go_back() -> None:
    ids = TrackIds(first=500)
    tracker = made("bytetrack", ids=ids)
    tracker.restore(made("bytetrack").save())
    assert tracker.update(make_detections((10, 10, 60, 110)), 0).track_id.tolist() == [500]


@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_an_outage_can_be_made_as_if_it_had_not_been(name: str, backend: str) -> None:
    still = make_detections((10, 10, 60, 110))
    before, cold, warm = made(name, backend), made(name, backend), made(name, backend)
    for i in range(30):
        before.update(still, i / 30)
    state = before.save()
    cold.restore(state)
    assert 1 not in cold.update(still, 3600.0).track_id  # an hour unseen: another one, or the same, who knows
    warm.restore(state.moved_to(3600.0 - 1 / 30))
    tracks = warm.update(still, 3600.0)
    assert tracks.track_id.tolist() == [1]
    assert tracks.age_s.tolist() == [1.0]


def test_a_tracker_that_saw_no_frame_yet_can_be_saved_and_moved() -> None:
    state = made("ocsort").save().moved_to(100.0)
    assert (state.now_s, state.next_id, len(state.live)) == (-math.inf, 1, 0)
    assert TrackerState.from_bytes(state.to_bytes()).now_s == -math.inf
    with pytest.raises(UsageError, match="now_s is nan; want the time of the last frame in seconds"):
        state.moved_to(math.nan)


def saved(name: str = "bytetrack") -> TrackerState:
    tracker = made(name)
    follow(tracker, range(10), worlds.crowd(10, 10))
    return tracker.save()


@pytest.mark.parametrize("name", TRACKERS)
def test_a_saved_track_takes_less_than_a_kilobyte(name: str) -> None:
    state = saved(name)
    assert len(state.to_bytes()) < 1500 + 1000 * len(state.live)


def test_every_damaged_byte_is_noticed() -> None:
    data, good = saved().to_bytes(), 0
    for i in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[i] ^= 0x15
        try:
            again = TrackerState.from_bytes(bytes(damaged))
            made("bytetrack").restore(again)
            good += 1  # only numbers of the head, which no checksum covers
        except UsageError as error:
            assert "start without them" in str(error)
    assert good < 12


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"[]\n", b"x" * 5000, b"\x93NUMPY", saved().to_bytes()[:-1]])
def test_what_is_no_saved_state_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(UsageError, match=f"^{len(data)} bytes are no saved tracks, or damaged; start without them"):
        TrackerState.from_bytes(data)


def test_a_state_of_a_later_version_is_refused() -> None:
    head, _, table = saved().to_bytes().partition(b"\n")
    later = json.dumps({**json.loads(head), "version": 2}).encode() + b"\n" + table
    with pytest.raises(UsageError, match=r"^saved tracks of version 2, known here: 1; start without them$"):
        TrackerState.from_bytes(later)


@pytest.mark.parametrize(("name", "backend"), KINDS)
def test_the_state_of_another_tracker_is_refused_and_nothing_changes(name: str, backend: str) -> None:
    other = next(each for each in TRACKERS if each != name)
    tracker, still = made(name, backend), make_detections((10, 10, 60, 110))
    tracker.update(still, 0)
    with pytest.raises(UsageError, match=f"^saved tracks are of {other}, not of {name}; start without them$"):
        tracker.restore(saved(other))
    assert tracker.update(still, 1 / 30).track_id.tolist() == [1]


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("track_id", 0, "ids do not ascend from 1 to below"),
        ("track_id", 10**12, "ids do not ascend from 1 to below"),
        ("state", 3, "state holds what no tracker saves"),
        ("seen_s", math.nan, "seen_s holds"),
        ("born_s", 1e9, "born_s holds"),
        ("score", math.inf, "score holds"),
        ("motion", np.nan, "motion holds"),
        ("motion", -1.0, "motion holds"),  # variances too
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_that_no_tracker_would_save_are_refused(backend: str, field: str, value: float, problem: str) -> None:
    state = saved()
    live = state.live.copy()
    if field == "motion":
        for name in live["motion"].dtype.names or ():
            live["motion"][name][3] = value
    else:
        live[field][3] = value
    with pytest.raises(UsageError, match=f"saved tracks of bytetrack cannot be used: {problem}"):
        made("bytetrack", backend).restore(dataclasses.replace(state, live=live))


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_another_layout_are_refused(backend: str) -> None:
    state = dataclasses.replace(saved(), live=np.zeros(1, [("track_id", np.int64)]))
    with pytest.raises(UsageError, match="cannot be used: another version of watchline made them; start without"):
        made("bytetrack", backend).restore(state)
