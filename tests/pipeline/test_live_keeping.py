from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import worlds
from tests.fakes import make_detections, make_frame
from tests.pipeline.live_outcomes import AT, make_outcome, wait_until
from watchline.pipeline.live.keeping import BLOCK, Keeper
from watchline.pipeline.live.kept import BRIDGED_S, Kept, Snapshot, kept_from, kept_to_bytes, mark_from, mark_to_bytes
from watchline.streams.errors import UsageError
from watchline.trackers.build import TRACKERS, TrackerChoice, build_tracker
from watchline.trackers.state import TrackerState
from watchline.trackers.tracker import Tracker

NO_TRACKS = np.empty(0, [("track_id", np.int64)])


def walked(tracker: Tracker, frames: range) -> list[int]:
    """Ids of someone who stands still, in frames five a second."""
    ids: list[int] = []
    for i in frames:
        ids += tracker.update(make_detections((10, 10, 30, 60)), i / 5).track_id.tolist()
    return ids


def run(folder: Path, frames: range, begun_at: float, name: str = "bytetrack") -> list[int]:
    """One life of a camera: its tracker goes on from what was kept, and is saved at the end."""
    keeper = Keeper(folder)
    tracker = build_tracker(TrackerChoice(name), 0.2, 0.25, ids=keeper.ids("cam"))
    kept = keeper.load("cam")
    if kept:
        assert kept.give_to(tracker, make_outcome(0, at=begun_at, pts_s=frames[0] / 5).frame) == ""
    ids = walked(tracker, frames)
    keeper.follow("cam", lambda: Snapshot(tracker.save(), begun_at + (len(frames) - 1) / 5))
    keeper.close()
    return ids


@pytest.mark.parametrize("name", TRACKERS)
def test_a_short_restart_ends_no_track_although_the_streams_time_begins_anew(tmp_path: Path, name: str) -> None:
    before = run(tmp_path, range(1000, 1020), AT, name)
    after = run(tmp_path, range(1, 20), AT + 4.3, name)
    assert set(before) == set(after) == {1}


def test_a_long_restart_ends_them_and_ids_go_on(tmp_path: Path) -> None:
    assert set(run(tmp_path, range(20), AT)) == {1}
    assert set(run(tmp_path, range(20), AT + 600)) == {2}
    assert set(run(tmp_path, range(20), AT + 1200)) == {3}


def test_a_clock_that_fell_back_in_between_ends_no_track(tmp_path: Path) -> None:
    assert set(run(tmp_path, range(20), AT)) == {1}
    assert set(run(tmp_path, range(20), AT - 3600)) == {1}


@given(st.floats(0, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_the_next_frame_is_always_later_than_the_state(last_s: float, passed_s: float, first_s: float) -> None:
    kept = Kept(TrackerState("bytetrack", last_s, 5, NO_TRACKS), AT)
    state = kept.state_at(make_outcome(0, at=AT + passed_s, pts_s=first_s).frame)
    assert state.now_s < first_s
    counts_s = passed_s if passed_s > BRIDGED_S else 0.001  # a short restart ends no track
    assert first_s - state.now_s == pytest.approx(counts_s, abs=1e-6)


@pytest.mark.parametrize("name", TRACKERS)
@given(st.floats(0, 1e6), st.floats(-1e4, 1e4), st.floats(0, 1e6))
@settings(max_examples=50, deadline=None)
def test_what_was_kept_is_taken_whatever_the_clocks_say(
    name: str, begun_s: float, passed_s: float, first_s: float
) -> None:
    tracker = build_tracker(TrackerChoice(name), 0.2, 0.25)
    for i in range(3):
        tracker.update(make_detections((10, 10, 30, 60)), begun_s + i / 5)
    first = make_outcome(0, at=AT + passed_s, pts_s=first_s).frame
    fresh = build_tracker(TrackerChoice(name), 0.2, 0.25)
    assert Kept(tracker.save(), AT).give_to(fresh, first) == ""
    fresh.update(make_detections((10, 10, 30, 60)), first_s)


def test_a_tracker_that_had_no_frame_can_be_kept() -> None:
    kept = kept_from(kept_to_bytes("cam", Snapshot(TrackerState("bytetrack", -np.inf, 1, NO_TRACKS), AT)))
    assert kept.state_at(make_frame()).now_s == -np.inf


def test_another_kind_of_tracker_begins_without_and_its_ids_go_on(tmp_path: Path) -> None:
    run(tmp_path, range(20), AT)
    keeper = Keeper(tmp_path)
    tracker = build_tracker(TrackerChoice("ocsort"), 0.2, 0.25, ids=keeper.ids("cam"))
    kept = keeper.load("cam")
    assert kept
    sentence = kept.give_to(tracker, make_outcome(0, at=AT + 5).frame)
    assert sentence == 'camera "cam": saved tracks are of bytetrack, not of ocsort; start without them'
    assert set(walked(tracker, range(1, 20))) == {2}
    keeper.close()


# Ids.


def test_ids_go_on_without_a_hole_after_an_orderly_end(tmp_path: Path) -> None:
    given: list[int] = []
    for _ in range(5):
        keeper = Keeper(tmp_path)
        ids = keeper.ids("cam")
        given += [ids.next() for _ in range(7)]
        keeper.close()
    assert given == list(range(1, 36))


def test_the_mark_is_on_disk_before_ids_are_given_and_moves_ahead_in_time(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    ids = keeper.ids("cam")
    path = tmp_path / "state" / "cam.ids"
    for _ in range(20 * BLOCK):
        mark = ids.mark
        assert ids.next() < mark
        assert mark <= mark_from(path.read_bytes())
        if ids.is_short:
            wait_until(lambda: not ids.is_short)
    assert keeper.status().unsaved_ids == 0
    keeper.close()
    assert mark_from(path.read_bytes()) == 20 * BLOCK + 1


def test_a_keeper_that_did_not_end_leaves_a_hole_and_no_id_twice(tmp_path: Path) -> None:
    first = Keeper(tmp_path)
    given = {first.ids("cam").next() for _ in range(1)}  # and then the power fails
    second = Keeper(tmp_path)
    later = second.ids("cam").next()
    assert later == BLOCK + 1
    assert later not in given
    second.close()


def test_the_same_camera_has_the_same_ids(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    assert keeper.ids("cam") is keeper.ids("cam")
    assert keeper.ids("cam").next() == 1
    keeper.remove("cam")
    assert keeper.ids("cam").next() == 2
    keeper.close()


def test_ids_begin_beyond_the_journals_highest(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, {"cam": 5000}.__getitem__)
    assert keeper.ids("cam").next() == 5001
    keeper.close()


def test_a_disk_that_refuses_makes_nobody_wait_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    keeper = Keeper(tmp_path)
    ids = keeper.ids("cam")
    begun = time.monotonic()
    assert [ids.next() for _ in range(3)] == [1, 2, 3]
    assert time.monotonic() - begun < 0.5
    status = keeper.status()
    assert status.unsaved_ids == 3
    assert status.failing
    assert "tried again" in status.sentence
    (tmp_path / "state").unlink()
    wait_until(lambda: not keeper.status().failing)
    assert mark_from((tmp_path / "state" / "cam.ids").read_bytes()) == 4 + BLOCK
    ids.next()
    assert keeper.status().unsaved_ids == 3
    keeper.close()


@given(st.lists(st.one_of(st.integers(1, 3000), st.sampled_from(["crash", "end"])), max_size=12))
@settings(max_examples=25, deadline=None)
def test_no_id_is_given_twice_however_runs_end(
    tmp_path_factory: pytest.TempPathFactory, story: list[int | str]
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    seen: set[int] = set()
    keepers = [Keeper(folder)]
    for step in story:
        if isinstance(step, int):
            ids = keepers[-1].ids("cam")
            given = [ids.next() for _ in range(step)]
            assert seen.isdisjoint(given)
            assert max(seen, default=0) < given[0]
            seen |= set(given)
            if keepers[-1].status().unsaved_ids:
                wait_until(lambda ids=ids: ids.mark > ids.upcoming)  # type: ignore[misc]
        else:
            if step == "end":
                keepers[-1].close()
            else:
                keepers[-1]._cameras = {}  # it saves nothing more
                keepers[-1].close()
            keepers.append(Keeper(folder))
    keepers[-1].close()


# Files.


def test_states_are_saved_now_and_then_and_not_again_while_nothing_changes(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, save_s=0.02)
    now = [1.0]
    keeper.follow("cam", lambda: Snapshot(TrackerState("bytetrack", now[0], 5, NO_TRACKS), AT + now[0]))
    wait_until(lambda: keeper.status().saved == 1)
    time.sleep(0.1)
    assert keeper.status().saved == 1
    now[0] = 2.0
    wait_until(lambda: keeper.status().saved == 2)
    kept = keeper.load("cam")
    assert kept
    assert kept.captured_at == AT + 2.0
    keeper.close()


def test_saving_holds_no_lock_that_a_lane_waits_for(tmp_path: Path) -> None:
    lane = threading.Lock()
    keeper = Keeper(tmp_path, save_s=0.001)
    ids = keeper.ids("cam")

    def snapshot() -> Snapshot:
        with lane:
            return Snapshot(TrackerState("bytetrack", time.monotonic(), ids.upcoming, NO_TRACKS), AT)

    keeper.follow("cam", snapshot)
    for _ in range(300):
        with lane:
            [ids.next() for _ in range(50)]
            keeper.ids("other")
            keeper.status()
    wait_until(lambda: keeper.status().saved > 3)
    keeper.close()


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x00" * 1000, b'{"form":"watchline kept tracks","version":1}\n'])
def test_a_damaged_state_is_put_aside_and_ids_go_on_from_the_mark(tmp_path: Path, damage: bytes) -> None:
    run(tmp_path, range(20), AT)
    for _ in range(2):
        (tmp_path / "state" / "cam.tracks").write_bytes(damage)
        keeper = Keeper(tmp_path)
        assert keeper.load("cam") is None
        assert keeper.ids("cam").upcoming == 2
        status = keeper.status()
        assert status.damaged == 1
        assert "cam.tracks" in status.sentence
        assert "put aside as cam.tracks.damaged" in status.sentence
        keeper.close()
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["cam.ids", "cam.tracks.damaged"]


def test_a_file_larger_than_any_state_is_not_read(tmp_path: Path) -> None:
    run(tmp_path, range(20), AT)
    with (tmp_path / "state" / "cam.tracks").open("ab") as file:
        file.truncate(1 << 30)  # takes no room
    keeper = Keeper(tmp_path)
    assert keeper.load("cam") is None
    assert "larger than any saved tracks" in keeper.status().sentence
    keeper.close()


def test_a_damaged_mark_is_put_aside_and_ids_go_on_from_tracks_and_journal(tmp_path: Path) -> None:
    run(tmp_path, range(20), AT)
    for highest, first in ((0, 2), (70, 71)):
        (tmp_path / "state" / "cam.ids").write_text('{"form":"watchline ids","version":1,"reserved":12')
        keeper = Keeper(tmp_path, lambda _, highest=highest: highest)  # type: ignore[misc]
        assert keeper.ids("cam").upcoming == first
        keeper.close()


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_is_used_or_refused(data: bytes) -> None:
    for read in (kept_from, mark_from):
        with pytest.raises(UsageError):
            read(data)


@given(st.data())
@settings(max_examples=60)
def test_a_flipped_bit_is_found(data: st.DataObject) -> None:
    tracker = build_tracker(TrackerChoice("bytetrack", backend="python"))
    for i in range(4):
        tracker.update(worlds.detect([worlds.Sight(0, 50, 50)]), i / 5)
    whole = kept_to_bytes("cam", Snapshot(tracker.save(), AT))
    at = data.draw(st.integers(0, len(whole) - 1))
    spoilt = bytearray(whole)
    spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        kept = kept_from(bytes(spoilt))
    except UsageError:
        return
    assert kept.state.to_bytes() == tracker.save().to_bytes(), "only what is told of the camera may differ"


@given(st.integers(1, 2**60))
def test_a_mark_comes_back(mark: int) -> None:
    data = mark_to_bytes("cam", mark)
    assert mark_from(data) == mark
    for end in range(len(data) - 1):
        with pytest.raises(UsageError):
            mark_from(data[:end])


def test_files_are_for_the_owner_and_the_group(tmp_path: Path) -> None:
    run(tmp_path, range(20), AT)
    assert (tmp_path / "state").stat().st_mode & 0o027 == 0
