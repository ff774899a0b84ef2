"""The file of a store: whose it is, how it is set up, and what is said where it is no good."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.made import BODY, make_sighting
from watchline.pipeline.store.connecting import connect
from watchline.pipeline.store.seam import Keep, Selection
from watchline.pipeline.store.sqlite import open_store
from watchline.streams.errors import OutputError, WatchlineError


def said(path: Path, **options: bool) -> str:
    """Returns what is said when a store is opened and read that is no good: one line, with its name."""
    with pytest.raises(WatchlineError) as caught:
        store = open_store(path, **options)
        try:
            for track in store.find(Selection(), 1000):
                for id_ in track.ids:
                    store.get(id_)
        finally:
            store.close()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A store of 200 sightings, closed."""
    path = tmp_path / "sightings.db"
    store = open_store(path, ballast_bytes=0)
    store.add([make_sighting() for _ in range(200)])
    store.close()
    return path


def test_the_files_of_a_store_are_their_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store = open_store(tmp_path / "sightings.db", ballast_bytes=4096)
        store.add([make_sighting()])
    finally:
        os.umask(old)
    files = sorted(tmp_path.iterdir())
    assert {file.suffix for file in files} == {".db", ".ballast", ".db-shm", ".db-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    store.close()


def test_every_connection_writes_through_and_overwrites_what_is_deleted(stored: Path) -> None:
    with closing(connect(stored)) as connection:
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "temp_store", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "temp_store": 2,
        "busy_timeout": 10_000,
    }


def test_an_odd_name_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "what? 100%#&=ü.db"
    store = open_store(path, ballast_bytes=0)
    store.add([make_sighting()])
    store.close()
    assert path.is_file()
    again = open_store(path, create=False)
    assert again.count(Selection()) == 1
    again.close()


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    store = open_store(tmp_path / "empty.db")
    assert store.count(Selection()) == 0
    store.close()


def test_a_store_that_is_not_there_is_made_only_where_that_is_asked_for(tmp_path: Path) -> None:
    assert "no such store" in said(tmp_path / "none.db", create=False)
    assert list(tmp_path.iterdir()) == []
    assert "make it first" in said(tmp_path / "none" / "none.db")


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    assert "a folder" in said(tmp_path)


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all\n" * 100)
    assert "not a store of watchline" in said(path)
    assert path.read_text().startswith("not a database")
    path.write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    assert "not a store of watchline" in said(path)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE places (url TEXT)")
        connection.commit()
    assert "but not a store of watchline" in said(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("places",)]


@pytest.mark.parametrize("noise", [b"\0", b"\xff", b"\x5a"])
def test_a_store_with_pages_overwritten_says_so(stored: Path, noise: bytes) -> None:
    size = stored.stat().st_size
    with stored.open("r+b") as file:
        file.seek(8192)
        file.write(noise * (size - 8192))
    assert "damaged" in said(stored) or "not a store" in said(stored)


def test_a_truncated_store_says_so(stored: Path) -> None:
    os.truncate(stored, stored.stat().st_size // 2)
    assert "damaged" in said(stored)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="becomes another user, as only root may")
@pytest.mark.parametrize(("mode", "folder_mode"), [(0o000, 0o755), (0o444, 0o755), (0o666, 0o555)])
def test_a_store_without_leave_says_so(stored: Path, mode: int, folder_mode: int) -> None:
    for folder in [*stored.parents][:-2]:
        folder.chmod(0o755)
    stored.chmod(mode)
    stored.parent.chmod(folder_mode)
    script = f"""if True:
        import os, pathlib
        from watchline.pipeline.store.sqlite import open_store
        os.setuid(65534)
        try:
            open_store(pathlib.Path({str(stored)!r}))
        except Exception as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith(f"WrongStore {stored}: no leave to read and write")
    assert done.stdout.count("\n") == 1


def test_a_store_that_is_held_by_another_writer_says_so(stored: Path) -> None:
    store = open_store(stored, busy_s=0.1, ballast_bytes=0)
    with closing(sqlite3.connect(stored, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="another process is writing"):
            store.add([make_sighting()])
        assert store.count(Selection()) == 200
        other.execute("ROLLBACK")
    store.add([make_sighting()])
    store.close()


@pytest.mark.parametrize(
    "spoilt",
    [
        "UPDATE vector SET data = x'00'",
        "UPDATE crop SET kind = 'soul'",
        "UPDATE path SET data = x'0000'",
        "UPDATE sighting SET frame_width = 0",
        "UPDATE sighting SET started_at = 'noon'",
        "UPDATE crop SET jpeg = 'text'",
        "UPDATE crop SET x0 = 'left'",
        "UPDATE model SET kind = 'soul'",
    ],
)
def test_values_that_no_program_of_ours_wrote_are_one_clear_line(stored: Path, spoilt: str) -> None:
    with closing(sqlite3.connect(stored)) as connection:
        connection.execute(spoilt)
        connection.commit()
    store = open_store(stored, create=False)
    with pytest.raises(OutputError, match="the store is damaged"):
        for found in store.find(Selection(), 200):
            store.get(found.ids[0])
    store.close()


def test_vectors_of_several_lengths_of_one_model_are_one_clear_line(stored: Path) -> None:
    with closing(sqlite3.connect(stored)) as connection:
        connection.execute("UPDATE vector SET data = x'0000' WHERE key = 1")
        connection.commit()
    store = open_store(stored, create=False)
    with pytest.raises(OutputError, match="the store is damaged"):
        list(store.vectors(BODY.sha256))
    store.close()


def test_a_purge_says_when_the_log_could_not_be_emptied(stored: Path) -> None:
    store = open_store(stored, busy_s=0.1, ballast_bytes=0)
    with closing(connect(stored)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sighting").fetchall()
        assert store.purge(Keep(crops_s=1.0), 1e9).in_log
        reader.execute("ROLLBACK")
    assert not store.purge(Keep(), 1e9).in_log
    store.close()
