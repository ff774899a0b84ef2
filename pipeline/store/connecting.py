"""Connections to a store's file: how each is set up, and what is refused before one is made."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from watchline.pipeline.store.failures import WrongStore, is_busy, refused, told, translated
from watchline.streams.errors import OutputError, UsageError

BUSY_S: Final = 10.0
PAGE_BYTES: Final = 8192  # seven vectors of 512 numbers, or one short of a picture
_WRITES: Final = "watchline_writes"
_READERS: Final = 8
_CACHE_KB: Final = 16 * 1024
_SETTINGS: Final = (
    "PRAGMA synchronous=FULL",  # what was committed survives a loss of power
    "PRAGMA secure_delete=ON",  # what was deleted is overwritten
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",  # a file from elsewhere may bring views and triggers
    "PRAGMA temp_store=MEMORY",  # nothing of a sighting in files that nobody erases
    f"PRAGMA cache_size=-{_CACHE_KB}",
)


def check_place(path: Path) -> None:
    """Refuses a place where there can be no store; makes none.

    Raises:
        UsageError: it is a folder, or in none.
        WrongStore: no file can be made there.
        OutputError: there is no room, or its disk can only be read.
    """
    with told(path):
        if path.is_dir():
            raise UsageError(f"{path}: a folder; name a file for the store")
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}; make it first")
        if not path.exists():
            with _making(path), tempfile.TemporaryFile(dir=path.parent):
                pass


def check_file(path: Path, *, create: bool) -> None:
    """Makes the file where there is none, for its owner alone; refuses what can't be a store.

    The file itself is not opened: where this process has the store open already, closing any file of it would let go
    of SQLite's locks, as POSIX has it.

    Raises:
        UsageError: there is none and none is to be made, or it is a folder.
        WrongStore: it may not be made or written.
        OutputError: there is no room, or its disk can only be read.
    """
    with told(path):
        if not create and path.parent.is_dir() and not path.exists():
            raise UsageError(f"{path}: no such store; `watchline run --store {path}` makes one")
        check_place(path)
        if not path.exists():
            with _making(path), suppress(FileExistsError):  # another process was quicker
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        for place in (path, path.parent):
            if not os.access(place, os.R_OK | os.W_OK):
                if _is_on_read_only_disk(place):
                    raise OutputError(f"{path}: its disk can only be read; mount it for writing, or look at its errors")
                raise WrongStore(f"{path}: no leave to read and write {place}; allow it, or name another file")


def _is_on_read_only_disk(place: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(place).f_flag & os.ST_RDONLY)


@contextmanager
def _making(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        sentence = f"{path}: no file can be made there ({reason}); name one in another folder"
        raise refused(error, sentence) from error


def connect(path: Path, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """Returns a connection for one thread at a time, that leaves transactions to its user."""
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        _use_wal(connection, busy_s)
        for setting in _SETTINGS:
            connection.execute(setting).close()
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """Turns a new store to write-ahead logging; SQLite does not wait by itself for others who do the same."""
    until = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def engine_of(path: Path, busy_s: float = BUSY_S) -> Engine:
    """Returns connections to a store as SQLAlchemy keeps them, for readers and one writer at a time."""
    engine = create_engine(
        "sqlite://", creator=lambda: connect(path, busy_s), poolclass=QueuePool, pool_size=2, max_overflow=_READERS - 2
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    """Takes the lock of a writer at once, so that one who has read need not give up when it comes to writing."""
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def writing(engine: Engine) -> Engine:
    """Returns the same connections, for transactions that write."""
    return engine.execution_options(**{_WRITES: True})


def truncate_wal(path: Path, busy_s: float = BUSY_S) -> bool:
    """Writes the log back into the store and empties it; False where somebody held it for longer than `busy_s`."""
    with told(path):
        connection = connect(path, busy_s)
        try:
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise translated(path, error) from error
        finally:
            connection.close()
    return not busy


def has_writer(path: Path) -> bool:
    """Tells whether somebody is in the midst of a transaction that writes."""
    with told(path), closing(connect(path, 0.0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return True
            raise
        connection.execute("ROLLBACK")
        return False
