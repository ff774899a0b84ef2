"""The retention of sightings: what is too old goes hour by hour, what is too much within a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from watchline.pipeline.store.seam import Erased, Keep
from watchline.streams.errors import WatchlineError

_log = logging.getLogger(__name__)

KINDS: Final = ("sightings", "crops", "vectors")
_PURGED: Final = "purged"
_TRIMMED: Final = "trimmed"  # for want of room
_HOUR_S: Final = 3600.0
_MINUTE_S: Final = 60.0
_JUMP_S: Final = 300.0
_DOUBTED_S: Final = 3540.0  # the next round comes an hour later


@dataclass(frozen=True, slots=True)
class PurgeStatus:
    """What the retention did so far.

    Attributes:
        purged: how many of each kind were erased, zeros included.
        trimmed: sightings of these that went before their time, for want of room.
        failing: it could not be applied when that was tried last.
        busy: it is being applied now.
    """

    purged: dict[str, int]
    trimmed: int
    failing: bool
    busy: bool


class Purging:
    """Erases what is older than it may get, at the start and each hour, and what is too much each minute.

    Every method may be called from any thread.

    A wall clock that jumped ahead would make everything look old: after a jump it is left alone for an hour, so that it
    can be set right.

    Args:
        purge: erases what is too old at a time, UTC seconds.
        keep: how long each kind of data is kept.
        trim: erases what is too much.
        every_s: between two rounds of `purge`.
        clock: the wall clock, UTC seconds.
        steady: a clock that never jumps, seconds.
        trim_s: between two rounds of `trim`.
    """

    def __init__(
        self,
        purge: Callable[[Keep, float], Erased],
        keep: Keep,
        trim: Callable[[], Erased],
        every_s: float = _HOUR_S,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        trim_s: float = _MINUTE_S,
    ) -> None:
        self._purge, self._trim = purge, trim
        self._trim_s = trim_s
        self._every_s = every_s
        self._clock, self._steady = clock, steady
        self._changed = threading.Condition()  # guards what follows
        self._keep = keep
        self._due = True
        self._closed = self._busy = False
        self._failing: set[str] = set()
        self._purged = dict.fromkeys(KINDS, 0)
        self._trimmed = 0
        self._ahead_s = clock() - steady()  # of the wall clock, when it was believed last
        self._doubted_s: float | None = None  # since when it is not
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def retain(self, keep: Keep) -> None:
        """Keeps more or less from now on."""
        with self._changed:
            if keep != self._keep:
                self._keep, self._due = keep, True
                self._changed.notify_all()

    def status(self) -> PurgeStatus:
        """Returns what was done."""
        with self._changed:
            return PurgeStatus(dict(self._purged), self._trimmed, bool(self._failing), self._busy)

    def close(self, timeout_s: float) -> None:
        """Ends it after the round that is under way; one that takes longer is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        next_s = 0.0  # when the next round is due, monotonic
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._due or self._closed, min(self._trim_s, max(0.0, next_s - time.monotonic()))
                )
                if self._closed:
                    return
                keep, due, self._due, self._busy = self._keep, self._due, False, True
            if due or time.monotonic() >= next_s:
                next_s = time.monotonic() + self._every_s
                if not self._jumped():
                    self._round(_PURGED, partial(self._purge, keep, self._clock()))
            self._round(_TRIMMED, self._trim)
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

    def _jumped(self) -> bool:
        """Tells whether the clock jumped ahead, not an hour ago, and was not set right since."""
        ahead_s, now_s = self._clock() - self._steady(), self._steady()
        jump_s = ahead_s - self._ahead_s
        if jump_s > _JUMP_S and self._doubted_s is None:
            self._doubted_s = now_s
            _log.warning("the clock jumped ahead by %.0f s: no sighting is too old for an hour; set it right", jump_s)
        if jump_s > _JUMP_S and self._doubted_s is not None and now_s - self._doubted_s < _DOUBTED_S:
            return True
        self._ahead_s, self._doubted_s = ahead_s, None
        return False
