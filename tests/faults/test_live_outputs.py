"""What goes wrong under the journal and the keeper: disks that are full, locked or gone, and kills."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.kit.small_disk import SmallDisk, small_disk
from tests.pipeline.live_outcomes import lines_of, make_outcome, wait_until
from watchline.pipeline.live.journal import Journal, JournalSettings, JournalState
from watchline.pipeline.live.journal_shelf import Retention
from watchline.pipeline.live.keeping import BLOCK, Keeper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and kills as Linux has them")

SETTINGS = JournalSettings(write_s=0.02, retention=Retention(free_bytes=0), sweep_s=0.5)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


class Giving:
    """Gives outcomes of a camera, 100 a second, until it is left."""

    def __init__(self, journal: Journal, camera: str = "cam") -> None:
        self.given = 0
        self.slowest_s = 0.0
        self._take, self._camera = journal.outlet(camera), camera
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            outcome = make_outcome(self.given, *range(1, 11), camera=self._camera, at=time.time())
            begun = time.perf_counter()
            self._take(outcome)
            self.slowest_s = max(self.slowest_s, time.perf_counter() - begun)
            self.given += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def finished(journal: Journal, folder: Path) -> None:
    """Ends it; what it counts is what is there, and all of it is whole."""
    journal.close()
    status = journal.status()
    assert status.waiting == 0
    assert status.offered == status.written_lines + sum(status.lost.values())
    lines = lines_of(folder)
    assert len(lines) == status.written_lines
    told = sum(line.get("lines", 0) for line in lines if line["type"] == "gap")
    assert told == sum(status.lost.values()), "what was lost is told in gaps"
    written = [line["sequence"] for line in lines if line["type"] == "tracks"]
    assert sorted(set(written)) == sorted(written)


def test_a_full_disk_is_told_and_writing_goes_on_by_itself(disk: SmallDisk) -> None:
    journal = Journal(disk.folder, SETTINGS)
    with Giving(journal) as giving:
        wait_until(lambda: journal.status().written_lines > 20)
        disk.fill()
        wait_until(lambda: journal.status().state is JournalState.FAILING)
        wait_until(lambda: journal.status().lost["disk"] > 50)
        sentence = journal.status().sentence
        assert "no space left on device" in sentence
        assert 'camera "cam": its tracks cannot be written' in sentence
        disk.free()
        freed = time.monotonic()
        wait_until(lambda: journal.status().state is JournalState.RUNNING, 10)
        assert time.monotonic() - freed < 5
        written = journal.status().written_lines
        wait_until(lambda: journal.status().written_lines > written + 20)
        assert journal.status().sentence == ""
    assert giving.slowest_s < 0.5, "nobody waits for the disk"
    finished(journal, disk.folder)


def test_on_a_full_disk_old_files_make_room(disk: SmallDisk) -> None:
    settings = JournalSettings(write_s=0.02, file_bytes=30_000, sweep_s=0.1, retention=Retention(free_bytes=400_000))
    disk.fill(350)
    journal = Journal(disk.folder, settings)
    with Giving(journal), Giving(journal, "other"):
        wait_until(lambda: journal.status().erased["room"] >= 3, 60)
    status = journal.status()
    assert status.lost["disk"] == 0
    assert status.state is JournalState.RUNNING
    assert status.free_bytes is not None
    assert status.free_bytes > 300_000
    journal.close()


def test_a_disk_that_may_only_be_read_is_told_and_writing_goes_on_by_itself(disk: SmallDisk) -> None:
    settings = JournalSettings(write_s=0.02, retention=Retention(free_bytes=0), file_bytes=20_000)
    journal = Journal(disk.folder, settings)
    disk.lock("ro")
    with Giving(journal):
        wait_until(lambda: journal.status().lost["disk"] > 20)
        assert "read-only file system" in journal.status().sentence
        disk.lock("rw")
        wait_until(lambda: journal.status().written_lines > 100, 10)
        assert journal.status().state is JournalState.RUNNING
    finished(journal, disk.folder)


def test_a_folder_that_someone_deletes_is_made_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SETTINGS)
    with Giving(journal):
        wait_until(lambda: journal.status().written_lines > 20)
        shutil.rmtree(tmp_path / "tracks")
        wait_until(lambda: len(lines_of(tmp_path)) > 20)
    journal.close()
    assert lines_of(tmp_path)[0]["type"] == "file"
    assert sum(journal.status().lost.values()) == 0
    wait_until(lambda: journal.status().files == 1)


def test_one_camera_that_cannot_be_written_costs_the_others_nothing(tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "bad").write_text("in the way")
    journal = Journal(tmp_path, SETTINGS)
    with Giving(journal, "bad"), Giving(journal) as well:
        wait_until(lambda: journal.status().lost["disk"] > 50)
        assert journal.status().state is JournalState.FAILING
        assert "file exists" in journal.status().sentence
    journal.close()
    assert sum(line["type"] == "tracks" for line in lines_of(tmp_path)) == well.given


def test_a_disk_that_hangs_keeps_no_lane_waiting(tmp_path: Path) -> None:
    settings = JournalSettings(write_s=0.01, queue=200, retention=Retention(free_bytes=0))
    journal = Journal(tmp_path, settings)
    with journal._disk, Giving(journal) as giving:
        wait_until(lambda: journal.status().lost["queue_full"] > 20)
        journal.status()
    assert giving.slowest_s < 0.2
    finished(journal, tmp_path)


def test_an_end_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JournalSettings(write_s=0.01))
    with journal._disk:
        take = journal.outlet("cam")
        for i in range(2000):
            take(make_outcome(i, 1))
        begun = time.monotonic()
        journal.close(0.2)
        assert time.monotonic() - begun < 2
        status = journal.status()
        assert status.offered == status.written_lines + sum(status.lost.values()) + status.waiting == 2000
        assert status.lost["closed"] > 0


_NO_LARGE_FILES = """
import resource, sys, time
from pathlib import Path
from tests.pipeline.live_outcomes import lines_of, make_outcome, wait_until
from watchline.pipeline.live.journal import Journal, JournalSettings
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
folder = Path(sys.argv[1])
journal = Journal(folder, JournalSettings(write_s=0.01))
take = journal.outlet("cam")
for i in range(300):
    take(make_outcome(i, 1))
    time.sleep(0.001)
wait_until(lambda: journal.status().state == "failing")
print(journal.status().sentence)
assert lines_of(folder), "what is there is whole"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
take(make_outcome(300, 1))
wait_until(lambda: journal.status().state == "running")
journal.close()
status = journal.status()
assert len(lines_of(folder)) == status.written_lines
assert status.offered == status.written_lines + sum(status.lost.values())
assert status.lost["disk"] > 0
"""


def test_a_file_that_can_grow_no_more_keeps_whole_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_LARGE_FILES, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "file too large" in done.stdout


def test_ids_are_given_on_a_full_disk_and_saved_when_there_is_room(disk: SmallDisk) -> None:
    keeper = Keeper(disk.folder)
    ids = keeper.ids("cam")
    disk.fill()
    given = [ids.next() for _ in range(BLOCK + 50)]
    assert given == list(range(1, BLOCK + 51))
    wait_until(lambda: keeper.status().failing)
    assert keeper.status().unsaved_ids == 50
    assert "no space left on device" in keeper.status().sentence
    disk.free()
    wait_until(lambda: not keeper.status().failing)
    keeper.close()
    again = Keeper(disk.folder)
    assert again.ids("cam").next() == BLOCK + 51
    again.close()
    assert sorted(path.name for path in (disk.folder / "state").iterdir()) == ["cam.ids"]


def test_thirty_kills_leave_whole_lines_and_no_id_twice(tmp_path: Path) -> None:
    program = [sys.executable, "-W", "ignore", "-m", "tests.faults.live_writer", str(tmp_path), "30", "7"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert min(json.loads(done.stdout).values()) > 300, "it wrote much between the kills"
