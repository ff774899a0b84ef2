"""How long a journal is kept: by age, by size, and by the room left on the disk; and erasing by hand.

A file's age counts from when it was last written to, or from the time in its name where that is later. Clocks jump, so:

- A jump backwards is believed at once: it only makes files younger.
- A jump forwards is believed once it has lasted for `believe_s`: until then files keep the age that they would have
  without it. The time for which the program did not run counts as such a jump, too.
- A file from more than a day in the future has the age for which this program has known it.

So a wrong clock never deletes early, and a file outlives its time by `believe_s` at most. For size and room, files go
in the order in which they were written, whatever the clock said; those that are being written to go last, and for room
not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from watchline.pipeline.files import write_whole
from watchline.pipeline.live.journal_files import PART, Filed, camera_folder, cameras_in, files_in, time_of
from watchline.pipeline.live.steady_now import SteadyNow
from watchline.streams.errors import OutputError

_AHEAD_S: Final = 86400.0


class Erasure(StrEnum):
    """Why a file was erased."""

    AGE = "age"
    SIZE = "size"
    ROOM = "room"  # too little was left on the disk
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept.

    Attributes:
        age_s: no file longer than this.
        size_bytes: of all cameras.
        free_bytes: to be left free on the disk.
        believe_s: for which a clock must be ahead before files grow old by it.
    """

    age_s: float = 7 * 86400.0
    size_bytes: int = 10 << 30
    free_bytes: int = 1 << 30
    believe_s: float = 86400.0


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased at someone's word.

    Attributes:
        files: that are gone.
        shortened: that begin later than they did.
        size_bytes: by which the journal is smaller.
        refused: a sentence for each file that the system would not let go.
    """

    files: tuple[Path, ...]
    shortened: tuple[Path, ...]
    size_bytes: int
    refused: tuple[str, ...]


class Shelf:
    """All files of a journal. Used by one thread at a time; its numbers may be read by any.

    Attributes:
        size_bytes: of all files, as of the last `sweep` and what was told to `grew` since.
        files: how many there were at the last `sweep`.
        oldest_at: time in the oldest name, UTC seconds; None without files.
        free_bytes: on the disk; None where it does not say.
        erased: files erased, by why.
        tight: whether less is free than should be, with nothing left to erase.
    """

    def __init__(
        self, folder: Path, retention: Retention, clock: Callable[[], float], steady: Callable[[], float]
    ) -> None:
        self._folder, self._retention, self._steady = folder, retention, steady
        self._now = SteadyNow(clock, steady, retention.believe_s)
        self._begun = False
        self._ahead: dict[Path, float] = {}  # files from the future, and since when they are known, steady time
        self.size_bytes = 0
        self.files = 0
        self.oldest_at: float | None = None
        self.free_bytes: int | None = None
        self.erased = dict.fromkeys(Erasure, 0)
        self.tight = False

    def retain(self, retention: Retention) -> None:
        """Keeps more or less from the next sweep on; how long a clock is doubted stays."""
        self._retention = retention

    def grew(self, size: int) -> None:
        """Counts bytes that were written."""
        self.size_bytes += size

    def over(self) -> bool:
        """Returns whether there is more than there should be."""
        return self.size_bytes > self._retention.size_bytes

    def measure(self) -> None:
        """Asks the disk how much is free."""
        try:
            self.free_bytes = shutil.disk_usage(self._folder).free
        except OSError:
            self.free_bytes = None

    def sweep(self, current: Callable[[], Collection[Path]], let_go: Callable[[Path], None]) -> Iterator[None]:
        """Looks at all files and erases what is not to be kept, in steps: a camera's folder each, then the judgement.

        Args:
            current: returns the files that are being written to.
            let_go: closes one of them, before it is erased.
        """
        filed: list[Filed] = []
        for camera in cameras_in(self._folder):
            filed += files_in(_mended(self._folder / camera))
            yield
        self._judge(filed, frozenset(current()), let_go)

    def _judge(self, filed: list[Filed], current: Collection[Path], let_go: Callable[[Path], None]) -> None:
        filed.sort(key=lambda each: (each.path in current, each.written_at, each.path.name))
        filed = self._erase_old(filed, current)
        self.size_bytes = sum(each.size for each in filed)
        filed = self._erase_most(filed, self.size_bytes - self._retention.size_bytes, Erasure.SIZE, current, let_go)
        self.measure()
        if self.free_bytes is not None:
            lacking = self._retention.free_bytes - self.free_bytes
            closed = [each for each in filed if each.path not in current]
            left = self._erase_most(closed, lacking, Erasure.ROOM, current, let_go)
            self.tight = lacking > 0 and not left
            filed = left + [each for each in filed if each.path in current]
        self.size_bytes = sum(each.size for each in filed)
        self.files = len(filed)
        self.oldest_at = min((each.named_at for each in filed), default=None)

    def _erase_old(self, filed: list[Filed], current: Collection[Path]) -> list[Filed]:
        if not self._begun and filed:
            self._now.at_least(max(each.written_at for each in filed))
        self._begun = True
        now = self._now.now()
        ahead = {each.path for each in filed if _stamp(each) > now + _AHEAD_S}
        self._ahead = {path: self._ahead.get(path, self._steady()) for path in ahead}
        kept = []
        for each in filed:
            age_s = self._steady() - self._ahead[each.path] if each.path in ahead else now - _stamp(each)
            if each.path in current or age_s <= self._retention.age_s or not self._gone(each, Erasure.AGE):
                kept.append(each)
        return kept

    def _erase_most(
        self,
        filed: list[Filed],
        excess: int,
        why: Erasure,
        current: Collection[Path],
        let_go: Callable[[Path], None],
    ) -> list[Filed]:
        """Erases the first of `filed` until `excess` bytes are gone; returns what is left."""
        kept = []
        for each in filed:
            if excess > 0:
                if each.path in current:
                    let_go(each.path)
                if self._gone(each, why):
                    excess -= each.size
                    continue
            kept.append(each)
        return kept

    def _gone(self, filed: Filed, why: Erasure) -> bool:
        try:
            filed.path.unlink(missing_ok=True)
        except OSError:  # tried again at the next sweep
            return False
        self.erased[why] += 1
        return True

    def erase(self, camera: str | None, before: float | None) -> Erased:
        """Erases lines, and files of which none is left; see `Journal.erase`. None of them may be open."""
        cameras = cameras_in(self._folder) if camera is None else [camera_folder(self._folder, camera).name]
        files, shortened, size, refused = [], [], 0, []
        for each in (each for name in cameras for each in files_in(self._folder / name)):
            try:
                left = b"" if before is None or _stamp(each) < before else _lines_since(each.path, before)
                if len(left) == each.size:
                    continue
                if left:
                    told = each.path.stat()
                    write_whole(each.path, left)
                    each.path.chmod(0o640)
                    os.utime(each.path, ns=(told.st_atime_ns, told.st_mtime_ns))  # it is no younger than it was
                    shortened.append(each.path)
                else:
                    each.path.unlink()
                    self.erased[Erasure.ASKED] += 1
                    files.append(each.path)
                size += each.size - len(left)
            except FileNotFoundError:
                continue
            except OSError as error:
                refused.append(f"{each.path}: cannot be erased ({(error.strerror or str(error)).lower()})")
            except OutputError as error:
                refused.append(str(error))
        self.size_bytes -= size
        return Erased(tuple(files), tuple(shortened), size, tuple(refused))


def _mended(folder: Path) -> Path:
    """Removes what a kill left there of `erase`, which is not under way now, and the folder itself when it is empty."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.endswith(PART):
                (folder / entry.name).unlink()
        folder.rmdir()  # refused where there are files
    return folder


def _stamp(filed: Filed) -> float:
    return max(filed.named_at, filed.written_at)


def _lines_since(path: Path, before: float) -> bytes:
    """Returns the file without the lines that are older than `before`, and without those that tell no time.

    The head of the file stays where any line does: ids go on from there.
    """
    head, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
    if not head.startswith(b'{"type":"file"'):
        head, lines = b"", [head, *lines]
    kept = [line for line in lines if line.endswith(b"\n") and (time_of(line) or -1.0) >= before]
    return b"".join([head, *kept]) if kept else b""
