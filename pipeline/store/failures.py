"""What goes wrong with a store's file, told in one line that names the file and the next step."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from watchline.streams.errors import OutputError, UsageError

UNFIT: Final = (DataError, IntegrityError, InterfaceError, ProgrammingError)  # of values that cannot be stored
_ALMOST_FULL: Final = 64 * 1024  # a write of SQLite's may fail with less than this left
_LEFT_BY_A_STORE: Final = (".ballast", "-wal")  # beside one that was written to; a loss of power leaves them there
_WRONG: Final = {errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}


class StoreFull(OutputError):  # noqa: N818 - the word of the seam
    """There is no room on the disk: nothing of the request was kept."""


class StoreBusy(OutputError):  # noqa: N818
    """Another process kept the store to itself for as long as was waited; the file is as good as before."""


class WrongStore(OutputError):  # noqa: N818
    """What was named is no store, or may not be used: waiting mends nothing, another name or other rights do."""


class StaleMark(OutputError):  # noqa: N818
    """The log of removed vectors no longer goes back to a mark: an index that stands there is to be built anew."""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns errors of the database into ours.

    Raises:
        StoreFull: the disk is full.
        OutputError: anything else that is wrong with the file.
    """
    try:
        yield
    except NoConnectionError as error:
        raise OutputError(f"{path}: too many readers at once; try again") from error
    except UNFIT:  # what was asked for is at fault, not the file
        raise
    except DBAPIError as error:
        raise translated(path, error.orig) from error
    except sqlite3.Error as error:
        raise translated(path, error) from error
    except OSError as error:
        raise refused(error, f"{path}: {error.strerror or error}") from error


@contextmanager
def read(path: Path) -> Iterator[None]:
    """Turns errors of what a file says, and of what was asked of it, into ours: a file may hold anything.

    Raises:
        StoreFull: the disk is full.
        OutputError: it is damaged, or anything else is wrong with it.
        UsageError: a name was asked for that no store can hold.
    """
    try:
        with told(path):
            yield
    except UnicodeEncodeError as error:
        raise UsageError(f"{path}: {error.object!a}: not a name that a store can hold; it is no UTF-8") from error
    except (TypeError, ValueError, OverflowError, *UNFIT) as error:
        raise OutputError(f"{path}: {_SAID[sqlite3.SQLITE_CORRUPT]} ({error})") from error


def is_busy(error: sqlite3.Error) -> bool:
    """Tells whether another connection was in the way."""
    return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def refused(error: OSError, sentence: str) -> OutputError:
    """Returns an error of the system's as one of ours: one of what was named, or one that may pass."""
    return WrongStore(sentence) if error.errno in _WRONG else OutputError(sentence)


def translated(path: Path, error: object) -> OutputError:
    """Returns an error of SQLite's as one of ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _free_bytes(path) < _ALMOST_FULL):
        return StoreFull(f"{path}: no room left on its disk; free some, or keep less")
    if code == sqlite3.SQLITE_NOTADB and any(path.with_name(path.name + end).exists() for end in _LEFT_BY_A_STORE):
        code = sqlite3.SQLITE_CORRUPT  # it was one
    said = _SAID.get(code)
    if said is None:
        return OutputError(f"{path}: the store cannot be read or written: {error}")
    return _KINDS.get(code, OutputError)(f"{path}: {said}")


_SAID: Final = {
    sqlite3.SQLITE_BUSY: "another process is writing to this store and does not come to an end; try again later",
    sqlite3.SQLITE_LOCKED: "another process is writing to this store and does not come to an end; try again later",
    sqlite3.SQLITE_CORRUPT: "the store is damaged; bring back a copy, or name a new file",
    sqlite3.SQLITE_NOTADB: "not a store of watchline; name another file",
    sqlite3.SQLITE_READONLY: "the store can only be read; a store needs leave to write to its file and folder",
    sqlite3.SQLITE_PERM: "no leave to read and write the store",
    sqlite3.SQLITE_CANTOPEN: "the store cannot be opened; it needs leave to write to its file and folder",
    sqlite3.SQLITE_IOERR: "the disk of the store does not work as it should: reading or writing failed",
}
_KINDS: Final = {
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_LOCKED: StoreBusy,
    sqlite3.SQLITE_NOTADB: WrongStore,
    sqlite3.SQLITE_PERM: WrongStore,
}


def _free_bytes(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return _ALMOST_FULL
