"""What goes wrong under a store of sightings: kills, a full disk, and a second process at the same file."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.faults.store_writers import numbered, put_and_tell, write_and_tell
from tests.kit.small_disk import SmallDisk, small_disk
from tests.store.conformance import same
from tests.store.made import make_sighting
from watchline.pipeline.store.failures import StoreFull
from watchline.pipeline.store.seam import Keep, Selection
from watchline.pipeline.store.sqlite import SqliteStore, open_store
from watchline.pipeline.store.writer import StoreWriter, WriterSettings
from watchline.streams.errors import OutputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and kills as Linux has them")

ROUNDS = 30
BALLAST = 300_000


class Writing:
    """A process of its own that writes sightings from a number on."""

    def __init__(self, work: Callable[[Path, int, int, Connection], None], path: Path, first: int, most: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.faults.store_writers"])  # loads what it needs once, not once a round
        self._told, told = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(path, first, most, told))
        self.process.start()
        told.close()
        self.stored_until = first

    def listen(self, seconds: float) -> None:
        """Hears what is told for some time, or until the process ends."""
        until = time.monotonic() + seconds
        try:
            while self._told.poll(max(0.0, until - time.monotonic())):
                self.stored_until = self._told.recv()
        except (EOFError, OSError):
            return

    def kill(self) -> None:
        """Kills it, as the kernel or a loss of power would; hears what it still told."""
        self.process.kill()
        self.process.join()
        self.listen(0.0)
        self._told.close()


def test_nothing_that_was_acknowledged_is_lost_or_torn_by_a_kill(tmp_path: Path) -> None:
    path, chance = tmp_path / "sightings.db", random.Random(8)
    first = acknowledged = 0
    for round_ in range(ROUNDS):
        writing = Writing((write_and_tell, put_and_tell)[round_ % 2], path, first, 100_000)
        writing.listen(chance.uniform(0.02, 0.2) + (1.0 if round_ == 0 else 0.0))
        writing.kill()
        store = open_store(path, ballast_bytes=0)
        until = first + store.count(Selection(since=float(first)))
        assert until >= writing.stored_until
        checked = range(first, until) if until - first < 10 else [*range(first, until, 7), *range(until - 5, until)]
        assert all(same(numbered(number), store.get(f"{number:032x}")) for number in checked)
        store.close()
        acknowledged += writing.stored_until - first
        first = until
    assert acknowledged > ROUNDS
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def filled(store: SqliteStore, disk: SmallDisk) -> list[int]:
    """Writes sightings until the disk is full; returns the numbers of those that were stored."""
    stored: list[int] = []
    for number in range(1000):
        if number == 5:
            disk.fill()
        try:
            store.add([numbered(number)])
        except StoreFull as error:
            assert "no room left" in str(error)
            return stored
        stored.append(number)
    raise AssertionError("the disk is never full")


def test_a_full_disk_refuses_what_is_new_and_keeps_what_is_stored(disk: SmallDisk) -> None:
    store = open_store(disk.folder / "sightings.db", ballast_bytes=BALLAST)
    stored = filled(store, disk)
    assert len(stored) >= 5
    assert store.count(Selection()) == len(stored)
    assert all(same(numbered(number), store.get(f"{number:032x}")) for number in stored)
    disk.free()
    store.add([numbered(1000)])
    store.close()


def test_old_sightings_can_be_erased_on_a_full_disk(disk: SmallDisk) -> None:
    store = open_store(disk.folder / "sightings.db", ballast_bytes=BALLAST)
    stored = filled(store, disk)
    ballast = disk.folder / "sightings.db.ballast"
    assert ballast.stat().st_size == BALLAST
    ids = tuple(f"{number:032x}" for number in stored[:3])
    assert store.erase(Selection(ids=ids)).sightings == ids
    assert store.purge(Keep(sightings_s=1.0), 1e6).crops == 2 * (len(stored) - 3)
    store.add([numbered(1000)])
    assert store.count(Selection()) == 1
    store.close()


def test_a_writer_recovers_by_itself_once_there_is_room(disk: SmallDisk) -> None:
    store = open_store(disk.folder / "sightings.db", ballast_bytes=BALLAST)
    writer = StoreWriter(store, WriterSettings(queue=20, commit_s=0.01))
    for number in range(5):
        assert writer.put(numbered(number))
    assert writer.flush(10)
    disk.fill()
    number = 5
    while not writer.status().refused:
        writer.put(numbered(number))
        number += 1
        time.sleep(0.002)
    status = writer.status()
    assert status.trouble == "full"
    assert set(status.refused) == {"full"}
    assert status.accepted == status.stored + status.queued
    disk.free()
    freed = time.monotonic()
    assert writer.flush(10)
    assert time.monotonic() - freed < 10
    assert writer.put(numbered(100_000))
    status = writer.close(10)
    assert (status.trouble, status.lost, status.stored) == ("", 0, status.accepted)
    assert store.count(Selection()) == status.stored
    store.close()


def test_a_disk_that_turns_read_only_is_told_of(disk: SmallDisk) -> None:
    path = disk.folder / "sightings.db"
    open_store(path, ballast_bytes=0).close()
    disk.lock("ro")
    with pytest.raises(OutputError, match="its disk can only be read"):
        open_store(path)
    disk.lock("rw")


def test_two_processes_write_and_a_third_erases_in_one_store(tmp_path: Path) -> None:
    path = tmp_path / "sightings.db"
    store = open_store(path, ballast_bytes=0)
    others = [make_sighting(camera="gate") for _ in range(6)]
    store.add(others)
    writers = [Writing(write_and_tell, path, first, 150) for first in (100_000, 200_000)]
    for other in others:
        assert store.erase(Selection(ids=(other.sighting_id,))).crops == 2
    for writing in writers:
        writing.process.join(30)
        assert writing.process.exitcode == 0
    assert store.count(Selection()) == 300
    keys = [int(key) for batch in store.vectors(others[0].vectors[0].model.sha256) for key in batch.key]
    assert len(set(keys)) == 300
    assert all(same(numbered(number), store.get(f"{number:032x}")) for number in range(100_000, 100_150, 10))
    store.close()


def test_a_reader_who_takes_his_time_never_holds_up_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "sightings.db"
    store = open_store(path, ballast_bytes=0, busy_s=0.2)  # one who had to wait would fail
    store.add([make_sighting() for _ in range(30)])
    with closing(sqlite3.connect(path)) as reader:
        rows = reader.execute("SELECT * FROM crop")
        rows.fetchone()
        batches = store.vectors(make_sighting().vectors[0].model.sha256, most=10)
        next(batches)
        for _ in range(100):
            store.add([make_sighting()])
        assert sum(1 for _ in rows) == 59
        assert sum(len(batch.key) for batch in batches) == 120
    store.close()
