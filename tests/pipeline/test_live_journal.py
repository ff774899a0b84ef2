"""The journal: a line a frame, whole or not at all."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.live_outcomes import AT, Hands, lines_of, make_outcome, wait_until
from watchline.pipeline.live.journal import Journal, JournalSettings, JournalState
from watchline.pipeline.live.journal_files import LogFile, ended, named_at, new_path
from watchline.pipeline.live.journal_shelf import Retention

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


def test_a_time_that_is_no_number_costs_its_line_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path, QUICK, Hands())
    take = journal.outlet("cam")
    for sequence, at in enumerate((AT, float("nan"), AT + 1)):
        take(make_outcome(sequence, 1, at=at))
    wait_until(lambda: settled(journal))
    assert journal.status().lost["unfit"] == 1
    take(make_outcome(9, 1, at=AT + 2))
    journal.close()
    assert [line["sequence"] for line in lines_of(tmp_path, "cam") if line["type"] == "tracks"] == [0, 2, 9]


def test_a_half_written_line_of_an_old_file_is_cut_off_too(tmp_path: Path) -> None:
    write(tmp_path, (0, 1))
    (path,) = (tmp_path / "tracks" / "cam").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"type":"tracks","cam')
    write(tmp_path, (5, 1), clock=Hands(AT + 3 * 3600))
    assert path.read_text().endswith("}\n")
