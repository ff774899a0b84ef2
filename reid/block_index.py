"""BlockIndex: what every index has in common: blocks of rows, filters, a bound, a lock, and removal that leaves zeros.

Blocks are of one size and never move, so that growing copies nothing, needs no memory beside, and leaves no second copy
behind of what is to be erased later. Rows of a block lie without gaps: the last takes the place of one that goes.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32
from watchline.reid.embeddings import EmbeddingModel, Embeddings
from watchline.reid.index import F64, Entries, Hits, IndexCounts, IndexFullError
from watchline.reid.shared_lock import SharedLock
from watchline.reid.top_k import ALL, QUERIES_AT_ONCE, Bool, none_yet
from watchline.streams.errors import UsageError
from watchline.trackers.tracks import I64

MOST_K: Final = 100_000
BLOCK_ROWS: Final = 16_384
_MOST_CAMERAS: Final = 65_536
QUERIES_A_HOLD: Final = 256  # after these, who waits to change something gets a turn


class Block(ABC):
    """Rows of an index: one array for each thing known of a vector, of which the first `count` rows are in use.

    Args:
        rows: how many there is room for.
        vectors: arrays of as many rows that hold the vectors, in whatever form.
    """

    def __init__(self, rows: int, *vectors: NDArray[Any]) -> None:
        self.rows, self.count = rows, 0
        self.key: I64 = np.zeros(rows, np.int64)
        self.camera: I32 = np.zeros(rows, np.int32)
        self.started_at: F64 = np.zeros(rows)
        self.ended_at: F64 = np.zeros(rows)
        self.columns: tuple[NDArray[Any], ...] = (self.key, self.camera, self.started_at, self.ended_at, *vectors)

    @property
    def free(self) -> int:
        """Rows that are not in use."""
        return self.rows - self.count

    def append(self, columns: tuple[NDArray[Any], ...], first: int, end: int) -> None:
        """Takes over rows `first` to `end` of other columns."""
        for mine, theirs in zip(self.columns, columns, strict=True):
            mine[self.count : self.count + end - first] = theirs[first:end]
        self.count += end - first

    def remove(self, at: NDArray[np.intp]) -> None:
        """Removes rows; `at` is in rising order."""
        for row in at[::-1].tolist():
            self.count -= 1
            for column in self.columns:
                column[row] = column[self.count]
                column[self.count] = 0

    def clear(self) -> None:
        """Writes zeros everywhere."""
        for column in self.columns:
            column[: self.count] = 0
        self.count = 0

    def holding(self, keys: I64) -> NDArray[np.intp]:
        """Returns the rows that have one of these keys, which are sorted."""
        mine = self.key[: self.count]
        if not self.count or not len(keys) or mine.max() < keys[0] or mine.min() > keys[-1]:
            return np.empty(0, np.intp)
        at = np.searchsorted(keys, mine).clip(max=len(keys) - 1)
        return np.flatnonzero(keys[at] == mine)

    def wanted(self, cameras: I32 | None, since: float | None, until: float | None) -> Bool | None:
        """Returns the rows that the filters let through, (count,) or (0,) for all of them; None for none."""
        wanted = np.ones(self.count, np.bool_)
        if cameras is not None:
            wanted &= np.isin(self.camera[: self.count], cameras)
        if since is not None:
            wanted &= self.ended_at[: self.count] >= since
        if until is not None:
            wanted &= self.started_at[: self.count] < until
        if not wanted.any():
            return None
        return ALL if wanted.all() else wanted

    @abstractmethod
    def improve(self, queries: F32, wanted: Bool, similarity: F32, hit_key: I64) -> None:
        """Replaces hits (Q, k) by better ones among the rows; see `reid.top_k.top_k_numpy`."""


class BlockIndex(ABC):
    """An index made of blocks; see `reid.index.Index`.

    Args:
        model: what makes the vectors.
        most: vectors that it may hold.
        block_rows: vectors in a block.
    """

    def __init__(self, model: EmbeddingModel, most: int = 2_000_000, block_rows: int = BLOCK_ROWS) -> None:
        self._model, self._most, self._block_rows = model, most, block_rows
        self._lock, self._counting = SharedLock(), threading.Lock()
        self._blocks: list[Block] = []
        self._cameras: dict[str, int] = {}
        self._held = self._added = self._removed = self._refused = self._searches = self._incomplete = 0

    @abstractmethod
    def _new_block(self, rows: int) -> Block:
        """Returns an empty block."""

    @abstractmethod
    def _coded(self, unit: F32) -> tuple[NDArray[Any], ...]:
        """Returns (N, D) vectors of length 1 as the arrays that a block holds them in."""

    @abstractmethod
    def _asked(self, unit: F32) -> F32:
        """Returns (Q, D) queries of length 1 as a block wants them."""

    @property
    def model(self) -> EmbeddingModel:
        """What made the vectors."""
        return self._model

    @property
    def counts(self) -> IndexCounts:
        """What it holds and did."""
        with self._lock.reading(), self._counting:
            size = sum(column.nbytes for block in self._blocks for column in block.columns)
            done = (self._added, self._removed, self._refused, self._searches, self._incomplete)
            return IndexCounts(self._held, self._most, size, *done)

    def __len__(self) -> int:
        return self._held

    def add(self, entries: Entries) -> None:
        """Adds all or none; see `reid.index.Index`."""
        self._check(entries.model)
        if not len(entries):
            return
        coded = self._coded(_unit(entries.vectors))  # before the lock: who searches need not wait for that
        try:
            with self._lock.writing():
                self._check_room(len(entries))
                self._check_keys(entries.key)
                camera = self._camera_codes(entries)
                self._append((entries.key, camera, entries.started_at, entries.ended_at, *coded))
        finally:
            for array in coded:
                array.fill(0)

    def remove(self, keys: I64) -> int:
        """Removes vectors; see `reid.index.Index`."""
        keys, removed = np.unique(keys), 0
        with self._lock.writing():
            for block in self._blocks:
                at = block.holding(keys)
                block.remove(at)
                removed += len(at)
            if removed:
                self._close_ranks()
            self._held -= removed
            self._removed += removed
        return removed

    def search(
        self,
        queries: Embeddings,
        k: int,
        cameras: Collection[str] | None = None,
        since: float | None = None,
        until: float | None = None,
        budget_s: float | None = None,
    ) -> Hits:
        """Returns the k most similar vectors to each query; see `reid.index.Index`."""
        end_s = np.inf if budget_s is None else time.monotonic() + budget_s
        self._check(queries.model)
        if not 1 <= k <= MOST_K:
            raise ValueError(f"k {k}: want 1 to {MOST_K:,}")
        asked = self._asked(_unit(queries.vectors))
        parts = [
            self._search(asked[first : first + QUERIES_A_HOLD], k, cameras, since, until, end_s)
            for first in range(0, max(1, len(asked)), QUERIES_A_HOLD)
        ]
        hits = _joined(parts, k)
        with self._counting:
            self._searches += 1
            self._incomplete += not hits.complete
        return hits

    def _search(
        self,
        asked: F32,
        k: int,
        cameras: Collection[str] | None,
        since: float | None,
        until: float | None,
        end_s: float,
    ) -> Hits:
        """Returns hits of no more than k columns, of one state of the index."""
        with self._lock.reading():
            held, searched = self._held, 0
            similarity, key = none_yet(len(asked), max(1, min(k, held)))
            codes = None if cameras is None else self._known(cameras)
            for block in reversed(self._blocks):
                if searched and time.monotonic() >= end_s:
                    break
                searched += block.count
                wanted = block.wanted(codes, since, until)
                if wanted is None:
                    continue
                for first in range(0, len(asked), QUERIES_AT_ONCE):
                    part = slice(first, first + QUERIES_AT_ONCE)
                    block.improve(asked[part], wanted, similarity[part], key[part])
        return Hits(key, similarity, searched, held)

    def _check(self, model: EmbeddingModel) -> None:
        mine = self._model
        if (model.sha256, model.kind, model.dimension) != (mine.sha256, mine.kind, mine.dimension):
            raise UsageError(
                f"vectors of {_told(model)} cannot be compared with those of {_told(mine)}: describe both by one model"
            )

    def _check_room(self, more: int) -> None:
        if self._held + more > self._most:
            self._refused += more
            raise IndexFullError(
                f"index of {self._model.name}: {more:,} more vectors would make {self._held + more:,}, and it may hold "
                f"{self._most:,}; raise its limit, or keep sightings for a shorter time"
            )

    def _check_keys(self, keys: I64) -> None:
        keys = np.sort(keys)
        for block in self._blocks:
            at = block.holding(keys)
            if len(at):
                raise ValueError(f"key {block.key[at[0]]} is in the index already")

    def _camera_codes(self, entries: Entries) -> I32:
        """Returns the index's own number of each entry's camera."""
        new = {entries.cameras[index] for index in np.unique(entries.camera).tolist()} - self._cameras.keys()
        if len(self._cameras) + len(new) > _MOST_CAMERAS:
            self._refused += len(entries)
            raise IndexFullError(f"index of {self._model.name}: more than {_MOST_CAMERAS:,} names of cameras")
        for name in sorted(new):
            self._cameras[name] = len(self._cameras)
        return np.array([self._cameras.get(name, -1) for name in entries.cameras], np.int32)[entries.camera]

    def _known(self, cameras: Collection[str]) -> I32:
        return np.array([self._cameras[name] for name in set(cameras) if name in self._cameras], np.int32)

    def _append(self, columns: tuple[NDArray[Any], ...]) -> None:
        """Puts rows behind the others; there is room for all before the first is written."""
        count = len(columns[0])
        free = self._blocks[-1].free if self._blocks else 0
        try:
            new = [self._new_block(self._block_rows) for _ in range(-(-max(0, count - free) // self._block_rows))]
        except MemoryError as error:
            self._refused += count
            raise IndexFullError(
                f"index of {self._model.name}: no memory for {count:,} more vectors beside the {self._held:,} it holds"
            ) from error
        targets, first = [*self._blocks[-1:], *new], 0
        self._blocks += new
        for block in targets:
            end = min(count, first + block.free)
            block.append(columns, first, end)
            first = end
        self._held += count
        self._added += count

    def _close_ranks(self) -> None:
        """Makes one block of two neighbours that fit into one: so all are half full on average, and none is empty."""
        kept: list[Block] = []
        for block in self._blocks:
            if kept and block.count <= kept[-1].free:
                kept[-1].append(block.columns, 0, block.count)
                block.clear()
            elif block.count:
                kept.append(block)
        self._blocks = kept


def _told(model: EmbeddingModel) -> str:
    return f"{model.name} ({model.kind}, {model.dimension} numbers, sha256 {model.sha256[:12]})"


def _unit(vectors: F32) -> F32:
    """Returns (N, D) vectors scaled to the length 1 more exactly than they are: float16 rounds lengths, too."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    return np.asarray(vectors / lengths[:, None], np.float32)


def _joined(parts: list[Hits], k: int) -> Hits:
    """Returns the hits (Q, k) of all queries, with what is missing said to be none; searched is what each part was."""
    similarity, key = none_yet(sum(len(part.key) for part in parts), k)
    row = 0
    for part in parts:
        here = slice(row, row + len(part.key)), slice(part.key.shape[1])
        similarity[here], key[here] = part.similarity, part.key
        row += len(part.key)
    least = min(parts, key=lambda part: part.share)
    return Hits(key, similarity, least.searched, least.held)
