"""The daemon on cameras that fail, for a while; and those who watch it there notice what is wrong.

A minute and a half of the soak by default; WATCHLINE_SOAK_MINUTES sets another length, WATCHLINE_SOAK_SEED the faults.
`make soak` is the long form, with growth over time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kit.sightings import make_sighting
from tests.soak.daemon import Draw
from tests.soak.daemon_board import Board, read_notice
from tests.soak.daemon_counts import STALL_S, Counts, check_cameras, check_sightings
from tests.soak.daemon_journals import Journals, check_end
from tests.soak.daemon_report import report
from tests.soak.daemon_store import check_store
from tests.soak.daemon_usage import Sample, growths
from watchline.pipeline.store.sqlite import open_store

ROOT = Path(__file__).resolve().parent.parent.parent
MINUTES = float(os.environ.get("WATCHLINE_SOAK_MINUTES", "1.5"))
SEED = os.environ.get("WATCHLINE_SOAK_SEED", "2026")


@pytest.mark.native
@pytest.mark.usefixtures("require_rtsp_server")
def test_a_daemon_on_cameras_that_fail_keeps_what_it_promises(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak.daemon", "--minutes", f"{MINUTES:g}", "--out", str(tmp_path)]
    command += ["--seed", SEED]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 * MINUTES + 300,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    told = json.loads((tmp_path / "soak.json").read_text())
    assert told["lives"] >= 2
    assert told["looks"] > 30 * MINUTES
    assert told["journal_lines"]["tracks"] > 100
    assert told["stored"] > 10


@pytest.mark.native
@pytest.mark.usefixtures("require_rtsp_server")
def test_nothing_outlives_a_soak_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak.daemon", "--minutes", "1", "--seed", "1", "--out", str(tmp_path)]
    here = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=here
    ) as soak:
        assert soak.stdout is not None
        lines = [soak.stdout.readline() for _ in range(2)]  # the seed, and the first fault
        children = psutil.Process(soak.pid).children(recursive=True)
        soak.kill()
    assert len(children) >= 6, lines
    _, left = psutil.wait_procs(children, timeout=20)
    assert not left


class TestCounts:
    """Pages are looked at a second apart, of a daemon in its first life."""

    def page(self, received: int, processed: int, dropped: int, in_flight: int) -> str:
        return "\n".join(
            [
                "# HELP watchline_frames_received_total Frames decoded.",
                f'watchline_frames_received_total{{camera="gate"}} {received}.0',
                f'watchline_frames_processed_total{{camera="gate"}} {processed}.0',
                f'watchline_frames_dropped_total{{camera="gate",reason="rate"}} {dropped}.0',
                f'watchline_frames_in_flight{{camera="gate"}} {in_flight}.0',
                f"watchline_journal_lines_total {processed}.0",
            ]
        )

    def look(self, *pages: str, excused: tuple[str, ...] = (), lives: tuple[int, ...] = (1,) * 99) -> list[str]:
        counts = Counts()
        looks = zip(count(), pages, lives, strict=False)
        return [wrong for at, page, life in looks for wrong in counts.look(page, at, life, {"gate": 1}, excused)]

    def test_counts_that_add_up_and_rise_are_fine(self) -> None:
        assert self.look(self.page(10, 4, 5, 1), self.page(20, 9, 10, 1)) == []

    @pytest.mark.parametrize(
        ("numbers", "word"),
        [((10, 4, 5, 0), "add up"), ((10, 5, 6, -1), "in flight"), ((100, 4, 5, 91), "91 frames in flight")],
    )
    def test_frames_that_are_nowhere_are_noticed(self, numbers: tuple[int, int, int, int], word: str) -> None:
        (wrong,) = self.look(self.page(*numbers))
        assert word in wrong

    def test_the_other_page_is_checked_alike(self) -> None:
        camera = {"id": "gate", "received": 9, "processed": 4, "dropped": {"rate": 5, "lost": 1}, "in_flight": 0}
        assert len(check_cameras([camera])) == 1
        assert check_cameras([{**camera, "received": 10}]) == []

    def test_a_count_that_goes_back_is_noticed_but_not_of_another_life(self) -> None:
        pages = self.page(20, 9, 10, 1), self.page(19, 9, 9, 1)
        assert sum("went from" in wrong for wrong in self.look(*pages)) == 2
        assert self.look(*pages, lives=(1, 2)) == []

    def test_a_camera_that_begins_anew_after_a_look_is_compared_with_nothing(self) -> None:
        counts, excused = Counts(), ["gate"]
        assert counts.look(self.page(20, 9, 10, 1), 0.0, 1, {"gate": 2}, excused) == []
        (wrong,) = counts.look(self.page(5, 2, 2, 1), 1.0, 1, {"gate": 2}, [])
        assert wrong.startswith("watchline_journal_lines_total")

    def test_losses_that_nothing_excuses_are_noticed_once_each(self) -> None:
        lost = 'watchline_journal_lost_total{reason="queue_full"}'
        refused = 'watchline_frames_dropped_total{camera="gate",reason="tracker"} 0.0'
        pages = [f"{self.page(10, 4, 5, 1)}\n{refused}\n{lost} {number}.0" for number in (0, 2, 2, 3)]
        assert self.look(*pages) == [f"{lost} rose to 2", f"{lost} rose to 3"]

    def test_a_camera_that_stands_still_is_noticed_unless_something_befell_it(self) -> None:
        pages = [self.page(10 + at, 4, 5 + at, 1) for at in range(int(STALL_S) + 2)]
        (wrong,) = self.look(*pages)
        assert "no frame was processed" in wrong
        assert self.look(*pages, excused=("gate",)) == []


class TestSightings:
    def told(self, **changed: Any) -> dict[str, Any]:
        return {"tracklets": 9, "waiting": 2, "stored": 4, "refused": {"full": 3, "unfit": 0, "lost": 0}, **changed}

    def test_sightings_that_add_up_are_fine_though_the_disk_refused_some(self) -> None:
        assert check_sightings(self.told()) == []

    def test_sightings_that_are_nowhere_and_those_lost_without_excuse_are_noticed(self) -> None:
        assert "add up" in check_sightings(self.told(tracklets=10))[0]
        (wrong,) = check_sightings(self.told(refused={"full": 2, "unfit": 1, "lost": 0}))
        assert wrong == "1 sightings were refused: unfit"

    def test_a_store_that_is_damaged_or_lacks_something_is_noticed(self, tmp_path: Path) -> None:
        with closing(open_store(tmp_path / "people.db", ballast_bytes=0)) as store:
            store.add([make_sighting(track_key="a", part=0), make_sighting(track_key="a", part=1), make_sighting()])
        assert check_store(tmp_path / "people.db", 3) == []
        assert "4 sightings were said to be stored, 3 are there" in check_store(tmp_path / "people.db", 4)[0]
        with closing(sqlite3.connect(tmp_path / "people.db")) as changed, changed:
            changed.execute("UPDATE sighting SET part = 7 WHERE part = 1")
            changed.execute("DELETE FROM track WHERE track_key != 'a'")
        wrong = check_store(tmp_path / "people.db", 3)
        assert ["refers to nothing" in wrong[0], "lack a part" in wrong[1], len(wrong)] == [True, True, 2]


class TestJournals:
    def line(self, sequence: int, at: float, *ids: int) -> str:
        tracks = [{"track_id": number} for number in ids]
        record = {"type": "tracks", "camera": "gate", "sequence": sequence, "captured_at": at, "tracks": tracks}
        return json.dumps(record) + "\n"

    def look(self, folder: Path, *parts: str) -> list[str]:
        path = folder / "tracks" / "gate" / "2026.jsonl"
        path.parent.mkdir(parents=True)
        journals, wrong = Journals(folder / "tracks"), []
        for part in parts:
            with path.open("a") as out:
                out.write(part)
            wrong += journals.look({"gate": 1})
        return wrong

    def test_a_line_that_is_still_being_written_is_waited_for(self, tmp_path: Path) -> None:
        line = self.line(1, 0.0, 1)
        assert self.look(tmp_path, self.line(0, 0.0, 1) + line[:9], line[9:]) == []
        assert check_end(tmp_path) == []

    def test_a_line_that_was_torn_is_noticed(self, tmp_path: Path) -> None:
        assert len(self.look(tmp_path, self.line(0, 0.0, 1)[:9] + "\n" + self.line(1, 0.0, 1))) == 1

    def test_a_file_that_ends_in_a_half_line_is_noticed_at_the_end(self, tmp_path: Path) -> None:
        self.look(tmp_path, self.line(0, 0.0)[:9])
        (tmp_path / "gate.part").touch()
        assert len(check_end(tmp_path)) == 2

    def test_frames_may_be_numbered_anew_once_for_each_time_that_a_camera_began(self, tmp_path: Path) -> None:
        lines = [self.line(number, 0.0) for number in (5, 6, 0, 1, 0)]
        for name in ("once", "twice"):
            (tmp_path / name).mkdir()
        assert self.look(tmp_path / "once", *lines[:-1]) == []
        assert len(self.look(tmp_path / "twice", *lines)) == 1

    def test_an_id_that_comes_back_after_long_was_given_twice(self, tmp_path: Path) -> None:
        (wrong,) = self.look(tmp_path, self.line(0, 0.0, 1), self.line(1, 50.0, 1), self.line(2, 200.0, 1))
        assert "given twice" in wrong

    def test_an_id_that_the_saved_tracker_did_not_know_may_not_come_back(self, tmp_path: Path) -> None:
        path, journals = tmp_path / "gate" / "2026.jsonl", Journals(tmp_path)
        path.parent.mkdir()
        path.write_text(self.line(5, 0.0, 7, 8))
        assert journals.look({"gate": 1}) == []
        with path.open("a") as out:
            out.write(self.line(0, 3.0, 7, 1001) + self.line(1, 3.2, 8))
        (wrong,) = journals.look({"gate": 2}, {"gate": (1, 8)})
        assert "track 8 " in wrong


class TestGrowth:
    def samples(self, grown: float = 0.0, fds: float = 0.0, lives: int = 1) -> list[Sample]:
        """An hour of a daemon that holds 100 MB and 30 files, and more as time goes on."""
        found = []
        for index in range(720):
            at = index / 720
            within = at * lives % 1 / lives
            memory = int(100e6 + grown * within + (3e6 if index % 7 else 0))
            calm, open_files = index % 3 > 0, 30 + int(fds * within)
            pid = 1 + int(at * lives)
            found.append(Sample(5.0 * index, pid, "daemon", calm, memory, 9, open_files, 0.05 * index, index))
        return found

    def wrong(self, *args: Any, **settings: Any) -> list[str]:
        return [problem for growth in growths(self.samples(*args, **settings)) for problem in growth.wrong]

    def test_what_stays_the_same_but_for_noise_is_fine(self) -> None:
        assert self.wrong() == []
        assert self.wrong(lives=4) == []

    def test_a_leak_is_noticed(self) -> None:
        (wrong,) = self.wrong(grown=20e6)
        assert wrong.startswith("memory_bytes of daemon grew")

    def test_a_leak_over_several_lives_is_noticed(self) -> None:
        assert len(self.wrong(grown=20e6, lives=3)) == 1

    def test_files_that_stay_open_are_noticed(self) -> None:
        (wrong,) = self.wrong(fds=12.0)
        assert wrong.startswith("fds of daemon grew")


class TestDraw:
    def test_the_same_seed_draws_the_same_faults(self) -> None:
        one, other = (Draw(7, 600.0) for _ in range(2))
        for at in range(0, 600, 10):
            assert [fault.name for fault, _ in one.next(at)] == [fault.name for fault, _ in other.next(at)]

    def test_the_daemon_lives_once_between_the_first_fifth_and_the_last_tenth(self) -> None:
        draw = Draw(3, 600.0)
        ended = [at for at in range(600) if any(fault.ends_daemon for fault, _ in draw.next(at))]
        assert ended
        assert not [at for at in ended if 120 <= at < 540]
        assert min(ended) < 120
        assert max(ended) >= 540

    def test_all_faults_happen_in_a_long_soak(self) -> None:
        from tests.soak.daemon_faults import CAMERA_FAULTS, DAEMON_FAULTS, SYSTEM_FAULTS

        draw = Draw(3, 7200.0)
        drawn = {fault.name for at in range(0, 7200, 30) for fault, _ in draw.next(at)}
        assert drawn == {fault.name for fault in (*CAMERA_FAULTS, *SYSTEM_FAULTS, *DAEMON_FAULTS)}


def test_a_camera_is_excused_until_the_last_of_its_faults_is_over(tmp_path: Path) -> None:
    board = Board(tmp_path / "board.json")
    with board.excused("one", ["gate"]):
        with board.excused("two", ["gate", "dock"]):
            assert set(read_notice(board.path).excused) == {"gate", "dock"}
        assert read_notice(board.path).excused == {"gate": ["one"]}
    assert read_notice(board.path).excused == {}


def test_the_report_of_a_soak_that_could_not_run_says_why() -> None:
    assert "no verdict" in report({"seed": 1, "minutes": 2.0, "wrong": ["no verdict"]})
