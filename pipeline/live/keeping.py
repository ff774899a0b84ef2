"""Tracks and their ids outlive the program: what each tracker knows is saved, and no id is given twice.

Two files a camera: CAMERA.ids says which ids were never given, CAMERA.tracks what the tracker knew a few seconds ago.

How ids stay unique. CAMERA.ids holds a mark: no id from there on was ever given. The mark is moved a block ahead, on
disk, before ids of that block are given; the saver moves it when half a block is left, so nobody waits. After a crash
ids go on from the mark: some are never given. Where the disk refuses and a block runs out, ids are given beyond the
mark and counted as `unsaved_ids`; so that such ids are not given again, a new run begins beyond the mark, beyond the
saved tracks and beyond the journal's highest, whichever is the highest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.pipeline.files import sync_folder, write_whole
from watchline.pipeline.live.journal_files import camera_folder, make_folder
from watchline.pipeline.live.kept import Kept, Snapshot, kept_from, kept_to_bytes, mark_from, mark_to_bytes
from watchline.streams.errors import OutputError, UsageError
from watchline.trackers.tracker import TrackIds

_log = logging.getLogger(__name__)

FOLDER: Final = "state"
_IDS: Final = ".ids"
_TRACKS: Final = ".tracks"
BLOCK: Final = 1000  # ids
_SAVE_S: Final = 5.0
_RETRY_S: Final = 1.0
_LARGEST: Final = 256 << 20  # bytes of a state; a larger file is damage


class KeptIds(TrackIds):
    """Ids of one camera that are never given twice, also over restarts. Its `next` does not wait for the disk.

    Args:
        first: the first to be given.
        mark: on disk: no id from there on was ever given.
        short: called when less than half a block is left; must not wait.
    """

    def __init__(self, first: int, mark: int, short: Callable[[], None]) -> None:
        super().__init__(first)
        self._first, self._short = first, short
        self._mark = mark
        self._asked = False
        self._unsaved = 0

    @property
    def mark(self) -> int:
        """What is on disk."""
        return self._mark

    @property
    def unsaved(self) -> int:
        """How many ids were given beyond the mark."""
        return self._unsaved

    @property
    def is_short(self) -> bool:
        """Whether it is time to move the mark."""
        return self._mark - self._next < BLOCK // 2

    def next(self) -> int:
        """Returns an id that was never given before."""
        given = super().next()
        if given >= self._mark:
            self._unsaved += 1
        self._look()
        return given

    def skip_to(self, first: int) -> None:
        """Gives no id below `first` from now on."""
        super().skip_to(first)
        self._look()

    def marked(self, mark: int) -> None:
        """Is told what is on disk now."""
        self._mark = mark
        self._asked = False

    def _look(self) -> None:
        if not self._asked and self.is_short:
            self._asked = True
            self._short()


@dataclass(frozen=True, slots=True)
class KeeperStatus:
    """The keeper at one moment.

    Attributes:
        saved: states written.
        failed: writes that the system refused.
        unsaved_ids: ids given though the disk did not know of it.
        damaged: files that could not be used and were put aside.
        failing: whether something could not be written and is tried again.
        sentence: what is wrong, or was wrong with files that were put aside; "" where nothing.
        advanced_s: how long ago the saver last ended a round, seconds.
    """

    saved: int
    failed: int
    unsaved_ids: int
    damaged: int
    failing: bool
    sentence: str
    advanced_s: float


class _Camera:
    """What is kept of one camera."""

    def __init__(self) -> None:
        self.ids: KeptIds | None = None
        self.snapshot: Callable[[], Snapshot | None] = lambda: None
        self.last: Snapshot | None = None
        self.sentence = ""
        self.ended = False


class Keeper:
    """Saves what trackers know, from a thread of its own. Every method may be called from any thread.

    Args:
        folder: of the site's storage; made when it is missing.
        highest: the highest id that the journal holds of a camera; `Journal.ended(camera).highest_id`.
        save_s: between two times of saving.
        steady: a clock that never jumps, seconds.
    """

    def __init__(
        self,
        folder: Path,
        highest: Callable[[str], int] = lambda _: 0,
        save_s: float = _SAVE_S,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder / FOLDER
        self._highest, self._save_s, self._steady = highest, save_s, steady
        self._changed = threading.Condition()  # guards the cameras and what is asked of the saver
        self._cameras: dict[str, _Camera] = {}
        self._short = self._closing = False
        self._disk = threading.RLock()  # guards files and numbers; taken before `_changed`
        self._saved = self._failed = self._damaged = self._unsaved_before = 0
        self._put_aside = ""
        self._advanced = steady()
        self._saved_at = steady()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def ids(self, camera: str) -> KeptIds:
        """Returns what gives a camera's ids; the same as long as the camera is not removed. Waits for the disk."""
        with self._disk:
            its = self._camera(camera)
            if its.ids is None:
                mark = self._read_mark(camera)
                kept = self._read(camera)
                first = max(1, mark, kept.state.next_id if kept else 1, self._highest(camera) + 1)
                its.ids = KeptIds(first, mark, self._wake)
                self._reserve(camera, its, its.ids, first + BLOCK)
            return its.ids

    def load(self, camera: str) -> Kept | None:
        """Returns what was kept of a camera; None where nothing is, or it is damaged. Waits for the disk."""
        with self._disk:
            return self._read(camera)

    def follow(self, camera: str, snapshot: Callable[[], Snapshot | None]) -> None:
        """Saves a camera from now on.

        Args:
            camera: its name.
            snapshot: returns what its tracker knows, under whatever lock it needs; called by the saver every few
                seconds. None where there is nothing to save.
        """
        with self._changed:
            self._camera(camera).snapshot = snapshot

    def remove(self, camera: str) -> None:
        """Saves a camera a last time and follows it no more; its ids must not be asked for any more."""
        with self._changed:
            its = self._cameras.pop(camera, None)
        if its:
            self._end(camera, its)

    def status(self) -> KeeperStatus:
        """Returns how things are; does not wait for the disk."""
        with self._changed:
            cameras = list(self._cameras.values())
            sentence = next((its.sentence for its in cameras if its.sentence), "")
            unsaved = sum(its.ids.unsaved for its in cameras if its.ids) + self._unsaved_before
            return KeeperStatus(
                self._saved,
                self._failed,
                unsaved,
                self._damaged,
                bool(sentence),
                sentence or self._put_aside,
                self._steady() - self._advanced,
            )

    def close(self, timeout_s: float = 5.0) -> bool:
        """Saves all a last time; to be called when no more ids are asked for. Safe to call twice.

        Returns:
            Whether that was done in time.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _camera(self, camera: str) -> _Camera:
        camera_folder(self._folder, camera)
        with self._changed:
            return self._cameras.setdefault(camera, _Camera())

    def _wake(self) -> None:
        with self._changed:
            self._short = True
            self._changed.notify_all()

    # The saver's thread.

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._short or self._closing, min(_RETRY_S, self._save_s))
                self._short, last = False, self._closing
                cameras = dict(self._cameras)
            due = self._steady() - self._saved_at >= self._save_s
            for camera, its in cameras.items():
                self._advanced = self._steady()
                if last:
                    self._end(camera, its)
                    continue
                with self._disk:
                    if its.ids and its.ids.is_short:
                        self._reserve(camera, its, its.ids, its.ids.upcoming + BLOCK)
                if due:
                    self._save(camera, its)
            if due:
                self._saved_at = self._steady()
            self._advanced = self._steady()
            if last:
                return

    def _reserve(self, camera: str, its: _Camera, ids: KeptIds, mark: int) -> None:
        if self._write(self._path(camera, _IDS), mark_to_bytes(camera, mark), its):
            ids.marked(mark)

    def _save(self, camera: str, its: _Camera) -> None:
        snapshot = its.snapshot()  # takes the lane's lock, so not under ours
        if snapshot is None or (its.last and snapshot.state.now_s == its.last.state.now_s):
            return
        with self._disk:
            if its.ended:
                return
            if self._write(self._path(camera, _TRACKS), kept_to_bytes(camera, snapshot), its):
                its.last = snapshot
                self._saved += 1

    def _end(self, camera: str, its: _Camera) -> None:
        """Saves a last time; ids that are reserved and were not given are given back."""
        self._save(camera, its)
        with self._disk:
            its.ended = True
            if its.ids:
                self._reserve(camera, its, its.ids, its.ids.upcoming)
                self._unsaved_before += its.ids.unsaved
                its.ids = None

    def _write(self, path: Path, data: bytes, its: _Camera) -> bool:
        try:
            make_folder(self._folder)
            write_whole(path, data, "storage.path")
            if path.suffix == _IDS:
                sync_folder(self._folder)  # lest a loss of power brings the predecessor back
        except (OutputError, OSError) as error:
            self._failed += 1
            sentence = f"{error}; tried again, meanwhile a crash would forget tracks"
            if not its.sentence:
                _log.warning("%s", sentence)
            its.sentence = sentence
            return False
        its.sentence = ""
        return True

    def _read_mark(self, camera: str) -> int:
        path = self._path(camera, _IDS)
        data = self._bytes(path)
        if data is None:
            return 1
        try:
            return mark_from(data)
        except UsageError as error:
            self._set_aside(path, f"{path}: {error}; ids go on from the saved tracks and the journal")
            return 1

    def _read(self, camera: str) -> Kept | None:
        path = self._path(camera, _TRACKS)
        data = self._bytes(path)
        if data is None:
            return None
        try:
            return kept_from(data)
        except UsageError as error:
            self._set_aside(path, f"{path}: {error}")
            return None

    def _bytes(self, path: Path) -> bytes | None:
        try:
            if path.stat().st_size > _LARGEST:
                self._set_aside(path, f"{path}: larger than any saved tracks; start without them")
                return None
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._put_aside = f"{path}: cannot be read ({(error.strerror or str(error)).lower()}); allow reading"
            _log.warning("%s", self._put_aside)
            return None

    def _set_aside(self, path: Path, sentence: str) -> None:
        """Renames a file that cannot be used, in place of the one before it, for someone to look at."""
        self._damaged += 1
        aside = path.with_name(path.name + ".damaged")
        try:
            path.replace(aside)
            self._put_aside = f"{sentence} (put aside as {aside.name})"
        except OSError:
            self._put_aside = sentence
        _log.warning("%s", self._put_aside)

    def _path(self, camera: str, ending: str) -> Path:
        return camera_folder(self._folder, camera).with_name(camera + ending)
