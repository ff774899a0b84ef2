"""The journal of one camera as it is being written: which file, what heads it, and what could not be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.pipeline.live.journal_files import (
    Ended,
    LogFile,
    camera_folder,
    ended,
    files_in,
    make_folder,
    new_path,
)
from watchline.pipeline.live.journal_lines import GapLine, Line, head_text

RESTART: Final = "restart"
_APART_S: Final = 0.001
_FAR_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Said:
    """A line and its text."""

    line: Line
    text: str


class Log:
    """Appends to the files of one camera. Used by one thread at a time.

    Args:
        folder: of all cameras' files.
        camera: its name.
        file_bytes: a file grows no larger, unless one batch is.
        file_s: a file is written to for no longer.
        clock: the wall clock, UTC seconds.
        steady: a clock that never jumps, seconds.

    Attributes:
        camera: its name.
        lost: what could not be written since the last success, to be told at the next one; None where nothing.
        sentence: why the last try failed; "" where it did not.
        retry_at: no try before, steady time.
        cut: half-written lines that were cut off.
        used_at: when it last wrote, steady time.

    Raises:
        OSError: at `commit`, `sync` and `close`, when the system refuses.
    """

    def __init__(
        self,
        folder: Path,
        camera: str,
        file_bytes: int,
        file_s: float,
        clock: Callable[[], float],
        steady: Callable[[], float],
    ) -> None:
        self.camera = camera
        self.lost: GapLine | None = None
        self.sentence = ""
        self.retry_at = -1.0
        self.cut = 0
        self.used_at = steady()
        self._folder = camera_folder(folder, camera)
        self._file_bytes, self._file_s = file_bytes, file_s
        self._clock, self._steady = clock, steady
        self._file: LogFile | None = None
        self._begun_at = 0.0  # of the file, steady time
        self._ended: Ended | None = None  # before this run; None until looked at
        self._told_restart = False
        self._highest_id = 0
        self._last_dated = 0.0  # when the file before was last written to

    @property
    def path(self) -> Path | None:
        """The file that is open; None where none is."""
        return self._file.path if self._file else None

    def lose(self, lines: Sequence[Line], reason: str) -> None:
        """Remembers that lines were lost, to be told when writing goes on."""
        for line in lines:
            lost = self.lost or GapLine(self.camera, line.since, line.at, reason)
            self.lost = lost.with_more(line)

    def commit(self, said: Sequence[Said]) -> tuple[int, int]:
        """Appends lines, all or none, and before them what is to be told of earlier times.

        Returns:
            Lines that it added of its own, and bytes written in all.
        """
        if self._ended is None:
            self._ended = ended(self._folder)
            self._highest_id = self._ended.highest_id
        own = self._own_lines(said)
        body = "".join(f"{text}\n" for text in (*own, *(each.text for each in said))).encode()
        if not body:
            return 0, 0
        file = self._open_for(len(body), (said[0].line.at if said else self._clock()))
        if file.size == 0:
            at = said[0].line.at if said else self._clock()
            own.insert(0, head_text(self.camera, at, self._highest_id))
            body = f"{own[0]}\n".encode() + body
        try:
            file.write(body)
        except OSError:
            self.drop_file()
            raise
        self.lost, self._told_restart, self.used_at = None, True, self._steady()
        self._highest_id = max(self._highest_id, *(each.line.highest_id for each in said), 0)
        return len(own), len(body)

    def _own_lines(self, said: Sequence[Said]) -> list[str]:
        """Returns what is to be told of the time before: that the program was away, that lines were lost."""
        own = []
        first = min((line.since for line in (*(each.line for each in said), self.lost) if line), default=None)
        before = self._ended.at if self._ended else None
        if not self._told_restart and before is not None and first is not None and first > before:
            own.append(GapLine(self.camera, before, first, RESTART).text())
        if self.lost:
            own.append(self.lost.text())
        return own

    def _open_for(self, size: int, at: float) -> LogFile:
        """Returns the file that takes `size` bytes more, the first of which tell of the time `at`."""
        if self._file and not self._file.still_there():
            self.drop_file()
        if self._file is None:
            self._open_last()
        if self._file and not self._fits(self._file, size):
            self.close()
        if self._file is None:
            self._open(new_path(self._folder, at))
            self._begun_at = self._steady()
        assert self._file is not None
        return self._file

    def _open_last(self) -> None:
        """Opens the last file that there is, if it is young enough to go on with, by its name or by what is known."""
        make_folder(self._folder)
        there = files_in(self._folder)
        if not there:
            return
        last = there[-1]
        self._last_dated = max(self._last_dated, last.written_at)
        age_s = self._clock() - last.named_at
        self._open(last.path)  # which cuts off what a kill left half-written
        if 0 <= age_s < self._file_s and last.size < self._file_bytes:
            self._begun_at = self._steady() - age_s
        else:
            self.close()

    def _open(self, path: Path) -> None:
        make_folder(self._folder)
        self._file = LogFile(path)
        self.cut += self._file.cut

    def _fits(self, file: LogFile, size: int) -> bool:
        young = self._steady() - self._begun_at < self._file_s
        return young and (file.size == 0 or file.size + size <= self._file_bytes)

    def sync(self) -> None:
        """See `LogFile.sync`."""
        if self._file:
            self._file.sync()

    def close(self) -> None:
        """Closes the file; the next line opens the last one again, or a new one."""
        if self._file:
            file, self._file = self._file, None
            # Dates keep the order of writing when the clock falls back; not when it was far off before.
            least = self._last_dated + _APART_S if self._last_dated < self._clock() + _FAR_S else 0.0
            self._last_dated = max(least, self._clock())
            file.close(least)

    def drop_file(self) -> None:
        """Closes the file although the system refuses; what it ends with is looked at when it is opened again."""
        try:
            self.close()
        except OSError:
            self._file = None
