"""The times of live frames: a rising time of the camera's own, and the wall clock, healed where a camera is wrong."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from watchline.streams.frame import ClockSource

TOLERANCE_S = 1.0  # by which a picture's time may step further than the time that went by
AHEAD_S = 10.0  # by which times may run ahead of arrivals: a connection may begin with a burst of old pictures
BEHIND_S = 2.0  # by which they may fall behind for the whole of a window
LEAST_STEP_S = 1e-3
WINDOW_S = 10.0  # over which the least delay is taken
TRUSTED_S = 10.0  # no road delays a picture longer; a camera's clock that is further off is wrong
_BUCKET_S = 1.0


class Stamp(NamedTuple):
    """The times of one frame: see `Frame`."""

    pts_s: float
    captured_at: float
    clock: ClockSource
    error_s: float


@dataclass(slots=True)
class Healed:
    """What was wrong with the stream's own times, counted."""

    missing: int = 0  # no time at all
    backwards: int = 0  # not later than the one before
    jumped: int = 0  # later than it can be
    distrusted: int = 0  # a wall clock of the camera that is off by more than `TRUSTED_S`


class LiveClock:
    """Stamps the frames of one camera, over all its connections.

    `pts_s` counts seconds since the camera's first frame. Within a connection it follows the stream's times; where
    these are missing, run backwards, or leave the time that really goes by, in one leap or step by step, the frame's
    arrival takes their place and the stream is followed from there. A new connection begins at its first frame's
    arrival.

    `captured_at` is the camera's own wall clock where it tells one (RTCP sender reports) that can be true. Else it is
    the arrival, less what this frame was later than the least delayed one of the last ten seconds.

    Only the monotonic clock counts; the wall clock is read to be stored, so that setting it disturbs nothing.
    """

    def __init__(self, period_s: float = 0.04) -> None:
        """Args: period_s is the usual time between two pictures, seconds; the decoder holds one back for so long."""
        self.healed = Healed()
        self._period_s = period_s
        self._born_s: float | None = None  # arrival of the first frame, monotonic
        self._offset_s: float | None = None  # pts_s less the stream's time; None at the start of a connection
        self._last_s = -LEAST_STEP_S
        self._last_arrival_s = 0.0
        self._lag = _Spread()
        self._rtcp = _Spread()

    def resume(self, born_s: float, last_s: float) -> None:
        """Goes on after an earlier clock of the same camera, which ended with its process.

        Args:
            born_s: arrival of the camera's first frame, on the monotonic clock.
            last_s: `pts_s` of its last frame.
        """
        self._born_s = born_s
        self._last_s = last_s
        self._last_arrival_s = born_s + last_s

    def connected(self, period_s: float) -> None:
        """Says that the next frame is the first of a new connection, whose stream may count from anywhere."""
        self._period_s = period_s
        self._offset_s = None
        self._lag = _Spread()
        self._rtcp = _Spread()

    def stamp(self, told_s: float | None, sent_at: float | None, arrival_s: float, wall_s: float) -> Stamp:
        """Returns the times of the next frame.

        Args:
            told_s: the stream's own time, seconds; None where there is none.
            sent_at: the camera's wall clock when it was taken, UTC seconds; None where it does not tell.
            arrival_s: when it came, on the monotonic clock.
            wall_s: the same moment on this machine's wall clock, UTC seconds.
        """
        if self._born_s is None:
            self._born_s = self._last_arrival_s = arrival_s
        now_s = arrival_s - self._born_s
        pts_s = self._follow(told_s, now_s, arrival_s - self._last_arrival_s)
        self._last_s, self._last_arrival_s = pts_s, arrival_s
        self._lag.add(arrival_s, now_s - pts_s)
        if sent_at is not None:
            self._rtcp.add(arrival_s, wall_s - sent_at)
            delay_s = wall_s - sent_at
            if -TRUSTED_S <= delay_s <= TRUSTED_S:
                return Stamp(pts_s, sent_at, ClockSource.RTCP, abs(self._rtcp.least))
            self.healed.distrusted += 1
        late_s = now_s - pts_s - self._lag.least
        error_s = self._lag.most - self._lag.least + self._period_s
        return Stamp(pts_s, wall_s - late_s, ClockSource.ARRIVAL, error_s)

    def _follow(self, told_s: float | None, now_s: float, elapsed_s: float) -> float:
        if told_s is None:
            self.healed.missing += 1
            return max(now_s - self._lag.least, self._last_s + LEAST_STEP_S)
        if self._offset_s is None:
            return self._anchor(told_s, now_s)
        step_s = told_s + self._offset_s - self._last_s
        ahead_s = self._last_s + step_s - now_s
        if step_s < LEAST_STEP_S:
            self.healed.backwards += 1
        elif step_s > elapsed_s + TOLERANCE_S or ahead_s > AHEAD_S or self._lag.settled > BEHIND_S:
            self.healed.jumped += 1
        else:
            return self._last_s + step_s
        return self._anchor(told_s, now_s)

    def _anchor(self, told_s: float, now_s: float) -> float:
        pts_s = max(now_s, self._last_s + LEAST_STEP_S)
        self._offset_s = pts_s - told_s
        self._lag = _Spread()
        return pts_s


class _Spread:
    """The least and the greatest of the values of the last seconds, kept by whole seconds.

    Attributes:
        least, most: of the window so far.
        settled: the least, once the window is full; 0 before.
    """

    def __init__(self) -> None:
        self._buckets: deque[tuple[float, float, float]] = deque(maxlen=int(WINDOW_S / _BUCKET_S))
        self.least = self.most = self.settled = 0.0

    def add(self, at_s: float, value: float) -> None:
        buckets = self._buckets
        begun_s, low, high = buckets[-1] if buckets else (at_s - 2 * _BUCKET_S, value, value)
        if at_s - begun_s >= _BUCKET_S:
            buckets.append((at_s, value, value))
        elif low <= value <= high:
            return
        else:
            buckets[-1] = (begun_s, min(low, value), max(high, value))
        self.least = min(bucket[1] for bucket in buckets)
        self.most = max(bucket[2] for bucket in buckets)
        self.settled = self.least if len(buckets) == buckets.maxlen else 0.0
