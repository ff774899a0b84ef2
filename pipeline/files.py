"""Writing results so that a crash, a kill or a full disk leaves whole lines and whole files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from watchline.streams.errors import OutputError

BINARY: int = getattr(os, "O_BINARY", 0)  # of os.open: without it, Windows writes other line ends
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """Turns the operating system's refusal to write `path`, which `option` named, into an `OutputError`."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        cure = "free the disk" if error.errno in FULL else "allow writing there"
        raise OutputError(f"{path}: cannot write ({reason}); {cure} or choose another {option}") from error


class LineFile:
    """A text file that grows by whole lines, each handed to the system at once.

    Raises:
        OutputError: at any call, when the system refuses; the file then ends with the last whole line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        with writing(path):
            self._file = path.open("wb", buffering=0)

    def write(self, *lines: str) -> None:
        """Appends each of `lines` and a line end, all at once."""
        whole = "".join(f"{line}\n" for line in lines).encode()
        data = memoryview(whole)
        try:
            with writing(self._path):
                while data:
                    data = data[self._file.write(data) :]
        except OutputError:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += len(whole)

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        with writing(self._path):
            self._file.close()


def write_whole(path: Path, content: str | bytes, option: str = "--out") -> None:
    """Writes `path`, text as UTF-8, which `option` named, whole or not at all.

    Raises:
        OutputError: the system refuses; what was there before stays.
    """
    part = path.with_name(path.name + ".part")
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        with writing(path, option), part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with writing(path, option):
            part.replace(path)
    except OutputError:
        part.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Makes names that came, went or changed in a folder last through a loss of power; not on Windows.

    Raises:
        OSError: the system refuses.
    """
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
