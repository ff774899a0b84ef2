"""Looks for what was erased in the bytes of files: the proof that nothing of it is left.

A database breaks a picture into pieces that lie anywhere. So what is looked for is many short windows of it, spread
over all of it: a piece that is `step + WINDOW_BYTES - 1` long or longer holds a whole window, wherever it begins.

Of a window only its print is known: 12 bytes of checksums, from which no one gets the 32 bytes back. So prints may be
written down and be looked for after what they are of is gone. A rolling checksum of every place of a file says where a
window may lie; what lies there is then compared by a cryptographic one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

_U8: TypeAlias = NDArray[np.uint8]
_U32: TypeAlias = NDArray[np.uint32]

WINDOW_BYTES: Final = 32
PRINT_BYTES: Final = 12
_ROLLING_BYTES: Final = 4  # of a print: the rest is the cryptographic checksum
_LEAST_DISTINCT: Final = 12  # different bytes in a window that is like no other: a flat or empty stretch has few
_FACTOR: Final = 0x9E3779B1  # the golden ratio: spreads bytes over the checksum
_MOST_TABLE_BITS: Final = 22
_PIECE_BYTES: Final = 64 * 1024  # whose checksums fit into a processor's cache
_BLOCK_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Trace:
    """A window that was found.

    Attributes:
        window: which.
        file: where.
        offset: of its first byte there.
    """

    window: int
    file: Path
    offset: int


class Prints:
    """Prints of windows of pieces of data, to be looked for.

    Attributes:
        skipped: how many windows were left out, as they are like anything else: even stretches, zeros.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._found: list[_U8] = [np.empty((0, PRINT_BYTES), np.uint8)]

    def take(self, data: bytes, step: int) -> int:
        """Takes windows of one piece of data, one every `step` bytes; returns how many are worth looking for."""
        if len(data) < WINDOW_BYTES:
            return 0
        every = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), WINDOW_BYTES)[::step]
        good = every[_distinct(every) >= _LEAST_DISTINCT]
        self.skipped += len(every) - len(good)
        rolling = _rolling(np.ascontiguousarray(good)).astype("<u4").view(np.uint8)
        sums = np.frombuffer(b"".join(_sum_of(window.tobytes()) for window in good), np.uint8)
        self._found.append(np.hstack([rolling, sums.reshape(len(good), PRINT_BYTES - _ROLLING_BYTES)]))
        return len(good)

    def rows(self) -> _U8:
        """Returns them: (N, PRINT_BYTES) uint8."""
        return np.concatenate(self._found)


class Search:
    """Looks for windows.

    Args:
        prints: (N, PRINT_BYTES) uint8, of the windows.
    """

    def __init__(self, prints: _U8) -> None:
        rolling = np.ascontiguousarray(prints[:, :_ROLLING_BYTES]).view("<u4").reshape(-1).astype(np.uint32)
        order = np.argsort(rolling, kind="stable")
        self._rolling, self._window = rolling[order], order.tolist()
        self._sums = [each.tobytes() for each in prints[:, _ROLLING_BYTES:]]
        bits = int(np.clip(np.ceil(np.log2(len(prints) + 1)) + 5, 16, _MOST_TABLE_BITS))
        self._shift = np.uint32(32 - bits)
        self._table, self._second = np.zeros((2, 1 << bits), bool)
        self._table[rolling >> self._shift] = True
        self._second[(rolling * np.uint32(_FACTOR)) >> self._shift] = True

    def in_data(self, data: bytes) -> set[int]:
        """Returns the windows that lie in some data."""
        known: set[int] = set()
        return {window for window, _ in self._matches(data, known)}

    def in_file(self, path: Path) -> tuple[list[Trace], int]:
        """Returns the windows that lie in a file, each where it was met first, and how many bytes that has."""
        found: list[Trace] = []
        known: set[int] = set()
        total, before = 0, b""  # the end of the last block, for windows that lie across
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                data = before + block
                start = total - len(before)
                found += [Trace(window, path, start + offset) for window, offset in self._matches(data, known)]
                total += len(block)
                before = data[1 - WINDOW_BYTES :]
        return found, total

    def _matches(self, data: bytes, known: set[int]) -> Iterator[tuple[int, int]]:
        """Yields windows that are not known yet and where they begin."""
        if not self._sums:
            return
        every = np.frombuffer(data, np.uint8)
        for start in range(0, len(data) - WINDOW_BYTES + 1, _PIECE_BYTES):
            rolling = _rolling(every[start : start + _PIECE_BYTES + WINDOW_BYTES - 1])
            near = np.flatnonzero(self._table[rolling >> self._shift])
            near = near[self._second[(rolling[near] * np.uint32(_FACTOR)) >> self._shift]]
            first = np.searchsorted(self._rolling, rolling[near], "left").tolist()
            last = np.searchsorted(self._rolling, rolling[near], "right").tolist()
            for place, rows in zip(near.tolist(), map(range, first, last), strict=True):
                if not rows:
                    continue
                new = [window for row in rows if (window := self._window[row]) not in known]
                at = start + place
                there = _sum_of(data[at : at + WINDOW_BYTES]) if new else b""
                for window in new:
                    if self._sums[window] == there:
                        known.add(window)
                        yield window, at


def _distinct(rows: _U8) -> NDArray[np.int64]:
    """Returns how many different bytes each row has."""
    steps = np.diff(np.sort(rows, axis=1), axis=1)
    return np.asarray(1 + np.count_nonzero(steps, axis=1), np.int64)


def _rolling(data: _U8) -> _U32:
    """Returns the checksum of the window that begins at each place, along the last axis."""
    sums: _U32 = data.astype(np.uint32)
    length = 1
    while length < WINDOW_BYTES:  # of two neighbours each is made one of twice the length
        longer = sums[..., :-length] * np.uint32(pow(_FACTOR, length, 1 << 32))
        longer += sums[..., length:]
        sums, length = longer, 2 * length
    return sums


def _sum_of(window: bytes) -> bytes:
    return hashlib.blake2b(window, digest_size=PRINT_BYTES - _ROLLING_BYTES).digest()
