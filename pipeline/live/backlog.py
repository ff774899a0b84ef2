"""Tracklets that wait to be stored: a queue with bounds, which gives up the dearest first."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from watchline.pipeline.store.sighting import Provenance
from watchline.reid.tracklet import Tracklet

STRIPPED: Final = "no room: too much waited to be stored"  # why a tracklet has no pictures any more


class Fate(StrEnum):
    """What becomes of a tracklet, the better first."""

    WHOLE = "whole"  # described and stored
    BEHIND = "behind"  # stored without vectors
    STRIPPED = "stripped"  # stored without vectors and pictures
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A tracklet that ended, and what is to be stored with it.

    Attributes:
        tracklet: it.
        track_key: of its track.
        provenance: what found and followed it.
    """

    tracklet: Tracklet
    track_key: str
    provenance: Provenance


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """One that waits.

    Attributes:
        seen: it.
        describe: vectors are to be made of it.
        size_bytes: what it holds.
    """

    seen: Seen
    describe: bool
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BacklogBounds:
    """How much may wait.

    Attributes:
        described: tracklets; more are stored without vectors.
        described_bytes: likewise.
        most_bytes: of all; more are stored without pictures, too.
        most: of all; more are dropped.
    """

    described: int = 256
    described_bytes: int = 64 << 20
    most_bytes: int = 96 << 20
    most: int = 4096


class Backlog:
    """What waits, oldest first. Safe to share between threads; whoever puts never waits.

    Args:
        bounds: how much.
    """

    def __init__(self, bounds: BacklogBounds | None = None) -> None:
        self._bounds = bounds or BacklogBounds()
        self._changed = threading.Condition()  # of what follows
        self._queue: deque[Waiting] = deque()
        self._bytes = self._described = self._under_way = 0
        self._closed = False

    def put(self, seen: Seen) -> Fate:
        """Takes a tracklet; returns what will become of it."""
        size = size_bytes(seen.tracklet)
        bounds = self._bounds
        with self._changed:
            if self._closed or len(self._queue) >= bounds.most:
                return Fate.DROPPED
            total = self._bytes + size
            if self._described < bounds.described and total <= bounds.described_bytes:
                fate = Fate.WHOLE
            elif total <= bounds.most_bytes:
                fate = Fate.BEHIND
            else:
                fate = Fate.STRIPPED
                seen = replace(seen, tracklet=replace(seen.tracklet, crops=(), faces=(), reason=STRIPPED))
                size = size_bytes(seen.tracklet)
            self._queue.append(Waiting(seen, fate is Fate.WHOLE, size))
            self._bytes += size
            self._described += fate is Fate.WHOLE
            self._changed.notify_all()
            return fate

    def take(self, most: int, wait_s: float, gather_s: float) -> list[Waiting]:
        """Returns the oldest, none where none came; they are under way until `settle` says otherwise.

        Args:
            most: so many, at most.
            wait_s: for the first one.
            gather_s: for more of them, once there is one; once closed, none is waited for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed, wait_s)
            if self._queue:
                self._changed.wait_for(lambda: len(self._queue) >= most or self._closed, gather_s)
            taken = [self._queue.popleft() for _ in range(min(most, len(self._queue)))]
            self._bytes -= sum(each.size_bytes for each in taken)
            self._described -= sum(each.describe for each in taken)
            self._under_way += len(taken)
            return taken

    def settle(self) -> None:
        """Says that one that was taken is under way no more."""
        with self._changed:
            self._under_way -= 1

    def rest(self, pause_s: float) -> None:
        """Waits, but not for longer than until the end."""
        if pause_s:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, pause_s)

    def close(self) -> None:
        """Takes no more; nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def clear(self) -> int:
        """Drops all that waits; returns how many."""
        with self._changed:
            dropped = len(self._queue)
            self._queue.clear()
            self._bytes = self._described = 0
            return dropped

    def waiting(self) -> tuple[int, int]:
        """Returns how many wait or are under way, and the bytes of those that wait."""
        with self._changed:
            return len(self._queue) + self._under_way, self._bytes


def size_bytes(tracklet: Tracklet) -> int:
    """Returns what a tracklet holds, nearly."""
    return sum(crop.rgb.nbytes for crop in (*tracklet.crops, *tracklet.faces)) + tracklet.path.nbytes
