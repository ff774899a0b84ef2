"""What is known of each camera now: state, counts, rates, and the age of its newest frame."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource, Frame
from watchline.streams.ledger import Count, Drop, Ledger
from watchline.streams.source import SourceInfo

_log = logging.getLogger(__name__)

SAMPLE_S = 1.0
_TELL_AGAIN_S = 3600.0
_SAMPLES = 6  # rates are means over the last five seconds


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """What became of the frames of a camera since it was added: received = delivered + all dropped + in_flight.

    Attributes:
        received: pictures decoded.
        delivered: taken by whoever analyses.
        dropped: by reason, zeros included.
        in_flight: waiting, or on their way.
        undecodable: packets of which no picture could be made.
        healed: times of frames that were mended, by what was wrong.
        connections: that gave a picture.
        failures: connections and tries that failed, and processes that ended.
    """

    received: int
    delivered: int
    dropped: dict[Drop, int]
    in_flight: int
    undecodable: int
    healed: dict[str, int]
    connections: int
    failures: int

    @classmethod
    def of(cls, ledger: Ledger) -> FrameCounts:
        """Returns the counts of this moment; the sum holds exactly, for what is in flight makes it up."""
        delivered, dropped = ledger[Count.DELIVERED], ledger.dropped()  # read first: what is settled was received
        received = ledger[Count.RECEIVED]
        return cls(
            received,
            delivered,
            dropped,
            received - delivered - sum(dropped.values()),
            ledger[Count.UNDECODABLE],
            {
                "missing": ledger[Count.HEALED_MISSING],
                "backwards": ledger[Count.HEALED_BACKWARDS],
                "jumped": ledger[Count.HEALED_JUMPED],
                "distrusted": ledger[Count.CLOCK_DISTRUSTED],
            },
            ledger[Count.CONNECTIONS],
            ledger[Count.FAILURES],
        )


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera at one moment.

    Attributes:
        camera: its name.
        state: what it does.
        reason: why it gives no picture, or gave none before this try; None while it does.
        sentence: the same for a person, without credentials.
        since_s: for how long it has been in this state, seconds.
        info: what the stream said of itself when it was live last.
        backend: what connects and decodes; empty before the first picture.
        counts: what became of its frames.
        reconnects: how often it failed, by reason; each time it is tried again.
        fps: pictures received a second, over the last seconds.
        delivered_fps: frames taken a second, over the last seconds.
        age_s: how long ago the newest delivered frame was captured; None before the first.
        delay_s: how old that frame was when it was delivered; None before the first.
        clock: where its `captured_at` comes from; None before the first.
        clock_error_s: how far that may be off, seconds.
        retry_s: until the next try, seconds; 0 where none is waited for.
        last_failure: why it failed last, though it may be live again; None if it never did.
        last_failure_age_s: how long ago that was, seconds; None if it never was.
        process: id of the process that reads it; None for this one, and while there is none.
    """

    camera: str
    state: CameraState
    reason: Reason | None
    sentence: str
    since_s: float
    info: SourceInfo | None
    backend: str
    counts: FrameCounts
    reconnects: dict[Reason, int]
    fps: float
    delivered_fps: float
    age_s: float | None
    delay_s: float | None
    clock: ClockSource | None
    clock_error_s: float
    retry_s: float
    last_failure: Reason | None
    last_failure_age_s: float | None
    process: int | None = None


def _tell(event: CameraEvent, told: bool) -> None:
    """Logs a change of state: what an operator must act on as a warning, unless that was told a while ago."""
    if event.state in (CameraState.OFFLINE, CameraState.FROZEN):
        again = f"; next try in {event.retry_s:.1f} s" if event.retry_s else ""
        _log.log(logging.DEBUG if told else logging.WARNING, "%s: %s%s", event.reason, event.sentence, again)
    else:
        _log.info('camera "%s": %s%s', event.camera, event.state, f", {event.sentence}" if event.sentence else "")


class Standing:
    """Keeps what `CameraStatus` says of one camera. Safe to share between threads."""

    def __init__(self, camera: str, ledger: Ledger, listener: Callable[[CameraEvent], None]) -> None:
        """Starts as connecting; `listener` is told of each change."""
        self.ledger = ledger
        self._listener = listener
        self._lock = threading.Lock()
        self._event = CameraEvent(camera, CameraState.CONNECTING, time.monotonic())
        self._reason: Reason | None = None
        self._sentence = ""
        self._failed: tuple[Reason, float] | None = None  # why, and when (monotonic)
        self._told: tuple[Reason, float] | None = None  # what was logged as a warning, and when (monotonic)
        self._info: SourceInfo | None = None
        self._backend = ""
        self._reconnects: Counter[Reason] = Counter()
        self._clock: ClockSource | None = None
        self._newest_s = self._delay_s = self._clock_error_s = 0.0
        self._samples: deque[tuple[float, int, int]] = deque(maxlen=_SAMPLES)
        self.sample()

    def heard(self, event: CameraEvent) -> None:
        """Takes a change of state."""
        with self._lock:
            if event.reason is not None and event.state in (CameraState.OFFLINE, CameraState.FROZEN):
                self._reconnects[event.reason] += 1
                self._failed = event.reason, event.at_s
            if event.state is CameraState.LIVE:
                self._info, self._backend, self._reason, self._sentence = event.info, event.sentence, None, ""
            elif event.state is not CameraState.CONNECTING:  # which says nothing new of why there is no picture
                self._reason, self._sentence = event.reason, event.sentence
            self._event = event
            told = self._was_told(event)
        _tell(event, told)
        self._listener(event)

    def _was_told(self, event: CameraEvent) -> bool:
        """Returns whether the same was told within the hour: a camera may be away, and tried, for days."""
        if event.reason is None:
            if event.state is CameraState.LIVE:
                self._told = None
            return False
        told = self._told is not None and self._told[0] is event.reason and event.at_s - self._told[1] < _TELL_AGAIN_S
        if not told:
            self._told = event.reason, event.at_s
        return told

    def delivered(self, frame: Frame) -> None:
        """Takes note of a frame that was just handed to whoever analyses."""
        with self._lock:
            self._newest_s = time.monotonic()
            self._delay_s = time.time() - frame.captured_at
            self._clock, self._clock_error_s = frame.clock, frame.clock_error_s

    def sample(self) -> None:
        """Takes note of the counts; called each `SAMPLE_S`."""
        with self._lock:
            self._samples.append((time.monotonic(), self.ledger[Count.RECEIVED], self.ledger[Count.DELIVERED]))

    def status(self) -> CameraStatus:
        """Returns how things stand."""
        with self._lock:
            now_s = time.monotonic()
            counts = FrameCounts.of(self.ledger)
            then_s, received, delivered = self._samples[0]
            over_s = max(now_s - then_s, 1e-3)
            seen = self._clock is not None
            return CameraStatus(
                self._event.camera,
                self._event.state,
                self._reason,
                self._sentence,
                now_s - self._event.at_s,
                self._info,
                self._backend,
                counts,
                dict(self._reconnects),
                (counts.received - received) / over_s,
                (counts.delivered - delivered) / over_s,
                now_s - self._newest_s + self._delay_s if seen else None,
                self._delay_s if seen else None,
                self._clock,
                self._clock_error_s,
                max(0.0, self._event.retry_s - (now_s - self._event.at_s)),
                self._failed[0] if self._failed is not None else None,
                now_s - self._failed[1] if self._failed is not None else None,
            )
