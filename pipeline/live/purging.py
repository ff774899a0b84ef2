"""The retention of sightings, applied hour by hour."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from watchline.pipeline.store.seam import Erased, Keep
from watchline.streams.errors import WatchlineError

_log = logging.getLogger(__name__)

KINDS: Final = ("sightings", "crops", "vectors")
_HOUR_S: Final = 3600.0
_JUMP_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class PurgeStatus:
    """What the retention did so far.

    Attributes:
        purged: how many of each kind were erased, zeros included.
        failing: it could not be applied when that was tried last.
        busy: it is being applied now.
    """

    purged: dict[str, int]
    failing: bool
    busy: bool


class Purging:
    """Erases what is older than it may get, at the start and each hour. Every method may be called from any thread.

    A wall clock that jumped ahead would make everything look old: after a jump it is left alone for an hour, so that it
    can be set right.

    Args:
        purge: erases what is too old at a time, UTC seconds.
        keep: how long each kind of data is kept.
        every_s: between two rounds.
        clock: the wall clock, UTC seconds.
        steady: a clock that never jumps, seconds.
    """

    def __init__(
        self,
        purge: Callable[[Keep, float], Erased],
        keep: Keep,
        every_s: float = _HOUR_S,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._purge = purge
        self._every_s = every_s
        self._clock, self._steady = clock, steady
        self._changed = threading.Condition()  # guards what follows
        self._keep = keep
        self._due = True
        self._closed = self._failing = self._busy = False
        self._purged = dict.fromkeys(KINDS, 0)
        self._ahead_s = clock() - steady()  # of the wall clock
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
            return PurgeStatus(dict(self._purged), self._failing, self._busy)

    def close(self, timeout_s: float) -> None:
        """Ends it after the round that is under way; one that takes longer is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed, self._every_s)
                if self._closed:
                    return
                keep, self._due, self._busy = self._keep, False, True
            if not self._jumped():
                self._round(keep)
            with self._changed:
                self._busy = False

    def _round(self, keep: Keep) -> None:
        try:
            erased = self._purge(keep, self._clock())
        except Exception as error:  # noqa: BLE001  # whatever it was, it is told, and tried again
            what = str(error) if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
            _log.error("sightings could not be purged: %s; tried again in an hour", what)
            self._failing = True
            return
        counts = (len(erased.sightings), erased.crops, erased.vectors)
        with self._changed:
            self._failing = False
            for kind, count in zip(KINDS, counts, strict=True):
                self._purged[kind] += count
        if any(counts):
            _log.info("retention: erased %d sightings, %d pictures and %d vectors", *counts)

    def _jumped(self) -> bool:
        ahead_s = self._clock() - self._steady()
        jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if jump_s <= _JUMP_S:
            return False
        _log.warning("the clock jumped ahead by %.0f s: no sighting is purged for an hour; set it right", jump_s)
        return True
