"""Whose fault it is that the detector fails: its own, or that of the frames of one camera."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

AWAY_S: Final = 60.0


class Blame:
    """Keeps a camera away from the detector for a while whose frames fail while those of others do not.

    Of a first failure nothing can be told: the detector is to blame. Safe to share between threads.

    >>> blame = Blame()
    >>> blame.failed("odd"), blame.worked("other"), blame.failed("odd"), blame.is_away("odd")
    (False, None, True, True)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._all = 0
        self._good: Counter[str] = Counter()  # frames looked at, by camera
        self._others: dict[str, int] = {}  # those of all others, when a camera failed last
        self._until_s: dict[str, float] = {}

    def worked(self, camera: str) -> None:
        """Takes note of a frame that was looked at."""
        with self._lock:
            self._all += 1
            self._good[camera] += 1

    def failed(self, camera: str) -> bool:
        """Takes note of one that was not; returns whether its camera is to blame."""
        with self._lock:
            others = self._all - self._good[camera]
            guilty = others > self._others.get(camera, others)
            self._others[camera] = others
            if guilty:
                self._until_s[camera] = self._clock() + AWAY_S
            return guilty

    def is_away(self, camera: str) -> bool:
        """Returns whether the frames of a camera are not looked at now."""
        until_s = self._until_s.get(camera)
        return until_s is not None and self._clock() < until_s
