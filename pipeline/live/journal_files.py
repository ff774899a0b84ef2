"""The files of a journal: named by the time of their first line, grown by whole lines, mended when opened."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

from watchline.streams.errors import UsageError

ENDING: Final = ".jsonl"
PART: Final = ENDING + ".part"
_FORM: Final = "%Y-%m-%dT%H-%M-%SZ"
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:-\d+)?\.jsonl")
_IDS: Final = re.compile(rb'"(?:track|highest)_id":(\d{1,18})')
_HEAD: Final = b'{"type":"file",'
_LATEST: Final = 253402300799  # the last second of the year 9999
_CHUNK: Final = 1 << 20
_LONGEST: Final = 64  # bytes of an id and its name, more than enough
_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_APPEND
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


def camera_folder(folder: Path, camera: str) -> Path:
    """Returns the folder of a camera's files within `folder`.

    Raises:
        UsageError: the name is not one of a camera.
    """
    if not camera or camera.startswith(".") or re.search(r"[\s/\\\0]", camera):
        raise UsageError(f"camera {camera!r}: no such name; want letters, digits, '.', '_' or '-'")
    return folder / camera


def make_folder(folder: Path) -> None:
    """Makes a folder that only its owner and its group may read, and those above it."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)


def new_path(folder: Path, at: float) -> Path:
    """Returns where a file goes whose first line is of the time `at`, UTC seconds; there is none of that name yet.

    >>> new_path(Path("dock-2"), 1795269600.0).name
    '2026-11-21T14-00-00Z.jsonl'
    """
    name = datetime.fromtimestamp(min(max(at, 0.0), _LATEST), UTC).strftime(_FORM)
    names = (f"{name}-{n}{ENDING}" if n > 1 else f"{name}{ENDING}" for n in count(1))
    return next(folder / each for each in names if not os.path.lexists(folder / each))


def named_at(name: str) -> float | None:
    """Returns the time that a file's name says, UTC seconds; None where it is no file of a journal.

    >>> named_at("2026-11-21T14-00-00Z-2.jsonl"), named_at("notes.txt")
    (1795269600.0, None)
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    day, clock = match[1][:10], match[1][11:19].replace("-", ":")
    try:
        return datetime.fromisoformat(f"{day}T{clock}+00:00").timestamp()
    except ValueError:  # the 31st of February
        return None


@dataclass(frozen=True, slots=True)
class Filed:
    """A file as it lies there.

    Attributes:
        path: where it is.
        camera: whose it is.
        named_at: time of its first line, UTC seconds.
        written_at: when it was last written to, UTC seconds.
        size: bytes.
    """

    path: Path
    camera: str
    named_at: float
    written_at: float
    size: int


def files_in(folder: Path) -> list[Filed]:
    """Returns the files of one camera, the longest written first; none where the folder cannot be read."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            at = named_at(entry.name)
            if at is None:
                continue
            with suppress(OSError):  # it went meanwhile
                stat = entry.stat(follow_symlinks=False)
                if entry.is_file(follow_symlinks=False):
                    found.append(Filed(folder / entry.name, folder.name, at, stat.st_mtime, stat.st_size))
    return sorted(found, key=lambda filed: (filed.written_at, filed.path.name))


def cameras_in(folder: Path) -> list[str]:
    """Returns the names of all that have a folder there; none where it cannot be read."""
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    return []


@dataclass(frozen=True, slots=True)
class Ended:
    """Where the journal of a camera ended.

    Attributes:
        at: time of its last line, UTC seconds; None where none can be read.
        highest_id: no track id in it is higher; 0 where there is none.
    """

    at: float | None
    highest_id: int


def ended(folder: Path) -> Ended:
    """Returns where the journal of one camera ended; reads its last file, and those before it where that is damaged."""
    at, highest = None, 0
    for filed in reversed(files_in(folder)):
        with suppress(OSError), filed.path.open("rb") as file:
            at = _last_time(file.fileno()) if at is None else at
            found, headed = _highest(file.fileno())
            highest = max(highest, found)
            if headed and at is not None:
                break
    return Ended(at, highest)


def time_of(line: bytes) -> float | None:
    """Returns when what a line tells had ended, UTC seconds; None where it is no line of a journal."""
    try:
        record = json.loads(line)
        at = {"tracks": "captured_at", "gap": "to", "file": "from"}[record["type"]]
        return float(record[at])
    except (ValueError, KeyError, TypeError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None


def _last_time(descriptor: int) -> float | None:
    """Returns the time of the last whole line that can be read, of the last whole megabyte."""
    size = _whole_size(descriptor)
    lines = _read(descriptor, max(0, size - _CHUNK), min(size, _CHUNK)).split(b"\n")
    times = (time_of(line) for line in reversed(lines))
    return next((at for at in times if at is not None), None)


def _highest(descriptor: int) -> tuple[int, bool]:
    """Returns the highest id in a file, and whether its first line tells that of the files before it."""
    highest, carried, offset = 0, b"", 0
    headed = _read(descriptor, 0, len(_HEAD)) == _HEAD
    while chunk := _read(descriptor, offset, 4 * _CHUNK):
        offset += len(chunk)
        ids = set(_IDS.findall(carried + chunk))
        highest = max(highest, max(map(int, ids), default=0))
        carried = (carried + chunk)[-_LONGEST:]
    return highest, headed


def _whole_size(descriptor: int) -> int:
    """Returns how many bytes there are up to the end of the last whole line."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _CHUNK)
        at = _read(descriptor, start, end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _read(descriptor: int, offset: int, size: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


class LogFile:
    """A file that grows by whole lines, also after a crash: a half-written last line is cut off when it is opened.

    Attributes:
        path: where it is.
        size: bytes.
        cut: whether a half-written line was cut off.

    Raises:
        OSError: at any call, when the system refuses; the file then ends with the last whole line, or will when it is
            opened again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unsynced = False
        self._descriptor: int | None = os.open(path, _FLAGS, 0o640)
        try:
            self.size = _whole_size(self._descriptor)
            self.cut = self.size < os.fstat(self._descriptor).st_size
            if self.cut:
                os.ftruncate(self._descriptor, self.size)
        except OSError:
            self.close()
            raise

    def still_there(self) -> bool:
        """Returns whether what is written still lands in the file of that name: someone may have deleted it."""
        assert self._descriptor is not None
        try:
            there, here = self.path.stat(follow_symlinks=False), os.fstat(self._descriptor)
        except FileNotFoundError:
            return False
        self.size = here.st_size
        return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)

    def write(self, data: bytes) -> None:
        """Appends whole lines, all or none."""
        assert self._descriptor is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)
        self._unsynced = True

    def sync(self) -> None:
        """Sees to it that a power failure cannot take what was written."""
        if self._unsynced and self._descriptor is not None:
            os.fsync(self._descriptor)
            self._unsynced = False

    def close(self, not_before: float = 0.0) -> None:
        """Syncs and closes. Safe to call twice.

        Args:
            not_before: UTC seconds; a file that counts as written before is dated then. So dates keep the order in
                which files were written, whatever the clock does.
        """
        if self._descriptor is None:
            return
        try:
            self.sync()
            if os.fstat(self._descriptor).st_mtime < not_before:
                os.utime(self.path, (not_before, not_before))
        finally:
            os.close(self._descriptor)
            self._descriptor = None
