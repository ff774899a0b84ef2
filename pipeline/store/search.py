"""Looks for what was erased in the bytes of files: the proof that nothing of it is left.

A database breaks a picture into pieces that lie anywhere. So what is looked for is many short windows of it, spread
over all of it: a piece that is `step + WINDOW_BYTES - 1` long or longer holds a whole window, wherever it begins.

A window is found by words of eight bytes. The file is read at every eighth byte only; of each window eight words are
known, one for each way that it may lie across those bytes. What looks like one of the words is compared in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

_U64: TypeAlias = NDArray[np.uint64]

WINDOW_BYTES: Final = 32
_WORD: Final = 8
_LEAST_DISTINCT: Final = 12  # different bytes in a window that is like no other: a flat or empty stretch has few
_LEAST_IN_WORD: Final = 3
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio: spreads words over the table
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


class Windows:
    """Windows of pieces of data, to be looked for.

    Attributes:
        skipped: how many were left out, as they are like anything else: even stretches, zeros.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self._found: list[NDArray[np.uint8]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, data: bytes, step: int) -> int:
        """Takes windows of one piece of data, one every `step` bytes; returns how many are worth looking for."""
        if len(data) < WINDOW_BYTES:
            return 0
        every = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), WINDOW_BYTES)[::step]
        good = every[_distinct(every) >= _LEAST_DISTINCT]
        self.skipped += len(every) - len(good)
        self._found.append(good)
        self._count += len(good)
        return len(good)

    def rows(self) -> NDArray[np.uint8]:
        """Returns them: (N, WINDOW_BYTES) uint8."""
        return np.concatenate([np.empty((0, WINDOW_BYTES), np.uint8), *self._found])


class Search:
    """Looks for windows.

    Attributes:
        windows: (N, WINDOW_BYTES) uint8.
    """

    def __init__(self, windows: NDArray[np.uint8]) -> None:
        self.windows = np.ascontiguousarray(windows)
        words, window, at = _words(windows)
        order = np.argsort(words, kind="stable")
        self._words, self._window, self._at = words[order], window[order], at[order]
        bits = int(np.clip(np.ceil(np.log2(len(words) + 1)) + 5, 16, 27))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[(words * _MIX) >> self._shift] = True

    def in_data(self, data: bytes) -> set[int]:
        """Returns the windows that lie in some data."""
        known: set[int] = set()
        return {window for window, _ in self._matches(data, 0, len(data), known)}

    def in_file(self, path: Path) -> tuple[list[Trace], int]:
        """Returns the windows that lie in a file, each where it was met first, and how many bytes that has."""
        found: list[Trace] = []
        known: set[int] = set()
        margin = WINDOW_BYTES  # on both sides of a block, for windows that lie across its ends
        with path.open("rb") as file:
            begun, before = 0, b""
            block = file.read(_BLOCK_BYTES)
            while block:
                after = file.read(_BLOCK_BYTES)
                data = before + block + after[:margin]
                for window, offset in self._matches(data, len(before), len(before) + len(block), known):
                    found.append(Trace(window, path, begun - len(before) + offset))
                begun += len(block)
                before, block = block[-margin:], after
        return found, begun

    def _matches(self, data: bytes, start: int, end: int, known: set[int]) -> Iterator[tuple[int, int]]:
        """Yields windows that are not known yet and where they begin, for words between `start` and `end`."""
        if not len(self._words):
            return
        words = np.frombuffer(data, np.uint64, (end - start) // _WORD, start)
        near = np.flatnonzero(self._table[(words * _MIX) >> self._shift])
        nearest = np.minimum(np.searchsorted(self._words, words[near]), len(self._words) - 1)
        near = near[self._words[nearest] == words[near]]
        first = np.searchsorted(self._words, words[near], "left")
        last = np.searchsorted(self._words, words[near], "right")
        for place, rows in zip(near.tolist(), map(range, first.tolist(), last.tolist()), strict=True):
            for row in rows:
                window = int(self._window[row])
                if window in known:
                    continue
                offset = start + place * _WORD - int(self._at[row])
                if offset >= 0 and data[offset : offset + WINDOW_BYTES] == self.windows[window].tobytes():
                    known.add(window)
                    yield window, offset


def _distinct(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Returns how many different bytes each row has."""
    if not len(rows):
        return np.empty(0, np.int64)
    steps = np.diff(np.sort(rows, axis=1), axis=1)
    return np.asarray(1 + np.count_nonzero(steps, axis=1), np.int64)


def _words(windows: NDArray[np.uint8]) -> tuple[_U64, NDArray[np.int64], NDArray[np.int64]]:
    """Returns words of each window, whose it is, and where in it: the one of most different bytes of each alignment."""
    words, rows, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for lies in range(_WORD):
        offsets = range(lies, WINDOW_BYTES - _WORD + 1, _WORD)
        ranked = np.stack([_distinct(windows[:, at : at + _WORD]) for at in offsets], axis=1)
        best = np.argmax(ranked, axis=1)
        rich = np.flatnonzero(ranked.max(axis=1, initial=0) >= _LEAST_IN_WORD)
        place = np.asarray(offsets, np.int64)[best[rich]]
        picked = np.take_along_axis(windows[rich], place[:, None] + np.arange(_WORD), axis=1)
        words.append(np.ascontiguousarray(picked).view(np.uint64).reshape(-1))
        rows.append(rich)
        places.append(place)
    return np.concatenate(words), np.concatenate(rows), np.concatenate(places)
