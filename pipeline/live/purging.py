"""The retention of sightings: what is too old goes hour by hour, what is too much within a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from watchline.pipeline.live.steady_now import SteadyNow
from watchline.pipeline.store.seam import Erased, Keep
from watchline.streams.errors import WatchlineError

_log = logging.getLogger(__name__)

KINDS: Final = ("sightings", "crops", "vectors")
_PURGED: Final = "purged"
_TRIMMED: Final = "trimmed"  # for want of room
_HOUR_S: Final = 3600.0
_MINUTE_S: Final = 60.0
_DAY_S: Final = 86400.0
_BELIEVE_S: Final = _HOUR_S  # for which a clock must be ahead before sightings grow old by it, at least
_SHARE: Final = 0.1  # of what it is ahead: a month is believed after three days, sixty years after six


class Retained(Protocol):
    """What of a store the retention needs; see `SightingStore`."""

    @property
    def usable(self) -> bool:
        """Whether the store is open; nothing is asked of it while it is not."""

    def purge(self, keep: Keep, now: float) -> Erased:
        """Erases what is older than it may get."""

    def reached(self) -> float | None:
        """Returns the latest time that was believed, UTC seconds; None where nothing is known."""

    def reach(self, at: float, *, surely: bool) -> None:
        """Notes a time as believed; where it is sure, it replaces a later one, too."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What tells the time.

    Attributes:
        wall: UTC seconds.
        steady: never jumps, seconds.
        synchronised: whether the system keeps the wall clock right, by NTP or the like.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    synchronised: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class PurgeStatus:
    """What the retention did so far.

    Attributes:
        purged: how many of each kind were erased, zeros included.
        trimmed: sightings of these that went before their time, for want of room.
        failing: it could not be applied when that was tried last.
        busy: it is being applied now.
        held: rounds in which less was erased than the clock says, as it is more than a day ahead of what is believed.
        ahead_s: by how much it was in the last round, seconds; 0.0 where it was believed.
        sentence: the same for a person; "" where it was believed.
    """

    purged: dict[str, int]
    trimmed: int
    failing: bool
    busy: bool
    held: int
    ahead_s: float
    sentence: str


class Purging:
    """Erases what is older than it may get, at the start and each hour, and what is too much each minute.

    Every method may be called from any thread.

    A wall clock that is ahead would make everything look old. So ages count by a time that is surely not ahead: the
    latest that was believed, which the store keeps, and the time since. The wall clock is believed where the system
    says that it is kept right; else what it is ahead is believed once that has lasted for a tenth of it, and for an
    hour at least. The time for which the program did not run is such a jump, too. A clock that is behind is believed
    at once: by it less is old.

    Args:
        store: whose sightings these are.
        keep: how long each kind of data is kept.
        trim: erases what is too much.
        every_s: between two rounds by age.
        clocks: what tells the time.
        trim_s: between two rounds of `trim`.
    """

    def __init__(
        self,
        store: Retained,
        keep: Keep,
        trim: Callable[[], Erased],
        every_s: float = _HOUR_S,
        clocks: Clocks = Clocks(),
        trim_s: float = _MINUTE_S,
    ) -> None:
        self._store, self._trim = store, trim
        self._trim_s = trim_s
        self._every_s = every_s
        self._clocks = clocks
        self._now = SteadyNow(clocks.wall, clocks.steady, _BELIEVE_S, _SHARE)
        self._begun_s: float | None = None  # when it was applied first
        self._changed = threading.Condition()  # guards what follows
        self._keep = keep
        self._asked = True
        self._closed = self._busy = False
        self._failing: set[str] = set()
        self._purged = dict.fromkeys(KINDS, 0)
        self._trimmed = self._held = 0
        self._ahead_s = 0.0
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def retain(self, keep: Keep) -> None:
        """Keeps more or less from now on."""
        with self._changed:
            if keep != self._keep:
                self._keep, self._asked = keep, True
                self._changed.notify_all()

    def status(self) -> PurgeStatus:
        """Returns what was done."""
        with self._changed:
            return PurgeStatus(
                dict(self._purged),
                self._trimmed,
                bool(self._failing),
                self._busy,
                self._held,
                self._ahead_s,
                _doubt(self._ahead_s),
            )

    def close(self, timeout_s: float) -> None:
        """Ends it after the round that is under way; one that takes longer is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        next_s = 0.0  # when the next round by age is due, monotonic
        pause_s = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._closed, pause_s)
                if self._closed:
                    return
                next_s = 0.0 if self._asked else next_s
                self._asked, self._busy = False, True
            pause_s = self._trim_s
            if self._store.usable:
                if time.monotonic() >= next_s:
                    next_s = time.monotonic() + self._every_s
                    self._round(_PURGED, self._purge)
                elif self._begun_s is not None:
                    self._look()
                self._round(_TRIMMED, self._trim)
            if self._store.usable:
                pause_s = min(pause_s, max(0.0, next_s - time.monotonic()))
            else:
                next_s = 0.0  # as soon as it is
            with self._changed:
                self._busy = False

    def _round(self, what: str, erase: Callable[[], Erased]) -> None:
        try:
            erased = erase()
        except Exception as error:  # noqa: BLE001  # whatever it was, it is told, and tried again
            said = str(error) if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
            if what not in self._failing:
                _log.error("sightings could not be %s: %s; it is tried again", what, said)
            with self._changed:
                self._failing.add(what)
            return
        counts = (len(erased.sightings), erased.crops, erased.vectors)
        with self._changed:
            self._failing.discard(what)
            self._trimmed += counts[0] if what == _TRIMMED else 0
            for kind, count in zip(KINDS, counts, strict=True):
                self._purged[kind] += count
        if any(counts):
            _log.info("retention: %s %d sightings, %d pictures and %d vectors", what, *counts)

    def _purge(self) -> Erased:
        past = self._store.reached()
        if past is not None:
            self._now.at_least(past)
        synchronised = self._clocks.synchronised()
        if synchronised:
            self._now.trust()
        now = self._now.now()
        self._note_doubt(self._clocks.wall() - now)
        self._remember(now, surely=synchronised)
        with self._changed:
            keep = self._keep
        return self._store.purge(keep, now)

    def _look(self) -> None:
        """Looks at the clock between two rounds: a jump counts from when it is seen, and one set right is told."""
        ahead_s = self._clocks.wall() - self._now.now()
        if ahead_s <= _DAY_S:
            self._note_doubt(ahead_s)

    def _remember(self, now: float, *, surely: bool) -> None:
        """Notes the time that is believed; of a clock that nobody keeps right, not before it ran for a while."""
        steady_s = self._clocks.steady()
        self._begun_s = steady_s if self._begun_s is None else self._begun_s
        if surely or steady_s - self._begun_s >= _BELIEVE_S:
            self._store.reach(now, surely=surely)

    def _note_doubt(self, ahead_s: float) -> None:
        """Tells that the clock is not believed, where that makes a difference of more than a day."""
        ahead_s = ahead_s if ahead_s > _DAY_S else 0.0
        with self._changed:
            before_s, self._ahead_s = self._ahead_s, ahead_s
            self._held += bool(ahead_s)
        if ahead_s and not before_s:
            _log.warning("%s", _doubt(ahead_s))
        elif before_s and not ahead_s:
            _log.info("retention: the clock is believed again")


def _doubt(ahead_s: float) -> str:
    if not ahead_s:
        return ""
    return (
        f"the clock is {ahead_s / _DAY_S:.0f} days ahead of the time that the store of sightings knows, so nothing is "
        f"too old by it, until it has run for {_SHARE * ahead_s / _HOUR_S:.0f} hours like that or NTP keeps it right; "
        "set it right, or if it is right, erase with `watchline sightings purge`"
    )
