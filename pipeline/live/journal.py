"""Track states as JSON lines, a folder a camera, for as long as the site keeps them.

A file is FOLDER/tracks/CAMERA/2026-11-22T14-00-00Z.jsonl, named by the time of its first line. Its lines are of type
"tracks" (a processed frame), "gap" (a time of which nothing is known) or "file" (its first). How long files are kept is
told in `journal_shelf`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from watchline.pipeline.live.journal_files import Ended, camera_folder, ended
from watchline.pipeline.live.journal_lines import FrameLine, GapLine, Line
from watchline.pipeline.live.journal_log import Log, Said
from watchline.pipeline.live.journal_shelf import Erased, Retention, Shelf
from watchline.pipeline.live.outcome import Outcome, Outlet

_log = logging.getLogger(__name__)

FOLDER: Final = "tracks"
_BATCH: Final = 1024  # lines that are written at a time
_RETRY_S: Final = 1.0
_SWEEP_S: Final = 0.05  # of looking at files, between two times of writing


class Lost(StrEnum):
    """Why a line was not written."""

    QUEUE_FULL = "queue_full"  # fresher ones came before it could be written
    DISK = "disk"  # the system refused it
    UNFIT = "unfit"  # no line could be made of it
    CLOSED = "closed"  # it came after the end, or could not be written before it


class JournalState(StrEnum):
    """How writing goes."""

    RUNNING = "running"
    FAILING = "failing"  # some camera's lines are refused; tried again each second
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Bounds and times of a journal.

    Attributes:
        retention: how much is kept.
        file_bytes: a file grows no larger.
        file_s: a file is written to for no longer.
        idle_s: a frame without tracks has a line this long after the one before, seconds of the stream.
        queue: lines that may wait; the oldest makes room.
        write_s: lines wait no longer than this for others to be written with.
        write_lines: nor when there are so many.
        sync_s: what was written before is safe from a power failure.
        sweep_s: between two looks at what is to be kept.
    """

    retention: Retention = field(default_factory=Retention)
    file_bytes: int = 64 << 20
    file_s: float = 3600.0
    idle_s: float = 10.0
    queue: int = 8192
    write_s: float = 0.2
    write_lines: int = 256
    sync_s: float = 5.0
    sweep_s: float = 60.0


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """A journal at one moment: offered = written_lines + the sum of lost + waiting, exactly.

    Attributes:
        offered: lines, also those that the journal adds of its own: heads of files, restarts, what was lost.
        written_lines: that the system took.
        lost: by every reason of `Lost`, zeros included.
        waiting: not yet written.
        cut_lines: half-written ones of an earlier run, cut off.
        files: how many there are.
        bytes_on_disk: of all files.
        free_bytes: left on the disk; None where it does not say.
        erased: files erased by retention or by hand, by every reason of `Erasure`.
        oldest_at: time of the oldest file, UTC seconds; None without any.
        state: how writing goes.
        sentence: what is wrong; "" where nothing is.
        advanced_s: how long ago the writer last ended a round, seconds.
    """

    offered: int
    written_lines: int
    lost: dict[str, int]
    waiting: int
    cut_lines: int
    files: int
    bytes_on_disk: int
    free_bytes: int | None
    erased: dict[str, int]
    oldest_at: float | None
    state: JournalState
    sentence: str
    advanced_s: float


class Journal:
    """Writes what came of the frames of all cameras. Every method may be called from any thread.

    Args:
        folder: of the site's storage; made when it is missing.
        settings: bounds and times.
        clock: the wall clock, UTC seconds.
        steady: a clock that never jumps, seconds.
    """

    def __init__(
        self,
        folder: Path,
        settings: JournalSettings | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings or JournalSettings()
        self._folder = folder / FOLDER
        self._clock, self._steady = clock, steady
        self._changed = threading.Condition()  # guards what follows
        self._queue: deque[Line] = deque()
        self._under_way = 0
        self._offered = self._written = 0
        self._lost = dict.fromkeys(Lost, 0)
        self._squeezed: list[Line] = []  # oldest lines that made room, one a camera: the gap that they leave
        self._leaving: set[str] = set()
        self._closing = False
        self._advanced = steady()
        self._sentence = ""
        self._cut = 0
        self._disk = threading.Lock()  # guards what follows, and the files; taken before `_changed`
        self._shelf = Shelf(self._folder, self._settings.retention, clock, steady)
        self._logs: dict[str, Log] = {}
        self._sweeping: Iterator[None] | None = None
        self._swept = self._synced = self._measured = -1e9
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def outlet(self, camera: str) -> Outlet:
        """Returns what takes the outcomes of a camera."""
        camera_folder(self._folder, camera)
        chooses = _Choice(self._settings.idle_s)

        def take(outcome: Outcome) -> None:
            if chooses(outcome):
                self._offer(FrameLine.of(outcome))

        return take

    def gap(self, camera: str, from_s: float, to_s: float, reason: str) -> None:
        """Tells of a time of which nothing is known of a camera; does not wait.

        That the program was away is told without being asked, before a camera's first line.

        Args:
            camera: its name.
            from_s: when it began, UTC seconds.
            to_s: when it ended.
            reason: a word: "offline", "frozen".
        """
        camera_folder(self._folder, camera)
        self._offer(GapLine(camera, from_s, max(from_s, to_s), reason))

    def ended(self, camera: str) -> Ended:
        """Returns where the journal of a camera ends on disk; reads a whole file, or several after damage."""
        return ended(camera_folder(self._folder, camera))

    def remove(self, camera: str) -> None:
        """Closes the file of a camera once its lines are written; to be called when a camera is removed."""
        with self._changed:
            self._leaving.add(camera)

    def retain(self, retention: Retention) -> None:
        """Keeps more or less from now on."""
        with self._disk:
            self._settings = replace(self._settings, retention=retention)
            self._shelf.retain(retention)
            self._swept = -1e9

    def erase(self, camera: str | None = None, before: float | None = None) -> Erased:
        """Erases what is written; waits for the disk. Lines that wait are written afterwards.

        A file that began before `before` loses the lines of before. A line belongs to the time that it tells; one that
        tells none goes, too.

        Args:
            camera: whose; all where left out.
            before: UTC seconds; all times where left out.

        Raises:
            UsageError: `camera` is no name of a camera.
        """
        if camera is not None:
            camera_folder(self._folder, camera)
        with self._disk:
            for name, log in self._logs.items():
                if camera in (None, name):
                    log.drop_file()
            self._sweeping = None  # what it has seen is no longer so
            return self._shelf.erase(camera, before)

    def status(self) -> JournalStatus:
        """Returns how things are; does not wait for the disk."""
        with self._changed:
            shelf, sentence = self._shelf, self._sentence
            state = JournalState.FAILING if sentence else JournalState.RUNNING
            if shelf.tight and not sentence:
                least = self._settings.retention.free_bytes
                sentence = f"{self._folder}: {shelf.free_bytes} bytes free, less than the {least} that should be, and "
                sentence += "no closed file is left to erase; free the disk"
            return JournalStatus(
                offered=self._offered,
                written_lines=self._written,
                lost={reason.value: n for reason, n in self._lost.items()},
                waiting=len(self._queue) + self._under_way,
                cut_lines=self._cut,
                files=shelf.files,
                bytes_on_disk=shelf.size_bytes,
                free_bytes=shelf.free_bytes,
                erased={why.value: n for why, n in shelf.erased.items()},
                oldest_at=shelf.oldest_at,
                state=JournalState.CLOSED if self._closing else state,
                sentence=sentence,
                advanced_s=self._steady() - self._advanced,
            )

    def close(self, timeout_s: float = 5.0) -> None:
        """Writes what waits and closes the files; after `timeout_s` what still waits is lost. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            self._lost[Lost.CLOSED] += len(self._queue)
            self._queue.clear()

    def _offer(self, line: Line) -> None:
        with self._changed:
            self._offered += 1
            if self._closing:
                self._lost[Lost.CLOSED] += 1
                return
            if len(self._queue) >= self._settings.queue:
                self._squeeze(self._queue.popleft())
            self._queue.append(line)
            if len(self._queue) == self._settings.write_lines:
                self._changed.notify_all()

    def _squeeze(self, line: Line) -> None:
        self._lost[Lost.QUEUE_FULL] += 1
        for i, gap in enumerate(self._squeezed):
            if isinstance(gap, GapLine) and gap.camera == line.camera:
                self._squeezed[i] = gap.with_more(line)
                return
        self._squeezed.append(GapLine(line.camera, line.since, line.at, Lost.QUEUE_FULL).with_more(line))

    # The writer thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._due, self._settings.write_s)
                lines = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                self._under_way = len(lines)
                squeezed, self._squeezed = self._squeezed, []
                last = self._closing and not self._queue
            with self._disk:
                self._write(lines, squeezed, last)
                self._tidy(last)
            with self._changed:
                self._advanced = self._steady()
                if last:
                    return

    def _due(self) -> bool:
        return self._closing or len(self._queue) >= self._settings.write_lines

    def _write(self, lines: list[Line], squeezed: list[Line], last: bool) -> None:
        by_camera: dict[str, list[Line]] = {}
        for line in lines:
            by_camera.setdefault(line.camera, []).append(line)
        for gap in squeezed:
            self._log_of(gap.camera).lose([gap], Lost.QUEUE_FULL)
            by_camera.setdefault(gap.camera, [])
        now = self._steady()
        for log in self._logs.values():  # what was lost is told, or tried to be, though nothing new comes
            if log.lost and (now >= log.retry_at or last):
                by_camera.setdefault(log.camera, [])
        for camera, its in by_camera.items():
            self._write_camera(self._log_of(camera), its, last)

    def _write_camera(self, log: Log, lines: list[Line], last: bool) -> None:
        said, unfit = [], []
        for line in lines:
            try:
                if not math.isfinite(line.at):
                    raise ValueError(line.at)
                said.append(Said(line, line.text()))
            except (ValueError, IndexError, KeyError, TypeError, OverflowError):
                unfit.append(line)
        log.lose(unfit, Lost.UNFIT)
        own, refused = 0, len(said)
        if self._steady() >= log.retry_at or last:
            try:
                own, size = log.commit(said)
                refused = 0
                self._shelf.grew(size)
                self._went_well(log)
            except OSError as error:
                self._went_wrong(log, error)
        if refused:
            log.lose([each.line for each in said], Lost.DISK)
        with self._changed:
            self._offered += own
            self._written += own + len(said) - refused
            self._lost[Lost.DISK] += refused
            self._lost[Lost.UNFIT] += len(unfit)
            self._under_way -= len(lines)

    def _log_of(self, camera: str) -> Log:
        if camera not in self._logs:
            settings = self._settings
            self._logs[camera] = Log(
                self._folder, camera, settings.file_bytes, settings.file_s, self._clock, self._steady
            )
        return self._logs[camera]

    def _went_well(self, log: Log) -> None:
        if log.sentence:
            _log.warning('camera "%s": its tracks are written again', log.camera)
        log.sentence = ""

    def _went_wrong(self, log: Log, error: OSError) -> None:
        reason = (error.strerror or str(error)).lower()
        where = error.filename or log.path or self._folder / log.camera
        sentence = (
            f'camera "{log.camera}": its tracks cannot be written ({where}: {reason}); make room or allow writing'
        )
        if not log.sentence:
            _log.warning("%s there; tried again each second", sentence)
            self._swept = -1e9  # room may be made by erasing what is old
        log.sentence = f"{sentence} there; tried again each second"
        log.retry_at = self._steady() + _RETRY_S

    def _tidy(self, last: bool) -> None:
        """Does what is due now and then: syncs, closes what is not written to, erases what is old."""
        now = self._steady()
        if now - self._synced >= self._settings.sync_s or last:
            self._synced = now
            self._close_some(now, last)
        least_s = 1.0 if self._shelf.over() else self._settings.sweep_s
        if not self._sweeping and now - self._swept >= least_s:
            self._swept = now
            self._sweeping = self._shelf.sweep(self._current, self._let_go)
        while self._sweeping and self._steady() - now < _SWEEP_S and not last:
            if next(self._sweeping, True):
                self._sweeping = None
        if now - self._measured >= 1.0:
            self._measured = now
            self._shelf.measure()
        with self._changed:
            self._sentence = next((log.sentence for log in self._logs.values() if log.sentence), "")

    def _close_some(self, now: float, last: bool) -> None:
        with self._changed:
            leaving = self._leaving - {line.camera for line in self._queue}
        for log in list(self._logs.values()):
            try:
                if now - log.used_at >= self._settings.file_s or last or log.camera in leaving:
                    log.close()
                else:
                    log.sync()
            except OSError as error:
                log.drop_file()
                self._went_wrong(log, error)
            with self._changed:
                self._cut, log.cut = self._cut + log.cut, 0
            if log.camera in leaving and not log.lost:
                del self._logs[log.camera]
        with self._changed:
            self._leaving &= self._logs.keys()

    def _current(self) -> list[Path]:
        return [log.path for log in self._logs.values() if log.path]

    def _let_go(self, path: Path) -> None:
        for log in self._logs.values():
            if log.path == path:
                log.drop_file()


class _Choice:
    """Chooses the frames that have a line: those with tracks, the first without, and one now and then."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._had_tracks = True
        self._last_s = 0.0

    def __call__(self, outcome: Outcome) -> bool:
        has_tracks, pts_s = len(outcome.tracks) > 0, outcome.frame.pts_s
        chosen = has_tracks or self._had_tracks or abs(pts_s - self._last_s) >= self._idle_s
        self._had_tracks = has_tracks
        if chosen:
            self._last_s = pts_s
        return chosen
