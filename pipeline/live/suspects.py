"""Cameras whose pictures make the detector fail, time after time, while it works on those of others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

_log = logging.getLogger(__name__)


class Suspects:
    """Tells whose frames to keep from the detector: one bad camera must not take it from all the others.

    A camera is left out for a while once its frames failed several times and none of them worked, though between each
    two failures another camera's did. Where the device itself fails, no other works, and nobody is left out. Safe to
    share between threads.

    >>> suspects = Suspects(most=2)
    >>> suspects.failed(["odd"]), suspects.failed(["odd"]), suspects.is_out("odd")
    (False, False, False)
    >>> suspects.worked(["usual"])
    >>> suspects.failed(["odd"])
    True
    >>> suspects.is_out("odd"), suspects.is_out("usual")
    (True, False)

    Args:
        most: failures in a row.
        pause_s: for which a camera is left out.
        clock: monotonic seconds.
    """

    def __init__(self, most: int = 3, pause_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}  # in a row
        self._alone: set[str] = set()  # of those: another camera worked since their last failure
        self._until_s: dict[str, float] = {}

    def failed(self, cameras: Collection[str]) -> bool:
        """Takes note that the detector failed on a batch of these cameras; returns whether one is left out for it."""
        blamed = False
        with self._lock:
            for camera in cameras:
                if camera in self._failures and camera not in self._alone:
                    continue  # the device may be to blame
                self._alone.discard(camera)
                self._failures[camera] = self._failures.get(camera, 0) + 1
                if self._failures[camera] >= self._most:
                    self._leave_out(camera)
                    blamed = True
        return blamed

    def worked(self, cameras: Collection[str]) -> None:
        """Takes note that the detector worked on a batch of these cameras."""
        if not self._failures:
            return
        with self._lock:
            for camera in cameras:
                self._forget(camera)
            self._alone |= self._failures.keys()

    def is_out(self, camera: str) -> bool:
        """Returns whether its frames are to be kept from the detector now."""
        if not self._until_s:
            return False
        with self._lock:
            if self._until_s.get(camera, 0.0) > self._clock():
                return True
            self._until_s.pop(camera, None)
            return False

    def _leave_out(self, camera: str) -> None:
        self._failures[camera] = self._most - 1  # the next one is enough, until one of its frames works
        self._until_s[camera] = self._clock() + self._pause_s
        text = 'camera "%s": the detector fails on its frames and works on those of others; left out for %.0f s'
        _log.error(text, camera, self._pause_s)

    def _forget(self, camera: str) -> None:
        self._failures.pop(camera, None)
        self._alone.discard(camera)
