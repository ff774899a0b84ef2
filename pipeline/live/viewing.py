"""Live pictures with boxes drawn on them, for those who look: encoded once for all of them, and not at all for nobody.

Nothing is queued: of each camera there is at most one frame that waits and one picture, the newest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from watchline.pipeline.live.outcome import Outcome, Outlet
from watchline.pipeline.live.sketching import Jpeg, Painter
from watchline.streams.errors import UsageError

_log = logging.getLogger(__name__)

_FRESH_S: Final = 1.0  # a snapshot may be so old


class TooManyViewersError(UsageError):
    """All places for viewers are taken."""


@dataclass(frozen=True, slots=True)
class ViewingSettings:
    """Bounds of viewing.

    Attributes:
        most_width: larger pictures are scaled down to this, px.
        quality: of the JPEGs, 1..100.
        most_fps: pictures a second of a camera.
        most_viewers: of all cameras at once.
    """

    most_width: int = 1280
    quality: int = 75
    most_fps: float = 10.0
    most_viewers: int = 64


@dataclass(frozen=True, slots=True)
class ViewingStatus:
    """Viewing at one moment.

    Attributes:
        viewers: who look now, at each camera.
        encoded: pictures made.
        skipped: frames with viewers that had no picture: too many a second, or a fresher one came.
        failed: frames of which no picture could be made.
        refused: viewers who found no place.
        sentence: why the last that failed did; "" where none did.
        advanced_s: how long ago the encoder last made a picture or had nothing to do, seconds.
    """

    viewers: dict[str, int]
    encoded: int
    skipped: int
    failed: int
    refused: int
    sentence: str
    advanced_s: float


class _View:
    """One camera: who looks, the frame that waits, the newest picture."""

    def __init__(self, lock: threading.Lock) -> None:
        self.changed = threading.Condition(lock)  # a new picture, or the end
        self.watches: set[Watch] = set()
        self.waiting: Outcome | None = None
        self.newest: Jpeg | None = None
        self.due = 0.0
        self.ended = False
        self.painter: Painter | None = None  # the encoder's own


class Viewing:
    """Pictures of all cameras. Every method may be called from any thread.

    Args:
        settings: bounds.
        steady: a clock that never jumps, seconds.
    """

    def __init__(self, settings: ViewingSettings | None = None, steady: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._steady = settings or ViewingSettings(), steady
        self._lock = threading.Lock()  # guards all that follows
        self._work = threading.Condition(self._lock)
        self._views: dict[str, _View] = {}
        self._turns: deque[str] = deque()  # cameras with a frame that waits, each once
        self._viewers = self._encoded = self._skipped = self._failed = self._refused = self._number = 0
        self._sentence = ""
        self._closed = self._busy = False
        self._advanced = steady()
        self._thread = threading.Thread(target=self._run, name="viewing", daemon=True)
        self._thread.start()

    def outlet(self, camera: str) -> Outlet:
        """Returns what takes the outcomes of a camera; from now on it can be looked at."""
        with self._lock:
            view = self._views.setdefault(camera, _View(self._lock))

        def take(outcome: Outcome) -> None:
            if view.watches:
                self._offer(camera, view, outcome)

        return take

    def remove(self, camera: str) -> None:
        """Forgets a camera; whoever looks at it is told that it ended."""
        with self._lock:
            view = self._views.pop(camera, None)
            told = self._end(view) if view else []
        _tell(told)

    def watch(self, camera: str, notify: Callable[[], None] | None = None) -> Watch:
        """Returns a place to look at a camera from; to be closed.

        Args:
            camera: its name.
            notify: called after each new picture and at the end, from a thread of ours; must not wait.

        Raises:
            UsageError: there is no such camera.
            TooManyViewersError: all places are taken.
        """
        with self._lock:
            view = self._views.get(camera)
            if view is None or self._closed:
                raise UsageError(f'camera "{camera}": there is none to look at; those are {", ".join(self._views)}')
            if self._viewers >= self._settings.most_viewers:
                self._refused += 1
                most = self._settings.most_viewers
                raise TooManyViewersError(f'camera "{camera}": {most} look already, which is the most; close a view')
            self._viewers += 1
            watch = Watch(self, camera, view, notify)
            view.watches.add(watch)
            return watch

    def snapshot(self, camera: str, timeout_s: float) -> Jpeg | None:
        """Returns a picture of now: one at most a second old, else the next one; None where none comes in time.

        Raises:
            UsageError: there is no such camera.
            TooManyViewersError: all places are taken.
        """
        with self.watch(camera) as watch:
            newest = watch.newest
            if newest and self._steady() - newest.made_s <= _FRESH_S:
                return newest
            return watch.next(newest.number if newest else 0, timeout_s)

    def status(self) -> ViewingStatus:
        """Returns how things are."""
        with self._lock:
            return ViewingStatus(
                {camera: len(view.watches) for camera, view in self._views.items()},
                self._encoded,
                self._skipped,
                self._failed,
                self._refused,
                self._sentence,
                self._steady() - self._advanced if self._busy or self._turns else 0.0,
            )

    def close(self, timeout_s: float = 2.0) -> None:
        """Ends all; whoever looks is told. Safe to call twice."""
        with self._lock:
            self._closed = True
            told = [watch for view in self._views.values() for watch in self._end(view)]
            self._turns.clear()
            self._work.notify_all()
        _tell(told)
        self._thread.join(timeout_s)

    def leave(self, view: _View, watch: Watch) -> None:
        """See `Watch.close`."""
        with self._lock:
            if watch not in view.watches:
                return
            view.watches.remove(watch)
            self._viewers -= 1
            if not view.watches:
                view.waiting = view.newest = view.painter = None

    def _end(self, view: _View) -> list[Watch]:
        view.ended = True
        told = list(view.watches)
        self._viewers -= len(told)
        view.watches.clear()
        view.waiting = view.newest = view.painter = None
        view.changed.notify_all()
        return told

    def _offer(self, camera: str, view: _View, outcome: Outcome) -> None:
        now = self._steady()
        with self._lock:
            if view.ended or not view.watches:
                return
            period_s = 1 / self._settings.most_fps
            if now < view.due - 0.1 * period_s:  # frames come a little early and a little late
                self._skipped += 1
                return
            view.due = max(view.due + period_s, now)
            if view.waiting:
                self._skipped += 1
            else:
                if not self._busy and not self._turns:
                    self._advanced = now
                self._turns.append(camera)
                self._work.notify()
            view.waiting = outcome

    # The encoder's thread.

    def _run(self) -> None:
        while True:
            outcome = None
            with self._lock:
                self._busy = False
                self._work.wait_for(lambda: self._turns or self._closed)
                if self._closed:
                    return
                self._busy, self._advanced = True, self._steady()
                view = self._views.get(self._turns.popleft())
                outcome = view.waiting if view else None
                if view is None or outcome is None:
                    continue
                view.waiting = None
                painter = view.painter = view.painter or Painter(self._settings.most_width, self._settings.quality)
            name = outcome.frame.camera
            try:
                drawn = painter.draw(outcome)
                del outcome  # it holds a place of its camera's pictures
                picture = painter.encode(drawn, self._steady())
            except Exception as error:  # noqa: BLE001  # one picture must not end all; it is counted and told
                self._fail(name, error)
                continue
            _tell(self._publish(view, picture))

    def _fail(self, camera: str, error: Exception) -> None:
        sentence = f'camera "{camera}": no picture could be made ({error})'
        with self._lock:
            first, self._sentence = not self._failed, sentence
            self._failed += 1
        if first:
            _log.warning("%s; later ones are only counted", sentence)

    def _publish(self, view: _View, picture: Jpeg) -> list[Watch]:
        with self._lock:
            self._encoded += 1
            self._number += 1
            if not view.watches:
                return []
            view.newest = picture.numbered(self._number)
            view.changed.notify_all()
            return list(view.watches)


class Watch:
    """Someone who looks at a camera; a context manager, and an iterator over pictures until the camera ends.

    Attributes:
        camera: its name.
    """

    def __init__(self, viewing: Viewing, camera: str, view: _View, notify: Callable[[], None] | None) -> None:
        self.camera = camera
        self._viewing, self._view, self._notify = viewing, view, notify
        self._left = False

    @property
    def newest(self) -> Jpeg | None:
        """The newest picture; None where there is none yet. Does not wait."""
        return self._view.newest

    @property
    def ended(self) -> bool:
        """Whether no picture will come any more: the camera was removed, or this was closed."""
        return self._view.ended or self._left

    def next(self, after: int, timeout_s: float) -> Jpeg | None:
        """Returns the newest picture once its number is above `after`; None where none comes in time, or at the end.

        Args:
            after: number of the picture before; 0 for any.
            timeout_s: for how long to wait; 0 does not.
        """
        view = self._view
        with view.changed:
            view.changed.wait_for(lambda: self.ended or (view.newest and view.newest.number > after), timeout_s)
            return view.newest if not self.ended and view.newest and view.newest.number > after else None

    def told(self) -> None:
        """Calls `notify`; once that fails, never again."""
        if self._notify:
            try:
                self._notify()
            except RuntimeError:  # whoever wanted to know is gone: an event loop that was closed
                self._notify = None

    def close(self) -> None:
        """Gives the place back. Safe to call twice."""
        self._left = True
        self._viewing.leave(self._view, self)
        with self._view.changed:
            self._view.changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        after = 0
        while not self.ended:
            picture = self.next(after, 1.0)
            if picture:
                after = picture.number
                yield picture.data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _tell(watches: list[Watch]) -> None:
    for watch in watches:
        watch.told()
