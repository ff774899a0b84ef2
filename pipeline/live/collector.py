"""Batches across cameras: who looks at what, in which order, and how long a batch may wait to be filled."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from watchline.pipeline.live.lane import Turn
from watchline.streams.frame import Frame

IDLE_S: Final = 0.2  # after which a worker that has nothing to do says that it lives
LEAST_WINDOW_S: Final = 0.002
MOST_WINDOW_S: Final = 0.030
_RATE_OVER: Final = 64  # frames, the last ones


class Collector:
    """Hands batches to workers: one worker at a time gathers, so each camera's frames are begun in their order.

    A batch waits to be filled for as long as frames come fast enough to fill it, and never longer than its window: it
    goes with what there is. A camera has one frame in a batch.

    Args:
        take: gives the frame of the camera whose turn it is, or None after so many seconds.
        begin: enters a frame into its camera's lane; None where there is no such camera any more.
        cameras: how many cameras there are: no batch needs more frames.
        most: says how many frames a batch may have now; one frame never waits.
        most_window_s: longest time that the first frame of a batch waits for others.
    """

    def __init__(
        self,
        take: Callable[[float], Frame | None],
        begin: Callable[[Frame], Turn | None],
        cameras: Callable[[], int],
        most: Callable[[], int] = lambda: 1,
        most_window_s: float = MOST_WINDOW_S,
    ) -> None:
        self._take = take
        self._begin = begin
        self._cameras = cameras
        self._most = most
        self._most_window_s = most_window_s
        self._gathering = threading.Lock()
        self._ahead: Turn | None = None  # of the next batch: its camera has a frame in this one
        self._taken_s: deque[float] = deque(maxlen=_RATE_OVER)
        self._passed = threading.Condition()
        self._passes = 0
        self.passed_s = time.monotonic()  # when a gathering ended last
        self._closed = False

    def next(self) -> list[Turn] | None:
        """Returns the next batch, no frames where none came for a while, None after `close()`."""
        with self._gathering:
            if self._closed:
                return None
            turns = [self._ahead] if self._ahead is not None else []
            self._ahead, most = None, self._most()
            until_s = time.monotonic() + (self.window_s() if turns else IDLE_S)
            while len(turns) < most and (frame := self._taken(until_s - time.monotonic())) is not None:
                turn = self._begin(frame)
                if turn is None:
                    continue
                if any(turn.frame.camera == other.frame.camera for other in turns):
                    self._ahead = turn
                    break
                turns.append(turn)
                if len(turns) == 1:
                    until_s = turn.begun_s + self.window_s()
            self._pass()
            return turns

    def window_s(self) -> float:
        """Returns how long a batch waits now: until it is likely to be full, within bounds."""
        wanted = min(self._most(), self._cameras())
        if wanted <= 1 or len(self._taken_s) < 2:
            return LEAST_WINDOW_S
        spread_s = self._taken_s[-1] - self._taken_s[0]
        filled_s = (wanted - 1) * spread_s / (len(self._taken_s) - 1)
        return min(self._most_window_s, max(LEAST_WINDOW_S, filled_s))

    def settle(self, timeout_s: float = 5 * IDLE_S) -> None:
        """Waits until every frame that was taken before is begun: a camera of the same name may come after that."""
        with self._passed:
            goal = self._passes + 1  # the end of the pass that is under way
            self._passed.wait_for(lambda: self._closed or self._passes >= goal, timeout_s)

    def close(self) -> None:
        """Ends all gathering."""
        with self._passed:
            self._closed = True
            self._passed.notify_all()

    def leftover(self) -> Turn | None:
        """Returns, once, the turn of a batch that never came, for its caller to settle."""
        with self._gathering:
            turn, self._ahead = self._ahead, None
            return turn

    def _taken(self, timeout_s: float) -> Frame | None:
        taken = self._take(max(0.0, timeout_s))
        if taken is not None:
            self._taken_s.append(time.monotonic())
        return taken

    def _pass(self) -> None:
        with self._passed:
            self._passes += 1
            self.passed_s = time.monotonic()
            self._passed.notify_all()
