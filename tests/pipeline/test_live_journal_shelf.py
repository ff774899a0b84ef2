"""What the journal keeps, what goes, and in which order."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pipeline.live_outcomes import AT, Hands, lines_of, make_outcome, wait_until
from tests.pipeline.test_live_journal import DAY, QUICK, settled, write
from watchline.pipeline.live.journal import Journal, JournalSettings
from watchline.pipeline.live.journal_files import new_path
from watchline.pipeline.live.journal_shelf import Retention, Shelf
from watchline.pipeline.live.steady_now import SteadyNow
from watchline.streams.errors import UsageError


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


def test_what_is_shortened_by_hand_is_no_younger_than_it_was(tmp_path: Path) -> None:
    write(tmp_path, (0, 1), (100, 2))
    (path,) = (tmp_path / "tracks" / "cam").glob("*.jsonl")
    os.utime(path, (AT + 20, AT + 20))
    journal = Journal(tmp_path, QUICK, Hands())
    assert journal.erase("cam", before=AT + 1).shortened == (path,)
    journal.close()
    assert path.stat().st_mtime == AT + 20
