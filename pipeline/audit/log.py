"""The audit log: a file of records beside the store, that only grows. No record, no action."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from watchline.pipeline.audit.head import MOST_AHEAD, START, Mark, SignedMark, read_head, write_head
from watchline.pipeline.audit.locking import LIMIT_S, locked
from watchline.pipeline.audit.record import FORMAT, MOST_RECORD_BYTES, Action, Entry, Record, parse
from watchline.pipeline.files import BINARY, FULL, sync_folder
from watchline.pipeline.signing import SiteKey, default_key
from watchline.streams.errors import OutputError

MOST_TORN_BYTES: Final = 2 * MOST_RECORD_BYTES  # of one writing: the first of a log has two records
_WINDOW_BYTES: Final = MOST_TORN_BYTES + MOST_RECORD_BYTES + 1
_LOOK: Final = "`watchline audit verify` tells more"
_ANEW: Final = "to begin a new log, move both files away together, and note why"


class NotRecordedError(OutputError):
    """An action was not recorded, so it must not be done."""


def log_of(store: Path) -> Path:
    """Returns the audit log of a store."""
    return store.with_name(store.name + ".audit")


def head_of(store: Path) -> Path:
    """Returns the head mark of a store's audit log."""
    return store.with_name(store.name + ".audit-head")


class AuditLog:
    """The audit log of one store. Several threads and processes may write to it, each with one of its own.

    Args:
        store: its file; the log lies beside it.
        key: file of the site's key; made where it is missing.
        clock: UTC seconds.
        limit_s: longest wait for another writer, seconds.
    """

    def __init__(
        self,
        store: Path,
        key: Path | None = None,
        clock: Callable[[], float] = time.time,
        limit_s: float = LIMIT_S,
    ) -> None:
        self.path = log_of(store)
        self._head = head_of(store)
        self._store = store.name
        self._key_path = key
        self._clock = clock
        self._limit_s = limit_s

    def append(self, entry: Entry) -> Mark:
        """Records an action that is about to be done; once this returns, the record is on the disk.

        A line that a killed writer left torn is moved to a file beside the log, and the log says so.

        Returns:
            The new record.

        Raises:
            NotRecordedError: it cannot be written, or records are missing at the log's end: do not do the action.
            UsageError: the site's key cannot be used; do not do it either.
            ValueError: the record would be too long.
        """
        key = SiteKey.load_or_make(self._key_path or default_key())
        try:
            with self._opened() as descriptor, locked(descriptor, self.path, limit_s=self._limit_s):
                end = self._end(descriptor)
                self._check(end, key)
                return self._add(descriptor, end, entry, key)
        except NotRecordedError:
            raise
        except OutputError as error:
            raise NotRecordedError(f"{error}; what was asked for was not done") from error
        except OSError as error:
            reason = "no room left" if error.errno in FULL else (error.strerror or str(error)).lower()
            raise NotRecordedError(
                f"{self.path}: the audit log cannot be written ({reason}), so what was asked for was not done"
            ) from error

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Opens the log; makes it, for its owner alone, where there is none."""
        flags = os.O_RDWR | os.O_APPEND | BINARY
        try:
            descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            descriptor = os.open(self.path, flags | os.O_CREAT, 0o600)
            sync_folder(self.path.parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _end(self, descriptor: int) -> _End:
        """Looks at the end of the log.

        Raises:
            NotRecordedError: there is no record there.
        """
        size = os.fstat(descriptor).st_size
        start = max(0, size - _WINDOW_BYTES)
        data = _read_at(descriptor, start, size - start)
        whole, _, torn = data.rpartition(b"\n")
        line = whole.rpartition(b"\n")[2]
        if size == len(torn) <= MOST_TORN_BYTES:
            return _End(0, torn, None)
        last = parse(line)
        if last is None or last.digest() != last.sha256 or len(torn) > MOST_TORN_BYTES:
            raise NotRecordedError(f"{self.path}: is damaged at its end, so nothing can be recorded; {_LOOK}; {_ANEW}")
        return _End(size - len(torn), torn, last)

    def _check(self, end: _End, key: SiteKey) -> None:
        """Compares the log with its head mark, as far as can be done without reading all.

        Raises:
            NotRecordedError: records are missing at the end, or the mark is, or another key signed it.
        """
        try:
            head = read_head(self._head)
        except ValueError as error:
            raise NotRecordedError(f"{error}, so nothing can be recorded; bring it back; {_ANEW}") from error
        if head is None and end.last is None:
            return
        if head is None:
            raise NotRecordedError(
                f"{self._head}: is gone, so nobody can tell whether records are missing; bring it back; {_ANEW}"
            )
        if head.fingerprint != key.public.fingerprint or not key.public.verifies(head.signature, head.signed):
            raise NotRecordedError(
                f"{self._head}: was not signed by this site's key ({key.public.fingerprint[:16]}), but as it says by "
                f"{head.fingerprint[:16]}; name that with WATCHLINE_SITE_KEY; {_ANEW}"
            )
        self._check_number(end, head)

    def _check_number(self, end: _End, head: SignedMark) -> None:
        number = end.last.number if end.last else 0
        if head.mark.number > number:
            raise NotRecordedError(
                f"{self.path}: ends at record {number}, and its head mark knows record {head.mark.number}: records "
                f"were removed; bring them back from a copy; {_ANEW}"
            )
        if number > head.mark.number + MOST_AHEAD:
            raise NotRecordedError(
                f"{self.path}: ends at record {number}, its head mark at {head.mark.number}: others were added, and "
                f"nobody signed them; {_LOOK}; {_ANEW}"
            )
        if end.last and head.mark.number == number and head.mark.sha256 != end.last.sha256:
            raise NotRecordedError(
                f"{self.path}: record {number} is not the one that its head mark knows; {_LOOK}; {_ANEW}"
            )

    def _add(self, descriptor: int, end: _End, entry: Entry, key: SiteKey) -> Mark:
        """Writes the record, after one that begins or mends the log where that is needed, and then the head mark."""
        records: list[Record] = []
        if end.last is None:
            begin = {"format": FORMAT, "log": secrets.token_hex(16), "store": self._store[-256:]}
            records.append(self._record(end.last, Entry(Action.BEGIN, entry.who, details=begin)))
        if end.torn:
            mended = Entry(Action.MEND, entry.who, details=self._set_aside(end))
            records.append(self._record(records[-1] if records else end.last, mended))
        records.append(self._record(records[-1] if records else end.last, entry))
        last = records[-1]
        lines = b"".join(record.line() for record in records)
        mark = Mark(last.number, last.sha256)
        if end.last is None and not self._head.exists():
            write_head(self._head, START, last.at, key)  # from now on a log without a mark is known to be wrong
        try:
            if end.torn:
                os.ftruncate(descriptor, end.size)
            _write(descriptor, lines)
            os.fsync(descriptor)
            write_head(self._head, mark, last.at, key)
        except (OSError, OutputError):  # not an interrupt: the mark may be written already, and must not run ahead
            with suppress(OSError):
                os.ftruncate(descriptor, end.size)
                _write(descriptor, end.torn)
            raise
        return mark

    def _record(self, last: Record | None, entry: Entry) -> Record:
        now = self._clock()
        at = datetime.fromtimestamp(now, UTC)
        before = last.time if last else now
        record = Record(
            number=last.number + 1 if last else 1,
            at=at.isoformat(timespec="microseconds"),
            back_s=round(max(0.0, before - at.timestamp()), 6),
            account=account(),
            who=entry.who,
            action=entry.action.value,
            case=entry.case,
            details=entry.details,
            prior=last.sha256 if last else START.sha256,
        )
        return replace(record, sha256=record.digest())

    def _set_aside(self, end: _End) -> dict[str, str | int]:
        """Writes the torn end to a file of its own; returns what the log says of it."""
        digest = hashlib.sha256(end.torn).hexdigest()
        path = self.path.with_name(f"{self.path.name}-torn-{end.last.number + 1 if end.last else 1}-{digest[:8]}")
        path.unlink(missing_ok=True)  # of a writer that was killed, or a link that leads elsewhere
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, 0o600)
        try:
            _write(descriptor, end.torn)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return {"file": path.name[-256:], "bytes": len(end.torn), "sha256": digest}


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a log.

    Attributes:
        size: up to the end of the last whole line, bytes.
        torn: what comes after it.
        last: the last record; None in a log without one.
    """

    size: int
    torn: bytes
    last: Record | None


def account() -> str:
    """Returns the account that this program runs under, as the system says, whatever the environment does."""
    if sys.platform == "win32":
        import getpass

        return getpass.getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _read_at(descriptor: int, start: int, length: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(start)
        return file.read(length)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
