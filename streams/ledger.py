"""What became of every frame of a camera: received = delivered + dropped by reason + in flight, exactly."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

I64: TypeAlias = NDArray[np.int64]


class Drop(StrEnum):
    """Why a frame was not handed on."""

    RATE = "rate"  # more came than are analysed
    REPLACED = "replaced"  # a fresher one came before this one was taken
    FROZEN = "frozen"  # the same picture as those before it, for too long
    DAMAGED = "damaged"  # the decoder marked it so, datagrams of it were lost, or no pixels could be made of it
    NO_ROOM = "no_room"  # all places for pictures were taken
    LOST = "lost"  # it was in a process that ended
    STOPPED = "stopped"  # it waited when its camera was removed


class Count(IntEnum):
    """Columns of a ledger; each is written by one thread alone, or under one lock."""

    RECEIVED = 0  # pictures decoded
    DELIVERED = 1  # pictures taken by whoever analyses
    DROPPED_RATE = 2
    DROPPED_REPLACED = 3
    DROPPED_FROZEN = 4
    DROPPED_DAMAGED = 5
    DROPPED_NO_ROOM = 6
    DROPPED_LOST = 7
    DROPPED_STOPPED = 8
    UNDECODABLE = 9  # packets of which no picture could be made
    HEALED_MISSING = 10  # see live_clock.Healed
    HEALED_BACKWARDS = 11
    HEALED_JUMPED = 12
    CLOCK_DISTRUSTED = 13
    CONNECTIONS = 14  # that gave a picture
    FAILURES = 15  # connections and tries that failed


_COLUMN = MappingProxyType({drop: Count[f"DROPPED_{drop.name}"] for drop in Drop})


class Ledger:
    """The counts of one camera since it was added; they outlive connections and processes.

    >>> ledger = Ledger()
    >>> ledger.add(Count.RECEIVED), ledger.drop(Drop.RATE), ledger.in_flight
    (None, None, 0)
    """

    def __init__(self, cells: I64 | None = None) -> None:
        """Counts in `cells` (len(Count),) int64, which may be memory shared with another process."""
        cells = np.zeros(len(Count), np.int64) if cells is None else cells
        if cells.shape != (len(Count),) or cells.dtype != np.int64:
            raise ValueError(f"cells: want int64 ({len(Count)},), got {cells.dtype} {cells.shape}")
        self._cells = cells.data  # half the cost of NumPy's own numbers

    def add(self, count: Count, n: int = 1) -> None:
        """Adds `n` to one count."""
        self._cells[count] += n

    def set(self, count: Count, n: int) -> None:
        """Sets one count that is kept elsewhere."""
        self._cells[count] = n

    def drop(self, reason: Drop, n: int = 1) -> None:
        """Counts `n` frames as dropped."""
        self._cells[_COLUMN[reason]] += n

    def __getitem__(self, count: Count) -> int:
        return self._cells[count]

    def dropped(self) -> dict[Drop, int]:
        """Returns how many frames were dropped by each reason, zeros included."""
        return {drop: self._cells[column] for drop, column in _COLUMN.items()}

    @property
    def in_flight(self) -> int:
        """Frames received that are neither delivered nor dropped yet; never negative while others count on."""
        settled = self[Count.DELIVERED] + sum(self.dropped().values())  # read first: what is settled was received
        return self[Count.RECEIVED] - settled
