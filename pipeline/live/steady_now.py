"""A time by which nothing is erased too early: the wall clock, but only as far as it has shown to be right."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class SteadyNow:
    """The wall clock, but jumps forwards count only once they have lasted; backwards it is believed at once.

    Args:
        clock: the wall clock, UTC seconds.
        steady: a clock that never jumps, seconds.
        believe_s: how long they must last.
        share: of a jump, for which it must last where that is longer.
    """

    def __init__(
        self, clock: Callable[[], float], steady: Callable[[], float], believe_s: float, share: float = 0.0
    ) -> None:
        self._clock, self._steady, self._believe_s, self._share = clock, steady, believe_s, share
        # When it was last seen, steady time, and how far the wall clock was ahead of that one; these ascend.
        self._leads: deque[tuple[float, float]] = deque()

    def now(self) -> float:
        """Returns the time that counts, UTC seconds; to be asked now and then, a jump counts from when it is seen."""
        self._note(self._clock() - self._steady())
        while len(self._leads) > 1 and self._steady() - self._leads[0][0] > self._lasting_s():
            self._leads.popleft()
        return self._steady() + self._leads[0][1]

    def at_least(self, past: float) -> None:
        """Tells of a time that was, UTC seconds: it is later now. A time in the future tells nothing."""
        lead = min(past, self._clock()) - self._steady()
        if self._leads and self._leads[0][1] >= lead:
            return
        while self._leads and self._leads[0][1] <= lead:
            self._leads.popleft()
        self._leads.appendleft((self._steady(), lead))

    def trust(self) -> None:
        """Tells that the wall clock is right."""
        self._leads.clear()

    def _lasting_s(self) -> float:
        """Returns for how long the next jump must have lasted."""
        return max(self._believe_s, self._share * (self._leads[1][1] - self._leads[0][1]))

    def _note(self, lead: float) -> None:
        while self._leads and self._leads[-1][1] >= lead:
            self._leads.pop()
        # Clocks creep: leads that differ by less than a second count as one, which bounds how many are kept.
        if self._leads and lead - self._leads[-1][1] < 1.0:
            lead = self._leads.pop()[1]
        self._leads.append((self._steady(), lead))
