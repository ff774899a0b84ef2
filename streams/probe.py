"""Looks at one camera for some seconds and says what is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Arrival, Connect
from watchline.streams.frame import ClockSource
from watchline.streams.libav import FALLBACK_FPS
from watchline.streams.live_clock import Healed, LiveClock, Stamp
from watchline.streams.source import SourceInfo
from watchline.streams.still import StillWatch


@dataclass(frozen=True, slots=True)
class Probe:
    """What a camera gave.

    Attributes:
        info: what the stream says of itself.
        backend: what connected and decoded.
        first_picture_s: from the start of connecting to the first picture.
        seconds: from the first picture to the last.
        pictures: decoded.
        fps: pictures a second as they came; 0 where there was one alone.
        gop: pictures from one key frame to the next, the longest seen; None where no two were seen.
        damaged: pictures that the decoder marked as damaged.
        undecodable: packets of which no picture could be made.
        still_s: for how long the picture had been the very same at the end.
        clock: where the wall time of the last picture comes from.
        clock_error_s: how far it may be off.
        healed: what was wrong with the stream's times.
    """

    info: SourceInfo
    backend: str
    first_picture_s: float
    seconds: float
    pictures: int
    fps: float
    gop: int | None
    damaged: int
    undecodable: int
    still_s: float
    clock: ClockSource
    clock_error_s: float
    healed: Healed


def probe(
    settings: CameraSettings, seconds: float, connect: Connect, stopped: Callable[[], bool] = lambda: False
) -> Probe:
    """Returns what the camera gives in `seconds` from its first picture on, or until `stopped`.

    Raises:
        CameraError: it gives no picture, or stops giving them.
    """
    begun_s = time.monotonic()
    with closing(connect(settings)) as connection:
        look = _Look(1 / (connection.info.fps or FALLBACK_FPS))
        look.take(connection.read())
        while look.seconds < seconds and not stopped():
            look.take(connection.read())
        return Probe(
            connection.info,
            connection.backend,
            look.first_s - begun_s,
            look.seconds,
            look.pictures,
            (look.pictures - 1) / look.seconds if look.seconds else 0.0,
            look.gop,
            look.damaged,
            connection.undecodable,
            look.still_s,
            look.stamp.clock,
            look.stamp.error_s,
            look.clock.healed,
        )


class _Look:
    """What was seen so far."""

    def __init__(self, period_s: float) -> None:
        self.clock = LiveClock(period_s)
        self.stamp = Stamp(0.0, 0.0, ClockSource.ARRIVAL, 0.0)
        self.pictures = self.damaged = 0
        self.first_s = self.seconds = self.still_s = 0.0
        self.gop: int | None = None
        self._key: int | None = None  # which picture the last key frame was
        self._still = StillWatch()

    def take(self, arrival: Arrival) -> None:
        now_s = time.monotonic()
        if not self.pictures:
            self.first_s = now_s
        self.seconds = now_s - self.first_s
        if arrival.key:
            if self._key is not None:
                self.gop = max(self.gop or 0, self.pictures - self._key)
            self._key = self.pictures
        self.pictures += 1
        self.damaged += arrival.damaged
        self.stamp = self.clock.stamp(arrival.pts_s, arrival.sent_at, now_s, time.time())
        if self._still.due(now_s):
            picture = arrival.picture()
            self.still_s = self._still.look(picture.planes[0] if picture.planes else picture.rgb(), now_s)
