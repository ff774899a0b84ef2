"""Ids of sightings and tracks: 32 hex digits that sort by when they were made."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

_RANDOM_BITS: Final = 80


class Ids:
    """Makes ids: 48 bits of milliseconds, UTC, and 80 of chance. Safe to call from several threads.

    Within one maker each id is greater than the last, also where the clock goes back; two makers never agree.

    Args:
        clock: UTC seconds.
        entropy: as many bytes of chance as asked for.
    """

    def __init__(self, clock: Callable[[], float] = time.time, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._last = -1

    def new(self) -> str:
        """Returns an id.

        >>> ids = Ids(clock=lambda: 1.5, entropy=bytes)
        >>> ids.new(), ids.new()
        ('0000000005dc00000000000000000000', '0000000005dc00000000000000000001')
        """
        fresh = int(self._clock() * 1000) << _RANDOM_BITS | int.from_bytes(self._entropy(_RANDOM_BITS // 8), "big")
        with self._lock:
            self._last = fresh if fresh > self._last else self._last + 1
            return f"{self._last:032x}"
