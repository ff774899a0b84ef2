"""Times in which a camera was not seen: begun and ended by its changes of state, kept in the journal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from watchline.streams.camera import CameraEvent, CameraState

_BLIND = (CameraState.OFFLINE, CameraState.FROZEN)


class GapRecord(Protocol):
    """Keeps gaps."""

    def gap(self, camera: str, from_s: float, to_s: float, reason: str) -> None:
        """Keeps that a camera was not seen between two times, UTC seconds since 1970; must not wait."""


class Gaps:
    """A listener of cameras' states that records each gap once it is over, and those still open at the end.

    The length of a gap is measured by the monotonic clock: setting the wall clock makes none longer. Safe to share
    between threads.
    """

    def __init__(self, record: GapRecord, clock: Callable[[], float] = time.time) -> None:
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, tuple[float, str]] = {}  # since when, monotonic, and why

    def heard(self, event: CameraEvent) -> None:
        """Takes a change of state."""
        with self._lock:
            if event.state in _BLIND:
                self._open.setdefault(event.camera, (event.at_s, str(event.reason or event.state)))
                return
            # The last word of a camera that was removed may come when one of its name is there already.
            gap = self._open.pop(event.camera, None) if event.state is CameraState.LIVE else None
        if gap is not None:
            self._tell(event.camera, *gap, event.at_s)

    def removed(self, camera: str) -> None:
        """Records the gap of a camera that goes, if one is open."""
        with self._lock:
            gap = self._open.pop(camera, None)
        if gap is not None:
            self._tell(camera, *gap, time.monotonic())

    def close(self) -> None:
        """Records the gaps that are still open."""
        with self._lock:
            still, self._open = self._open, {}
        for camera, (since_s, reason) in still.items():
            self._tell(camera, since_s, reason, time.monotonic())

    def _tell(self, camera: str, since_s: float, reason: str, until_s: float) -> None:
        wall_s = self._clock() - time.monotonic()
        self._record.gap(camera, wall_s + since_s, wall_s + until_s, reason)
