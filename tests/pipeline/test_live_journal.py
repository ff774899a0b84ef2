from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.live_outcomes import AT, Hands, lines_of, make_outcome, wait_until
from watchline.pipeline.live.journal import Journal, JournalSettings, JournalState
from watchline.pipeline.live.journal_files import LogFile, ended, named_at, new_path
from watchline.pipeline.live.journal_shelf import Retention, Shelf, SteadyNow
from watchline.streams.errors import UsageError

DAY = 86400.0
QUICK = JournalSettings(write_s=0.01, retention=Retention(free_bytes=0))


def settled(journal: Journal) -> bool:
    return journal.status().waiting == 0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def law(journal: Journal) -> bool:
    status = journal.status()
    return status.offered == status.written_lines + sum(status.lost.values()) + status.waiting


def write(
    folder: Path, *outcomes: tuple[int, ...], settings: JournalSettings = QUICK, clock: Hands | None = None
) -> None:
    journal = Journal(folder, settings, clock or Hands())
    take = journal.outlet("cam")
    for sequence, *ids in outcomes:
        take(make_outcome(sequence, *ids))
    journal.close()
    assert law(journal)


def test_a_frame_with_tracks_is_a_line(tmp_path: Path) -> None:
    write(tmp_path, (3, 7, 9))
    head, line = lines_of(tmp_path)
    assert head == {"type": "file", "camera": "cam", "version": 1, "from": AT + 0.6, "highest_id": 0}
    track = {"track_id": 7, "class": "person", "score": 0.875, "xyxy": [0.0, 5.0, 8.0, 30.0], "state": "confirmed"}
    assert line.pop("tracks") == [track, track | {"track_id": 9, "xyxy": [10.0, 5.0, 18.0, 30.0]}]
    assert line == {
        "type": "tracks",
        "camera": "cam",
        "sequence": 3,
        "pts_s": 0.6,
        "captured_at": AT + 0.6,
        "clock": "arrival",
        "clock_error_s": 0.05,
    }


def test_a_file_is_named_by_the_time_of_its_first_line_in_utc(tmp_path: Path) -> None:
    write(tmp_path, (3, 7), (4, 7))
    assert [path.name for path in (tmp_path / "tracks" / "cam").iterdir()] == ["2026-11-21T14-00-00Z.jsonl"]


def test_nobody_there_is_told_once_and_then_now_and_then(tmp_path: Path) -> None:
    write(tmp_path, (0, 1), *((i,) for i in range(1, 120)), (120, 2))
    lines = [line for line in lines_of(tmp_path) if line["type"] == "tracks"]
    assert [line["sequence"] for line in lines] == [0, 1, 51, 101, 120]


def test_only_the_owner_and_the_group_may_read(tmp_path: Path) -> None:
    write(tmp_path, (0, 1))
    folder = tmp_path / "tracks" / "cam"
    assert stat.S_IMODE(folder.stat().st_mode) & 0o027 == 0
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o640]


def test_the_writer_does_not_hold_frames(tmp_path: Path) -> None:
    import gc
    import weakref

    journal = Journal(tmp_path, JournalSettings(write_s=60.0))
    outcome = make_outcome(0, 1)
    alive = weakref.ref(outcome.frame.picture) if hasattr(outcome.frame.picture, "__weakref__") else None
    rgb = weakref.ref(outcome.frame.rgb())
    journal.outlet("cam")(outcome)
    del outcome
    gc.collect()
    assert rgb() is None
    assert alive is None or alive() is None
    journal.close()


def test_a_gap_is_told_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path, QUICK, Hands())
    take = journal.outlet("cam")
    take(make_outcome(0, 1))
    journal.gap("cam", AT + 0.2, AT + 30, "offline")
    take(make_outcome(150, 2))
    journal.close()
    _, _, gap, last = lines_of(tmp_path)
    assert gap == {"type": "gap", "camera": "cam", "from": AT + 0.2, "to": AT + 30, "reason": "offline"}
    assert last["sequence"] == 150


def test_after_a_restart_the_file_goes_on_and_the_time_between_is_a_gap(tmp_path: Path) -> None:
    clock = Hands()
    write(tmp_path, (0, 5), clock=clock)
    clock.now += 100
    write(tmp_path, (500, 6), clock=clock)
    assert [line["type"] for line in lines_of(tmp_path)] == ["file", "tracks", "gap", "tracks"]
    gap = lines_of(tmp_path)[2]
    assert (gap["from"], gap["to"], gap["reason"]) == (AT, AT + 100, "restart")


def test_each_file_says_how_high_ids_had_come(tmp_path: Path) -> None:
    small = JournalSettings(write_s=0.01, file_bytes=1)
    journal = Journal(tmp_path, small, Hands())
    take = journal.outlet("cam")
    for sequence, track_id in enumerate((5, 900, 3)):
        take(make_outcome(sequence * 5, track_id))
        wait_until(lambda: settled(journal))
    journal.close()
    assert [line["highest_id"] for line in lines_of(tmp_path) if line["type"] == "file"] == [0, 5, 900]
    paths = sorted((tmp_path / "tracks" / "cam").iterdir())
    for path in paths[:2]:
        path.unlink()
    assert journal.ended("cam").highest_id == 900
    assert journal.ended("cam").at == AT + 2
    assert journal.ended("new").at is None


def test_files_end_at_their_size(tmp_path: Path) -> None:
    limit = JournalSettings(write_s=0.001, write_lines=4, file_bytes=3000)
    journal = Journal(tmp_path, limit, Hands())
    take = journal.outlet("cam")
    for sequence in range(100):
        take(make_outcome(sequence, 1, 2, 3))
        time.sleep(0.002)
    journal.close()
    sizes = [path.stat().st_size for path in (tmp_path / "tracks" / "cam").iterdir()]
    assert len(sizes) >= 10
    assert max(sizes) <= 3000 + 6 * 400
    assert sum(line["type"] == "tracks" for line in lines_of(tmp_path)) == 100
    assert journal.status().written_lines == len(lines_of(tmp_path)) == 100 + len(sizes)
    assert journal.status().bytes_on_disk == sum(sizes)


def test_files_end_after_their_time_by_a_clock_that_does_not_jump(tmp_path: Path) -> None:
    steady, clock = Hands(0.0), Hands()
    journal = Journal(tmp_path, QUICK, clock, steady)
    take = journal.outlet("cam")
    for sequence, (wall, ticks) in enumerate([(0, 0), (3600, 1), (-3600, 2), (0, 3601)]):
        clock.now, steady.now = AT + wall, ticks
        take(make_outcome(sequence, 1, at=clock.now))
        wait_until(lambda: settled(journal))
    journal.close()
    assert len(list((tmp_path / "tracks" / "cam").iterdir())) == 2


@pytest.mark.parametrize("rest", [b'{"type":"tracks","cam', b"\x00" * 5000, b"x" * 3_000_000, b"\xff\xfe\n\x80garbage"])
def test_a_half_written_last_line_is_cut_off_and_counted(tmp_path: Path, rest: bytes) -> None:
    write(tmp_path, (0, 5))
    path = next((tmp_path / "tracks" / "cam").iterdir())
    whole = path.read_bytes()
    path.write_bytes(whole + rest)
    assert ended(path.parent).at == AT
    journal = Journal(tmp_path, QUICK, Hands())
    journal.outlet("cam")(make_outcome(5, 6))
    journal.close()
    assert journal.status().cut_lines == 1
    left = path.read_bytes()
    assert left.startswith(whole)
    assert left.endswith(b"}\n")
    assert b"x" * 100 not in left
    assert b'"restart"' in left


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_whatever_is_found_the_end_can_be_told_and_written_to(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = new_path(folder, AT)
    path.write_bytes(data)
    ended(folder)
    file = LogFile(path)
    file.write(b"whole\n")
    file.close()
    assert path.read_bytes() == data[: data.rfind(b"\n") + 1] + b"whole\n"


@given(st.floats(0, 2e11))
def test_names_tell_the_second(at: float) -> None:
    assert named_at(new_path(Path("nowhere"), at).name) == int(at)


def test_what_came_too_fast_is_counted_and_told_as_a_gap(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalSettings(write_s=30.0, write_lines=10_000, queue=50))
    take = journal.outlet("cam")
    for sequence in range(80):
        take(make_outcome(sequence, 1))
    status = journal.status()
    assert (status.offered, status.lost["queue_full"], status.waiting) == (80, 30, 50)
    journal.close()
    assert law(journal)
    _, gap, first, *_ = lines_of(tmp_path)
    assert gap == {"type": "gap", "camera": "cam", "from": AT, "to": AT + 5.8, "reason": "queue_full", "lines": 30}
    assert first["sequence"] == 30


def test_a_frame_that_makes_no_line_is_counted_and_the_others_are_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, QUICK, Hands())
    take = journal.outlet("cam")
    odd = make_outcome(0, 1)
    odd.tracks.class_id[:] = 99
    take(odd)
    take(make_outcome(1, 1))
    journal.close()
    assert journal.status().lost["unfit"] == 1
    assert law(journal)
    assert [line["type"] for line in lines_of(tmp_path)] == ["file", "gap", "tracks"]


def test_numbers_that_json_has_not_are_null(tmp_path: Path) -> None:
    journal = Journal(tmp_path, QUICK, Hands())
    outcome = make_outcome(0, 1)
    object.__setattr__(outcome.frame, "clock_error_s", float("inf"))
    journal.outlet("cam")(outcome)
    journal.close()
    assert lines_of(tmp_path)[1]["clock_error_s"] is None


def test_after_the_end_lines_are_counted_as_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path, QUICK)
    take = journal.outlet("cam")
    journal.close()
    take(make_outcome(0, 1))
    assert journal.status().lost["closed"] == 1
    assert journal.status().state is JournalState.CLOSED
    journal.close()


def test_a_removed_camera_leaves_no_file_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalSettings(write_s=0.01, sync_s=0.01))
    before = descriptors()
    for i in range(20):
        journal.outlet(f"cam-{i}")(make_outcome(0, 1, camera=f"cam-{i}"))
    wait_until(lambda: settled(journal) and descriptors() == before + 20)
    for i in range(20):
        journal.remove(f"cam-{i}")
    wait_until(lambda: descriptors() == before)
    assert not journal._logs
    journal.close()


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalSettings(write_s=0.01, queue=100_000))

    def give(camera: str) -> None:
        take = journal.outlet(camera)
        for sequence in range(500):
            take(make_outcome(sequence, 1, camera=camera))

    threads = [threading.Thread(target=give, args=(f"cam-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert law(journal)
    journal.close()
    assert journal.status().written_lines == 8 * 501
    for i in range(8):
        lines = [line for line in lines_of(tmp_path, f"cam-{i}") if line["type"] == "tracks"]
        assert [line["sequence"] for line in lines] == list(range(500))


# Retention.


def lay(folder: Path, camera: str, named: float, written: float | None = None, size: int = 1000) -> Path:
    where = folder / "tracks" / camera
    where.mkdir(parents=True, exist_ok=True)
    path = new_path(where, named)
    path.write_bytes(b"{}" + b" " * (size - 3) + b"\n")
    written = named if written is None else written
    os.utime(path, (written, written))
    return path


def shelf(folder: Path, clock: Callable[[], float], steady: Callable[[], float], **limits: float) -> Shelf:
    retention = Retention(**({"free_bytes": 0} | limits))  # type: ignore[arg-type]
    return Shelf(folder / "tracks", retention, clock, steady)


def sweep(of: Shelf, *current: Path) -> None:
    assert not any(of.sweep(lambda: current, lambda _: None))


def left(folder: Path) -> int:
    return len(list((folder / "tracks").glob("*/*.jsonl")))


def test_old_files_go_and_are_counted(tmp_path: Path) -> None:
    for days in range(10):
        lay(tmp_path, "cam", AT - days * DAY - 60 * (days > 0))
    kept = shelf(tmp_path, Hands(AT), Hands(0.0))
    sweep(kept)
    assert left(tmp_path) == kept.files == 7
    assert kept.erased["age"] == 3  # type: ignore[index]
    assert kept.oldest_at == AT - 6 * DAY - 60
    assert kept.size_bytes == 7000


def test_a_file_that_was_written_to_of_late_is_not_old(tmp_path: Path) -> None:
    lay(tmp_path, "cam", AT - 20 * DAY, written=AT - DAY)
    sweep(shelf(tmp_path, Hands(), Hands(0.0)))
    assert left(tmp_path) == 1


def test_a_file_that_is_being_written_to_is_never_too_old(tmp_path: Path) -> None:
    current, closed = (lay(tmp_path, "cam", AT - days * DAY) for days in (9, 10))
    kept = shelf(tmp_path, Hands(), Hands(0.0), believe_s=0.0)
    lay(tmp_path, "cam", AT)
    sweep(kept, current)
    assert current.exists()
    assert not closed.exists()


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 40 * DAY, -40 * DAY])
def test_a_clock_that_jumps_deletes_nothing_early(tmp_path: Path, jump: float) -> None:
    clock, steady = Hands(), Hands(0.0)
    for hours in range(24 * 7):
        lay(tmp_path, "cam", AT - hours * 3600 + 60)
    kept = shelf(tmp_path, clock, steady)
    sweep(kept)
    clock.now += jump
    for _ in range(100):
        clock.now, steady.now = clock.now + 0.5, steady.now + 0.5
        sweep(kept)
    assert left(tmp_path) == 24 * 7


def test_a_clock_that_was_set_right_is_believed_after_a_day(tmp_path: Path) -> None:
    clock, steady = Hands(1000.0), Hands(0.0)  # as a machine without a battery begins
    lay(tmp_path, "cam", AT - 8 * DAY)
    lay(tmp_path, "cam", AT - 4 * DAY)
    kept = shelf(tmp_path, clock, steady)
    sweep(kept)
    clock.now = AT
    for _ in range(49):
        sweep(kept)
        assert left(tmp_path) == 2
        clock.now, steady.now = clock.now + 1790, steady.now + 1790
    sweep(kept)
    assert left(tmp_path) == 1


def test_time_without_the_program_counts_a_day_later(tmp_path: Path) -> None:
    clock, steady = Hands(AT + 30 * DAY), Hands(0.0)
    lay(tmp_path, "cam", AT)
    lay(tmp_path, "cam", AT - 6 * DAY)
    kept = shelf(tmp_path, clock, steady)
    sweep(kept)
    assert left(tmp_path) == 2
    clock.now, steady.now = clock.now + 1.1 * DAY, 1.1 * DAY
    sweep(kept)
    assert left(tmp_path) == 0


def test_a_file_from_the_future_goes_when_it_is_known_for_long_enough(tmp_path: Path) -> None:
    clock, steady = Hands(), Hands(0.0)
    lay(tmp_path, "cam", AT + 3650 * DAY)
    kept = shelf(tmp_path, clock, steady)
    for day in range(8):
        clock.now, steady.now = AT + day * DAY, day * DAY
        sweep(kept)
        assert left(tmp_path) == 1
    clock.now, steady.now = AT + 8.1 * DAY, 8.1 * DAY
    sweep(kept)
    assert left(tmp_path) == 0


def test_the_oldest_of_all_cameras_makes_room(tmp_path: Path) -> None:
    first = lay(tmp_path, "b", AT - 300)
    second = lay(tmp_path, "a", AT - 200)
    lay(tmp_path, "b", AT - 100)
    lay(tmp_path, "a", AT)
    kept = shelf(tmp_path, Hands(), Hands(0.0), size_bytes=2500)
    sweep(kept)
    assert not first.exists()
    assert not second.exists()
    assert (left(tmp_path), kept.size_bytes) == (2, 2000)
    assert kept.erased["size"] == 2  # type: ignore[index]


def test_for_size_files_in_use_go_last_and_for_room_not_at_all(tmp_path: Path) -> None:
    current = lay(tmp_path, "a", AT - 300)
    closed = lay(tmp_path, "a", AT - 100)
    let_go: list[Path] = []
    kept = shelf(tmp_path, Hands(), Hands(0.0), size_bytes=1500)
    list(kept.sweep(lambda: [current], let_go.append))
    assert current.exists()
    assert not closed.exists()
    assert let_go == []
    kept = shelf(tmp_path, Hands(), Hands(0.0), free_bytes=1 << 60)
    list(kept.sweep(lambda: [current], let_go.append))
    assert current.exists()
    assert kept.tight
    kept = shelf(tmp_path, Hands(), Hands(0.0), size_bytes=500)
    list(kept.sweep(lambda: [current], let_go.append))
    assert let_go == [current]
    assert left(tmp_path) == 0


def test_too_little_room_takes_the_oldest_and_no_more_than_needed(tmp_path: Path) -> None:
    for hours in range(5):
        lay(tmp_path, "a", AT - hours * 3600, size=1 << 20)
    kept = shelf(tmp_path, Hands(), Hands(0.0))
    kept.measure()
    assert kept.free_bytes is not None
    kept = shelf(tmp_path, Hands(), Hands(0.0), free_bytes=kept.free_bytes + (200 << 20))
    sweep(kept)
    assert left(tmp_path) == 0
    assert kept.tight
    assert kept.erased["room"] == 5  # type: ignore[index]


def test_what_is_no_file_of_the_journal_is_left_alone(tmp_path: Path) -> None:
    lay(tmp_path, "cam", AT - 30 * DAY)
    notes = tmp_path / "tracks" / "cam" / "notes.txt"
    notes.write_text("mine")
    os.utime(notes, (1, 1))
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text("mine")
    (tmp_path / "tracks" / "cam" / "2020-01-01T00-00-00Z.jsonl").symlink_to(elsewhere)
    kept = shelf(tmp_path, Hands(), Hands(0.0), size_bytes=0)
    sweep(kept)
    assert notes.exists()
    assert elsewhere.exists()
    assert left(tmp_path) == 1  # the link


def test_what_a_kill_left_goes_with_the_next_look(tmp_path: Path) -> None:
    path = lay(tmp_path, "cam", AT)
    part = path.with_name(path.name + ".part")
    part.write_text("a line that should have gone")
    (tmp_path / "tracks" / "gone").mkdir()
    sweep(shelf(tmp_path, Hands(), Hands(0.0)))
    assert not part.exists()
    assert [folder.name for folder in (tmp_path / "tracks").iterdir()] == ["cam"]


@given(st.lists(st.tuples(st.floats(0, 10 * DAY), st.floats(-100 * DAY, 100 * DAY)), max_size=30))
def test_the_time_that_counts_is_never_ahead_of_what_the_clock_said_for_a_day(steps: list[tuple[float, float]]) -> None:
    clock, steady = Hands(), Hands(0.0)
    now = SteadyNow(clock, steady, DAY)
    leads: list[tuple[float, float]] = []
    for passed, jump in steps:
        steady.now += passed
        clock.now += passed + jump
        leads.append((steady.now, clock.now - steady.now))
        counts = now.now()
        least = min(lead for at, lead in leads if at >= steady.now - DAY)
        assert steady.now + least - 1.01 <= counts <= steady.now + least + 1e-3


def test_files_keep_their_order_when_the_clock_falls_back(tmp_path: Path) -> None:
    now = time.time()
    before = lay(tmp_path, "cam", now - 7200, written=now + 1800)  # the clock has fallen back since
    journal = Journal(tmp_path, JournalSettings(write_s=0.01, file_bytes=1))
    take = journal.outlet("cam")
    for sequence in range(3):
        take(make_outcome(sequence, 1, at=time.time()))
        wait_until(lambda: settled(journal))
    journal.close()
    first, *paths = sorted(before.parent.iterdir(), key=lambda path: path.stat().st_mtime)
    assert first == before
    texts = [path.read_text().splitlines() for path in paths]
    assert [json.loads(lines[-1])["sequence"] for lines in texts] == [0, 1, 2]


def test_a_clock_that_was_years_ahead_does_not_date_later_files(tmp_path: Path) -> None:
    lay(tmp_path, "cam", AT, written=time.time() + 3650 * DAY)
    write(tmp_path, (0, 1), clock=Hands(time.time()))
    assert min(path.stat().st_mtime for path in (tmp_path / "tracks" / "cam").iterdir()) < time.time() + 60


# Erasing by hand.


def test_one_camera_can_be_erased(tmp_path: Path) -> None:
    journal = Journal(tmp_path, QUICK)
    for camera in ("a", "b"):
        journal.outlet(camera)(make_outcome(0, 1, camera=camera))
    wait_until(lambda: settled(journal))
    gone = journal.erase("a")
    assert [path.parent.name for path in gone.files] == ["a"]
    assert gone.size_bytes > 100
    assert gone.refused == ()
    assert lines_of(tmp_path, "a") == []
    assert len(lines_of(tmp_path, "b")) == 2
    journal.outlet("a")(make_outcome(9, 3, camera="a"))
    journal.close()
    assert [line["type"] for line in lines_of(tmp_path, "a")] == ["file", "tracks"]
    assert lines_of(tmp_path, "a")[0]["highest_id"] == 1


def test_what_is_before_a_time_can_be_erased_to_the_line(tmp_path: Path) -> None:
    lay(tmp_path, "cam", AT - 5000)
    write(tmp_path, *((i, 1) for i in range(100)))
    journal = Journal(tmp_path, QUICK, Hands())
    gone = journal.erase(before=AT + 10)
    assert len(gone.files) == len(gone.shortened) == 1
    journal.close()
    lines = lines_of(tmp_path)
    assert lines[0]["type"] == "file"
    assert [line["sequence"] for line in lines[1:]] == list(range(50, 100))
    assert [stat.S_IMODE(path.stat().st_mode) for path in gone.shortened] == [0o640]


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a\x00b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path, QUICK)
    with pytest.raises(UsageError, match="no such name"):
        journal.erase(name)
    with pytest.raises(UsageError, match="no such name"):
        journal.outlet(name)
    journal.close()


def test_numbers_are_as_the_tables_have_them(tmp_path: Path) -> None:
    outcome = make_outcome(1, 1)
    outcome.tracks.xyxy[:] = np.array([1.00049, 2, 3.14159, 4], np.float32)
    journal = Journal(tmp_path, QUICK)
    journal.outlet("cam")(outcome)
    journal.close()
    assert lines_of(tmp_path)[1]["tracks"][0]["xyxy"] == [1.0, 2.0, 3.142, 4.0]
