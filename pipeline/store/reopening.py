"""A store that is opened anew by itself: for a program that must run on while the store cannot be used."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final

from watchline.pipeline.store.failures import StoreBusy, StoreFull, WrongStore
from watchline.pipeline.store.seam import Erased, Keep
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import SqliteStore
from watchline.streams.backoff import Backoff
from watchline.streams.errors import OutputError, UsageError, WatchlineError

_log = logging.getLogger(__name__)

_TELL_AGAIN_S: Final = 3600.0
_TELL_OTHER_S: Final = 60.0  # of a file that is wrong in two ways in turn
_END_S: Final = 0.1  # for the thread; one that opens the store just then closes it by itself


class ReopeningStore:
    """Keeps a store open as well as it can be. Every method may be called from any thread, none waits for an opening.

    Where the store cannot be opened, or what is written to it fails, it is let go of and opened anew: soon, then less
    and less often, at last each half minute. Meanwhile every call is refused with the reason. So is it where it was
    moved away, or another file put in its place. A full disk, and a process that writes all the time, need no opening
    anew. One that is not there is made at the start only: later somebody may be about to put a copy there.

    Args:
        path: of its file.
        open_store: opens it.
        backoff: how long to wait between tries.

    Raises:
        UsageError: what is named cannot be a store, such as a folder.
        WrongStore: it is none, or may not be used. Whatever else is wrong is told by `trouble`.
    """

    def __init__(self, path: Path, open_store: Callable[[], SqliteStore], backoff: Backoff | None = None) -> None:
        self._path = path
        self._open_store = open_store
        self._backoff = backoff or Backoff(Random())  # noqa: S311  # only spreads tries
        self._changed = threading.Condition()  # guards what follows
        self._store: SqliteStore | None = None
        self._seen: tuple[object, object] = None, None  # file and log that were used last
        self._error: OutputError | None = None
        self._on_trial = False  # writing failed, and has not succeeded since
        self._closed = False
        self._opened_s = self._told_s = self._since_s = time.monotonic()
        self._healthy_s = 0.0  # for how long the one that was let go of had been open
        try:
            self._open()
        except (UsageError, WrongStore):
            raise
        except OutputError as error:
            self._note(error)
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why nothing can be stored, in a sentence with the next step; "" while it can."""
        with self._changed:
            return str(self._error or "")

    @property
    def usable(self) -> bool:
        """Whether it is open."""
        with self._changed:
            return self._store is not None

    def add(self, sightings: Sequence[Sighting]) -> None:
        """See `SightingStore`."""
        store = self._current()
        try:
            store.add(sightings)
        except (StoreFull, StoreBusy):
            raise
        except OutputError as error:
            self._let_go(store, error, on_trial=True)
            raise
        with self._changed:
            self._on_trial = False
            self._recovered()

    def purge(self, keep: Keep, now: float) -> Erased:
        """See `SightingStore`."""
        return self._current().purge(keep, now)

    def trim(self, most_bytes: int) -> Erased:
        """See `SightingStore`."""
        return self._current().trim(most_bytes)

    def reached(self) -> float | None:
        """See `SightingStore`."""
        return self._current().reached()

    def reach(self, at: float, *, surely: bool) -> None:
        """See `SightingStore`."""
        self._current().reach(at, surely=surely)

    def close(self) -> None:
        """Lets go of the files; idempotent."""
        with self._changed:
            self._closed = True
            store, self._store = self._store, None
            self._changed.notify_all()
        if store is not None:
            store.close()
        self._thread.join(_END_S)

    def _current(self) -> SqliteStore:
        with self._changed:
            if self._store is None:
                kind = StoreFull if isinstance(self._error, StoreFull) else OutputError
                raise kind(str(self._error or f"{self._path}: closed"))
            store, (file, _) = self._store, self._seen
        if _identity_of(self._path) != file:
            moved = OutputError(f"{self._path}: it was moved away, or another file put in its place")
            self._let_go(store, moved, on_trial=False)
            raise moved
        return store

    def _let_go(self, store: SqliteStore, error: OutputError, *, on_trial: bool) -> None:
        with self._changed:
            if self._store is not store:
                return  # another thread was quicker
            self._store = None
            self._on_trial |= on_trial
            self._healthy_s = time.monotonic() - self._opened_s
            self._note(error)
            self._changed.notify_all()
        store.close()

    def _open(self) -> None:
        self._check_replaced()
        try:
            store = self._open_store()
        finally:
            self._see()
        with self._changed:
            if not self._closed:
                self._store = store
                self._opened_s = time.monotonic()
                self._recovered()
                return
        store.close()

    def _check_replaced(self) -> None:
        """Refuses what somebody has put in place of the file only in part.

        Raises:
            OutputError: there is no file any more, or there is another one beside the log of the one before.
        """
        (file, log), (file_before, log_before) = self._found(empty_log=False), self._seen
        if file is None and file_before is not None:
            raise OutputError(
                f"{self._path}: it was moved away; put a copy in its place, or an empty file to begin anew"
            )
        if file != file_before and log is not None and log == log_before:
            raise OutputError(
                f"{self._path}-wal: the log of the store that was here before, which would spoil the one that is here "
                "now; move it away, too"
            )

    def _see(self) -> None:
        """Takes note of the files that are used; the log lies there from the opening on."""
        found = self._found(empty_log=True)
        if found[0] is not None:
            self._seen = found

    def _found(self, *, empty_log: bool) -> tuple[object, object]:
        log = Path(os.path.realpath(self._path) + "-wal")
        return _identity_of(self._path), _identity_of(log, empty=empty_log)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._store is None)
                healthy_s, self._healthy_s = self._healthy_s, 0.0
                if self._changed.wait_for(lambda: self._closed, self._backoff.failed(healthy_s)):
                    return
            try:
                self._open()
            except WatchlineError as error:
                self._note(error if isinstance(error, OutputError) else OutputError(str(error)))
            except Exception as error:  # noqa: BLE001  # whatever is wrong with the file, it is told and tried again
                self._note(OutputError(f"{self._path}: {type(error).__name__}: {error}"))

    def _note(self, error: OutputError) -> None:
        """Tells what is wrong: at once, soon when it is something else, and each hour."""
        with self._changed:
            now_s, before = time.monotonic(), self._error
            if before is None:
                self._since_s = now_s
            again_s = _TELL_AGAIN_S if str(error) == str(before) else _TELL_OTHER_S
            if before is None or now_s - self._told_s >= again_s:
                self._told_s = now_s
                _log.error("no sightings can be stored: %s; tried again by itself", error)
            self._error = error

    def _recovered(self) -> None:
        """Takes note that the store works: it could be opened, and if writing failed, written to."""
        if self._error is not None and not self._on_trial:
            self._error = None
            _log.info("%s: sightings can be stored again, after %.0f s", self._path, time.monotonic() - self._since_s)


def _identity_of(path: Path, *, empty: bool = True) -> object:
    """Returns what tells a file from another of its name; None where there is none. The file is not opened.

    Args:
        path: of the file.
        empty: whether one without a byte counts.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size or empty else None
