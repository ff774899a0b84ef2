"""A store that is opened anew by itself: what goes wrong with its file, before and while it is open."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.kit.small_disk import small_disk
from tests.pipeline.live_outcomes import wait_until
from tests.store.made import make_sighting
from watchline.pipeline.store.failures import StoreBusy, StoreFull, WrongStore
from watchline.pipeline.store.reopening import ReopeningStore
from watchline.pipeline.store.seam import Keep, Selection
from watchline.pipeline.store.sqlite import SqliteStore, open_store
from watchline.streams.backoff import Backoff
from watchline.streams.errors import OutputError, UsageError

_DAMAGE = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2])); f.write(b'\\x5a' * int(sys.argv[3]))"


@contextmanager
def kept(path: Path, busy_s: float = 0.1) -> Iterator[ReopeningStore]:
    """A store that is tried again often."""
    opened = partial(open_store, path, ballast_bytes=0, busy_s=busy_s)
    store = ReopeningStore(path, opened, Backoff(Random(0), 0.02, 0.05))
    try:
        yield store
    finally:
        store.close()


def made(path: Path, many: int = 30) -> Path:
    """A store that has some sightings, closed."""
    with closing(open_store(path, ballast_bytes=0)) as store:
        store.add([make_sighting() for _ in range(many)])
    return path


def counted(path: Path) -> int:
    """How many sightings a store has."""
    with closing(open_store(path, create=False)) as store:
        return store.count(Selection())


def damage(path: Path, at: int = 8192, many: int = 10_000_000) -> None:
    """Overwrites a file from another process, so that no lock of this one is let go of."""
    many = min(many, path.stat().st_size - at)
    subprocess.run([sys.executable, "-c", _DAMAGE, str(path), str(at), str(many)], check=True, timeout=30)


def add_until_it_works(store: ReopeningStore) -> None:
    """Writes one sighting as a writer does: again, for as long as it is refused."""
    one = make_sighting()

    def works() -> bool:
        with suppress(OutputError):
            store.add([one])
            return True
        return False

    wait_until(works)


def test_a_damaged_store_is_told_and_a_copy_in_its_place_is_opened_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path, copy = made(tmp_path / "s.db"), tmp_path / "copy.db"
    shutil.copy(path, copy)
    damage(path)
    with kept(path) as store:
        assert not store.usable
        assert "the store is damaged; bring back a copy, or name a new file" in store.trouble
        with pytest.raises(OutputError, match="damaged"):
            store.add([make_sighting()])
        with pytest.raises(OutputError, match="damaged"):
            store.purge(Keep(crops_s=1.0), 0.0)
        copy.replace(path)
        wait_until(lambda: store.usable)
        assert store.trouble == ""
        store.add([make_sighting()])
    assert counted(path) == 31
    assert caplog.text.count("no sightings can be stored") == 1
    assert "sightings can be stored again" in caplog.text


def test_one_that_is_damaged_while_it_is_open_is_told_until_it_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = made(tmp_path / "s.db", 200)
    with kept(path) as store:
        assert (store.trouble, store.usable) == ("", True)
        damage(path)
        with pytest.raises(OutputError, match="damaged"):
            for _ in range(200):
                store.add([make_sighting()])
        assert "damaged" in store.trouble
        wait_until(lambda: store.usable or "damaged" in store.trouble)
        assert "damaged" in store.trouble  # it may be opened, but is not proved to be good
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.touch()
        add_until_it_works(store)
        assert store.trouble == ""
    assert counted(path) == 1
    assert caplog.text.count("no sightings can be stored") <= 2  # that it was moved away may be told too


def test_one_that_is_moved_away_is_waited_for_and_nothing_is_written_to_the_old_file(tmp_path: Path) -> None:
    path, away, other = made(tmp_path / "s.db"), tmp_path / "away.db", made(tmp_path / "other.db", 5)
    with kept(path) as store:
        store.add([make_sighting()])
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).rename(away.with_name(away.name + end))
        with pytest.raises(OutputError, match="moved away, or another file put in its place"):
            store.add([make_sighting()])
        wait_until(lambda: "put a copy in its place, or an empty file" in store.trouble)
        assert not path.exists()  # somebody may be about to put one there
        other.rename(path)
        wait_until(lambda: store.usable)
        assert store.trouble == ""
        store.add([make_sighting()])
    assert (counted(path), counted(away)) == (6, 31)


def test_one_that_is_replaced_by_an_empty_file_begins_anew(tmp_path: Path) -> None:
    path = made(tmp_path / "s.db")
    with kept(path) as store:
        path.unlink()
        path.touch()
        with pytest.raises(OutputError, match="another file put in its place"):
            store.add([make_sighting()])
        add_until_it_works(store)
    assert counted(path) == 1


def test_a_copy_is_not_spoilt_by_the_log_of_the_store_that_was_there_before(tmp_path: Path) -> None:
    path, copy = made(tmp_path / "s.db"), tmp_path / "copy.db"
    shutil.copy(path, copy)
    with kept(path) as store:
        store.add([make_sighting() for _ in range(100)])
        copy.replace(path)  # its log stays
        with pytest.raises(OutputError, match="another file put in its place"):
            store.purge(Keep(), 0.0)
        wait_until(lambda: "s.db-wal: the log of the store that was here before" in store.trouble)
        path.with_name("s.db-wal").unlink()
        wait_until(lambda: store.usable)
        store.add([make_sighting()])
    assert counted(path) == 31


def test_a_copy_behind_a_link_is_not_spoilt_by_the_log_either(tmp_path: Path) -> None:
    path, copy, link = made(tmp_path / "s.db"), tmp_path / "copy.db", tmp_path / "link.db"
    shutil.copy(path, copy)
    link.symlink_to(path)
    with kept(link) as store:
        store.add([make_sighting() for _ in range(100)])
        copy.replace(path)
        with pytest.raises(OutputError, match="another file put in its place"):
            store.purge(Keep(), 0.0)
        wait_until(lambda: "-wal: the log of the store that was here before" in store.trouble)


def test_one_whose_first_page_is_lost_was_a_store_where_its_log_or_ballast_lies_there(tmp_path: Path) -> None:
    path = made(tmp_path / "s.db")
    damage(path, 0, 8192)
    with pytest.raises(WrongStore, match="not a store of watchline; name another file"), kept(path):
        pass
    (tmp_path / "s.db.ballast").write_bytes(b"\0" * 100)
    with kept(path) as store:
        assert "the store is damaged" in store.trouble


def test_one_that_another_program_holds_is_opened_once_that_lets_go(tmp_path: Path) -> None:
    path = made(tmp_path / "s.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with kept(path) as store:
            assert "another process is writing to this store" in store.trouble
            other.execute("ROLLBACK")
            other.close()
            wait_until(lambda: store.usable)
            assert store.trouble == ""
    assert counted(path) == 30


def test_one_that_others_write_all_the_time_stays_open(tmp_path: Path) -> None:
    path = made(tmp_path / "s.db")
    with kept(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another process is writing to this store"):
            store.add([make_sighting()])
        assert store.usable
        other.execute("ROLLBACK")
        store.add([make_sighting()])


def test_one_of_a_newer_program_is_told_and_opened_once_an_older_copy_is_there(tmp_path: Path) -> None:
    path, copy = made(tmp_path / "s.db"), tmp_path / "copy.db"
    shutil.copy(path, copy)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE alembic_version SET version_num = '99'")
        other.commit()
    with kept(path) as store:
        assert "its schema is 99, this watchline knows 1; use the newer watchline" in store.trouble
        copy.replace(path)
        wait_until(lambda: store.usable)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts as Linux does")
@pytest.mark.parametrize("wrong", ["full", "read-only"])
def test_one_on_a_disk_that_is_full_or_read_only_is_opened_once_it_is_not(wrong: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        if wrong == "full":
            disk.fill()
        else:
            disk.lock("ro")
        with kept(disk.folder / "s.db") as store:
            assert not store.usable
            with pytest.raises(StoreFull if wrong == "full" else OutputError) as refused:
                store.add([make_sighting()])
            assert ("no room left" if wrong == "full" else "read-only") in str(refused.value).lower()
            if wrong == "full":
                disk.free()
            else:
                disk.lock("rw")
            wait_until(lambda: store.usable)
            store.add([make_sighting()])


def test_what_is_named_wrongly_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database at all\n" * 100)
    with closing(sqlite3.connect(tmp_path / "places.db")) as other:
        other.execute("CREATE TABLE places (url TEXT)")
    for name, kind, line in (
        ("notes.txt", WrongStore, "not a store of watchline"),
        ("places.db", WrongStore, "but not a store of watchline"),
        ("notes.txt/s.db", UsageError, "no folder"),
        (".", UsageError, "a folder"),
    ):
        with pytest.raises(kind, match=line), kept(tmp_path / name):
            pass


def test_one_that_is_closed_while_it_is_opened_is_let_go_of(tmp_path: Path) -> None:
    path, begun, goes_on = made(tmp_path / "s.db"), threading.Event(), threading.Event()
    opened: list[SqliteStore] = []

    def open_slowly() -> SqliteStore:
        if not opened:
            opened.append(open_store(path))
            raise OutputError("not yet")
        begun.set()
        goes_on.wait(10)
        opened.append(open_store(path))
        return opened[-1]

    store = ReopeningStore(path, open_slowly, Backoff(Random(0), 0.01, 0.01))
    opened[0].close()
    begun.wait(10)
    store.close()
    goes_on.set()
    wait_until(lambda: len(opened) == 2)
    wait_until(lambda: not path.with_name("s.db-wal").exists())  # the last one to close takes the log with it
    with pytest.raises(OutputError, match="not yet"):
        store.reached()
    assert not store.usable
