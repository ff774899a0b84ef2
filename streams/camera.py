"""One supervised camera: connects, reads, watches, and connects again, for as long as it is wanted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from types import MappingProxyType, TracebackType
from typing import Protocol

from watchline.streams.address import Kind
from watchline.streams.backoff import LEAST_DELAY_S, MOST_AUTH_DELAY_S, MOST_DELAY_S, Backoff
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Arrival, Connect, Connection
from watchline.streams.diagnosis import camera_error
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Frame, Picture
from watchline.streams.free_memory import give_back_memory
from watchline.streams.knock import Knock
from watchline.streams.ledger import Count, Drop, Ledger
from watchline.streams.libav import FALLBACK_FPS
from watchline.streams.live_clock import LiveClock, Stamp
from watchline.streams.rate import FixedRate
from watchline.streams.source import SourceInfo
from watchline.streams.still import StillWatch

_log = logging.getLogger(__name__)
_FEW = 3  # pictures, after which a silence is one

_HEALED = MappingProxyType(
    {
        Count.HEALED_MISSING: "missing",
        Count.HEALED_BACKWARDS: "backwards",
        Count.HEALED_JUMPED: "jumped",
        Count.CLOCK_DISTRUSTED: "distrusted",
    }
)


class CameraState(StrEnum):
    """What a camera does now."""

    CONNECTING = "connecting"  # for the first time
    LIVE = "live"
    FROZEN = "frozen"  # connected, but the picture is the same again and again
    OFFLINE = "offline"  # no picture; tried again and again
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """A camera's state changed.

    Attributes:
        camera: its name.
        state: from now on.
        at_s: when, on the monotonic clock.
        reason: why it gives no picture; None while it does, and before the first try.
        sentence: the same for a person, without credentials; what connects and decodes where it is live.
        retry_s: until the next try, seconds; 0 where none is waited for.
        info: what the stream says of itself, where it is live.
    """

    camera: str
    state: CameraState
    at_s: float
    reason: Reason | None = None
    sentence: str = ""
    retry_s: float = 0.0
    info: SourceInfo | None = None


class FrameOutlet(Protocol):
    """Takes frames that were counted as received, and counts what becomes of them."""

    def put(self, frame: Frame) -> None:
        """Takes one frame."""


class Camera:
    """Reads one camera in a thread of its own until it is stopped.

    Failures never end it: each is told to `listener` with its reason, and the next try waits 1 s, 2 s, ... 30 s, less
    when a host that had refused connections begins to take them. A silent camera is waited for while connected. A
    picture that stays the very same is a failure too: frames are dropped as frozen, the connection is made anew at
    those same intervals, and the first new picture ends it.
    """

    def __init__(
        self,
        settings: CameraSettings,
        outlet: FrameOutlet,
        ledger: Ledger,
        connect: Connect,
        listener: Callable[[CameraEvent], None],
        backoff: Backoff | None = None,
        clock: LiveClock | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: which camera, and what is wanted of it.
            outlet: where its frames go.
            ledger: where they are counted.
            connect: opens a connection.
            listener: told of each change of state, in the camera's thread.
            backoff: how long to wait between tries.
            clock: of an earlier life of this camera, to go on with.
        """
        self._settings = settings
        self._outlet = outlet
        self._ledger = ledger
        self._connect = connect
        self._listener = listener
        self._backoff = backoff or Backoff(Random())  # noqa: S311  # only keeps cameras out of step
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{settings.camera}", daemon=True)
        self._clock = clock or LiveClock()
        self._healed_before = {count: ledger[count] for count in _HEALED}  # counted by an earlier process
        self._still = StillWatch()
        self._rate = FixedRate(settings.fps)
        self._state = CameraState.STOPPED
        self._live_since_s: float | None = None  # of this connection
        self._undecodable_before = 0  # of earlier connections
        self._counted: tuple[int, ...] = ()  # as `_count` saw it last
        self._pictures = 0  # whole ones, of this connection
        self._silent_after_s = settings.silent_after_s
        self._reconnect_s = float("inf")  # when a frozen connection is made anew, monotonic

    def start(self) -> None:
        """Begins to connect."""
        self._thread.start()

    def stop(self) -> None:
        """Asks it to end; it does within a frame, or within the time-out that it waits in."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Waits for its end after `stop()`; returns whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._enter(CameraState.CONNECTING)
        settings = self._settings
        while not self._stop.is_set():
            failure = self._connect_and_read(settings)
            give_back_memory()
            if failure is None:
                break
            self._ledger.add(Count.FAILURES)
            if failure.reason is Reason.FROZEN:
                self._reconnect_s = time.monotonic() + self._backoff.failed(0.0)
                continue  # it waits while it is connected
            healthy_s = time.monotonic() - self._live_since_s if self._live_since_s is not None else 0.0
            auth = failure.reason is Reason.AUTH
            delay_s = self._backoff.failed(healthy_s, MOST_AUTH_DELAY_S if auth else None)
            settings = self._settings
            if failure.reason is Reason.TIMEOUT:
                settings, delay_s = self._patient(delay_s), min(delay_s, LEAST_DELAY_S)
            self._enter(CameraState.OFFLINE, failure.reason, str(failure), delay_s)
            self._wait(delay_s)
        self._enter(CameraState.STOPPED)

    def _patient(self, delay_s: float) -> CameraSettings:
        """Returns the settings for the next try of a silent camera.

        It is waited for while connected, or connecting: so its return is seen at once. One that gave a picture or two
        before each silence may just be slow, and is given twice the time.
        """
        settings = self._settings
        if self._pictures >= _FEW:
            self._silent_after_s = settings.silent_after_s
        elif self._pictures:
            self._silent_after_s = min(2 * self._silent_after_s, max(MOST_DELAY_S, settings.silent_after_s))
        patience_s = max(settings.open_timeout_s, delay_s)
        return replace(settings, open_timeout_s=patience_s, silent_after_s=self._silent_after_s)

    def _connect_and_read(self, settings: CameraSettings) -> CameraError | None:
        """Returns why the connection ended, or None once asked to stop."""
        self._live_since_s = None
        self._pictures = 0
        try:
            with closing(self._connect(settings)) as connection:
                self._read(connection)
        except CameraError as error:
            return CameraError(error.reason, self._settings.address.redact(str(error)))
        except Exception as error:  # noqa: BLE001  # a defect must not end the camera, nor show what it may not
            text = self._settings.address.redact(f"{type(error).__name__}: {error}")
            _log.exception('camera "%s": unexpected error', self._settings.camera, exc_info=_bare(error, text))
            return CameraError(Reason.INTERNAL, f'camera "{self._settings.camera}": {text}; please report this')
        return None

    def _read(self, connection: Connection) -> None:
        period_s = 1 / (connection.info.fps or FALLBACK_FPS)
        self._clock.connected(period_s)
        self._still.reconnected()
        self._undecodable_before = self._ledger[Count.UNDECODABLE]
        self._counted = ()
        settings, whole_s = self._settings, time.monotonic()
        while not self._stop.is_set():
            arrival = connection.read()
            now_s = time.monotonic()
            stamp = self._clock.stamp(arrival.pts_s, arrival.sent_at, now_s, time.time())
            self._count(connection)
            self._ledger.add(Count.RECEIVED)
            if arrival.damaged:
                self._ledger.drop(Drop.DAMAGED)
                if now_s - whole_s >= settings.open_timeout_s:
                    raise camera_error(settings, Reason.CORRUPT, f"no whole picture for {now_s - whole_s:.1f} s")
                continue
            whole_s = now_s
            self._pictures += 1
            if self._live_since_s is None:
                self._live_since_s = now_s
                self._ledger.add(Count.CONNECTIONS)
            self._hand_on(arrival, stamp, connection, now_s)
            if self._state is CameraState.FROZEN and now_s >= self._reconnect_s:
                raise self._frozen()

    def _count(self, connection: Connection) -> None:
        healed = self._clock.healed
        counted = connection.undecodable, healed.missing, healed.backwards, healed.jumped, healed.distrusted
        if counted == self._counted:
            return
        self._counted = counted
        self._ledger.set(Count.UNDECODABLE, self._undecodable_before + connection.undecodable)
        for count, name in _HEALED.items():
            self._ledger.set(count, self._healed_before[count] + getattr(healed, name))

    def _hand_on(self, arrival: Arrival, stamp: Stamp, connection: Connection, now_s: float) -> None:
        sequence = self._ledger[Count.RECEIVED] - 1
        wanted = self._rate.chooses(stamp.pts_s)
        picture: Picture | None = None
        if wanted or self._still.due(now_s):
            try:
                picture = arrival.picture()
                self._watch(picture, connection, now_s)
            except Exception:
                self._ledger.drop(Drop.DAMAGED)  # whatever is wrong with it: it is counted
                raise
        if self._state is CameraState.FROZEN:
            self._ledger.drop(Drop.FROZEN)
        elif not wanted or picture is None:
            self._ledger.drop(Drop.RATE)
        else:
            self._outlet.put(
                Frame(
                    self._settings.camera,
                    sequence,
                    stamp.pts_s,
                    stamp.captured_at,
                    stamp.clock,
                    picture,
                    stamp.error_s,
                )
            )

    def _watch(self, picture: Picture, connection: Connection, now_s: float) -> None:
        """Enters the state that the picture shows."""
        recorded = self._settings.address.kind is Kind.FILE  # which may well show a drawn, noiseless picture
        limit_s = 0.0 if recorded else self._settings.frozen_after_s
        still_s = self._still.look(picture.planes[0] if picture.planes else picture.rgb(), now_s) if limit_s else 0.0
        if limit_s and still_s >= limit_s:
            if self._state is not CameraState.FROZEN:
                self._reconnect_s = now_s + self._backoff.failed(now_s - (self._live_since_s or now_s))
                self._enter(CameraState.FROZEN, Reason.FROZEN, str(self._frozen()))
        elif self._state is not CameraState.LIVE:
            self._enter(CameraState.LIVE, None, connection.backend, info=connection.info)

    def _frozen(self) -> CameraError:
        settings = self._settings
        text = f"the same picture for {settings.frozen_after_s:.1f} s"
        return camera_error(settings, Reason.FROZEN, text, "restart the camera if it stays")

    def _wait(self, delay_s: float) -> None:
        """Waits for the next try: `delay_s`, or until a host that did not answer begins to."""
        knock = Knock(self._settings.address)
        until_s = time.monotonic() + delay_s
        while (left_s := until_s - time.monotonic()) > 0:
            if self._stop.wait(min(left_s, knock.every_s)) or knock.opened():
                return

    def _enter(
        self,
        state: CameraState,
        reason: Reason | None = None,
        sentence: str = "",
        retry_s: float = 0.0,
        info: SourceInfo | None = None,
    ) -> None:
        self._state = state
        event = CameraEvent(self._settings.camera, state, time.monotonic(), reason, sentence, retry_s, info)
        self._listener(event)


def _bare(error: Exception, text: str) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """Returns what the log needs of `error`: where it happened, with a text that shows nothing it may not."""
    return RuntimeError, RuntimeError(text), error.__traceback__
