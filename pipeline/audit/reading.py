"""Reading an audit log of any length, a line at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchline.pipeline.audit.head import SignedMark, read_head
from watchline.pipeline.audit.locking import locked
from watchline.pipeline.audit.log import head_of, log_of
from watchline.pipeline.audit.record import MOST_RECORD_BYTES, Record, parse
from watchline.streams.errors import OutputError, UsageError


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An audit log at one moment; what is written later is not read.

    Attributes:
        path: the log.
        size: its bytes.
        head: its head mark; None where there is none.
        head_problem: why the mark cannot be read; "" where it can.
    """

    path: Path
    size: int
    head: SignedMark | None
    head_problem: str

    def lines(self) -> Iterator[bytes]:
        """Yields the lines with their ends; only the last may have none. An empty one stands for one that is too long.

        Raises:
            OutputError: it cannot be read.
        """
        left = self.size
        if not left:  # nor need there be a file
            return
        too_long = False
        try:
            with self.path.open("rb") as file:
                while left > 0 and (line := file.readline(min(left, MOST_RECORD_BYTES))):
                    left -= len(line)
                    is_cut = len(line) == MOST_RECORD_BYTES and not line.endswith(b"\n")
                    if not is_cut or not left:
                        yield b"\n" if too_long or is_cut else line
                    too_long = is_cut
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be read ({error.strerror or error})") from error

    def records(self) -> Iterator[Record | None]:
        """Yields the records in the order of the file; None for a line that is none.

        Raises:
            OutputError: it cannot be read.
        """
        for line in self.lines():
            yield parse(line[:-1]) if line.endswith(b"\n") else None


def snapshot(store: Path) -> Snapshot:
    """Returns the audit log of a store as it is now, between two records.

    Raises:
        UsageError: there is none, and nothing says that there was one.
        OutputError: it cannot be read, or somebody does not let go of it.
    """
    path = log_of(store)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise OutputError(f"{path}: is no audit log, but a folder or device; name another --store")
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            head, problem = _head(store)
            if head is None and not problem:
                raise UsageError(f"{path}: no such audit log; it begins with the first audited action") from None
            return Snapshot(path, 0, head, problem)
        try:
            with locked(descriptor, path, shared=True):
                return Snapshot(path, os.fstat(descriptor).st_size, *_head(store))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror or error}); allow it") from error


def _head(store: Path) -> tuple[SignedMark | None, str]:
    try:
        return read_head(head_of(store)), ""
    except ValueError as error:
        return None, str(error)
