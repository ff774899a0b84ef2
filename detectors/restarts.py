"""How often what fails is started again, before it is left alone for a while."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Restarts:
    """How often what has died is started again: so many times within some time, then once in a while.

    Not safe to use from several threads at once.

    >>> now_s = 0.0
    >>> restarts = Restarts(most=1, within_s=60, pause_s=30, clock=lambda: now_s)
    >>> restarts.died()
    >>> restarts.wait_s()
    0.0
    >>> restarts.died()
    >>> restarts.is_down, restarts.wait_s()
    (True, 30.0)
    >>> now_s = 30.0
    >>> restarts.wait_s()
    0.0
    >>> restarts.works()
    >>> restarts.is_down
    False
    """

    def __init__(
        self,
        most: int = 5,
        within_s: float = 60.0,
        pause_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing has died yet.

        Args:
            most: starts after a death within `within_s`; one more death, and it is down.
            within_s: see `most`.
            pause_s: from a death to the next try while it is down.
            clock: monotonic seconds.
        """
        self.most = most
        self.within_s = within_s
        self._pause_s = pause_s
        self._clock = clock
        self._lately: deque[float] = deque(maxlen=most + 1)
        self._next_s: float | None = None  # the next try, while it is down

    @property
    def is_down(self) -> bool:
        """Whether it died too often, and has not worked since."""
        return self._next_s is not None

    def died(self) -> None:
        """Takes note of a death."""
        now_s = self._clock()
        self._lately.append(now_s)
        too_often = len(self._lately) > self.most and now_s - self._lately[0] <= self.within_s
        if too_often or self.is_down:
            self._next_s = now_s + self._pause_s

    def works(self) -> None:
        """Takes note that it works: it is no longer down."""
        if self.is_down:
            self.forgive()

    def forgive(self) -> None:
        """Forgets all deaths: what they came of is known, and kept away from now on."""
        self._next_s = None
        self._lately.clear()

    def wait_s(self) -> float:
        """Returns for how long it may not be started, seconds; 0 where it may be."""
        return 0.0 if self._next_s is None else max(0.0, self._next_s - self._clock())
