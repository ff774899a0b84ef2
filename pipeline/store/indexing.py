"""StoreIndex: an index in memory that is kept in step with the sightings on disk."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from watchline.pipeline.store.failures import StaleMark
from watchline.pipeline.store.seam import VectorBatch
from watchline.reid.embeddings import EmbeddingModel, Embeddings
from watchline.reid.index import Entries, Hits, Index, of_unit_length
from watchline.reid.top_k import NONE_KEY, U8
from watchline.streams.errors import OutputError
from watchline.trackers.tracks import I64

_ID_BYTES: Final = 16
_LEAST_ROOM: Final = 1024


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a look at the store changed.

    Attributes:
        added: vectors.
        removed: vectors.
    """

    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class StoreIndexStatus:
    """Where an index stands against its store.

    Attributes:
        held: vectors that can be found.
        behind: vectors in the store that cannot be found yet: more than 0 after `refresh` means that it is full.
        unusable: vectors in the store that are damaged: not of length 1.
    """

    held: int
    behind: int
    unusable: int


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The sightings most similar to each of Q queries.

    Attributes:
        hits: how similar, and how much of the index was searched.
        sighting_ids: (Q, k), "" where there are no more.
    """

    hits: Hits
    sighting_ids: tuple[tuple[str, ...], ...]


class VectorStore(Protocol):
    """What of a `SightingStore` an index needs; see there."""

    def models(self) -> list[tuple[EmbeddingModel, int]]:
        """Returns the models whose vectors are kept, and how many of each."""

    def vectors(self, sha256: str, after: int = -1, most: int = 10_000) -> Iterator[VectorBatch]:
        """Yields the vectors of one model whose key is greater than `after`, in order of key."""

    def removed(self, after: int = -1) -> tuple[I64, int]:
        """Returns the keys of vectors that were erased since the mark `after`, and the mark to ask with next."""


class StoreIndex:
    """The vectors that a store keeps of one model, in an index: rebuilt by the first `refresh`, then kept in step.

    Safe to use from several threads. Searches go on while it is refreshed.

    Args:
        store: the truth.
        index: an empty one, of the model whose vectors it is to hold.
        batch: vectors to read at once.
    """

    def __init__(self, store: VectorStore, index: Index, batch: int = 10_000) -> None:
        self._store, self._index, self._batch = store, index, batch
        self._refreshing = threading.Lock()
        self._key = self._mark = -1
        self._unusable: set[int] = set()
        self._ids = _Ids()

    @property
    def index(self) -> Index:
        """Where the vectors are."""
        return self._index

    def refresh(self) -> Refreshed:
        """Takes over what was stored and erased since the last time; one that waits for another does little.

        Erased ones go first, and go even where the index is full.

        Raises:
            OutputError: the store cannot be read, or what it keeps does not fit its model.
            IndexFullError: some of what is stored is not in the index, for want of room.
        """
        with self._refreshing:
            removed = self._remove()
            added = 0
            for batch in self._store.vectors(self._index.model.sha256, self._key, self._batch):
                added += self._add(batch)
            return Refreshed(added, removed)

    def search(
        self,
        queries: Embeddings,
        k: int,
        cameras: Collection[str] | None = None,
        since: float | None = None,
        until: float | None = None,
        budget_s: float | None = None,
    ) -> Nearest:
        """Returns the most similar sightings; the arguments, and what it raises, are those of `reid.index.Index`."""
        hits = self._index.search(queries, k, cameras, since, until, budget_s)
        ids, known = self._ids.of(hits.key)
        if (known != (hits.key >= 0)).any():  # erased in between
            hits, ids = _without(hits, ids, ~known)
        return Nearest(hits, tuple(map(tuple, ids.tolist())))

    def status(self) -> StoreIndexStatus:
        """Returns where it stands; asks the store.

        Raises:
            OutputError: the store cannot be read.
        """
        sha256 = self._index.model.sha256
        stored = sum(count for model, count in self._store.models() if model.sha256 == sha256)
        held, unusable = len(self._index), len(self._unusable)
        return StoreIndexStatus(held, max(0, stored - held - unusable), unusable)

    def _remove(self) -> int:
        try:
            keys, mark = self._store.removed(self._mark)
        except StaleMark:
            keys, mark = self._missing()
        removed = 0
        if self._key >= 0 and len(keys):  # the first time nothing is there that could go
            removed = self._index.remove(keys)
            self._ids.remove(keys)
            self._unusable.difference_update(keys.tolist())
        self._mark = mark
        return removed

    def _missing(self) -> tuple[I64, int]:
        """Returns the keys that are here and not in the store any more, by reading all of it; and the mark for it."""
        _, mark = self._store.removed()  # first: what is erased while this reads is told the next time
        stored = [batch.key for batch in self._store.vectors(self._index.model.sha256, most=self._batch)]
        mine = np.union1d(self._ids.keys, np.array(sorted(self._unusable), np.int64))
        return np.setdiff1d(mine, np.concatenate([np.empty(0, np.int64), *stored])), mark

    def _add(self, batch: VectorBatch) -> int:
        """Adds a batch; a damaged vector is left out and counted, for one must not keep the others from being found."""
        model = self._index.model
        if batch.vectors.shape != (len(batch.key), model.dimension):
            raise OutputError(
                f"the store's vectors of {model.name} have {batch.vectors.shape[-1]} numbers, and its model gives "
                f"{model.dimension}: the store is damaged; use its backup"
            )
        vectors = batch.vectors.astype(np.float32)
        good = of_unit_length(vectors)
        ids = np.frombuffer(bytes.fromhex("".join(batch.sighting_ids)), np.uint8).reshape(-1, _ID_BYTES)
        when = (batch.started_at[good], batch.ended_at[good])
        entries = Entries(model, batch.key[good], vectors[good], batch.camera[good], batch.cameras, *when)
        self._ids.add(entries.key, ids[good])  # first: what a search finds must have one
        try:
            self._index.add(entries)
        except BaseException:
            self._ids.remove(entries.key)
            raise
        self._unusable.update(batch.key[~good].tolist())
        self._key = int(batch.key.max(initial=self._key))
        return len(entries)


class _Ids:
    """Which sighting each vector is of, 24 bytes each: keys in rising order, and ids. Readers need no lock.

    What a reader takes is a tuple that is replaced whole, of arrays whose used rows never change.
    """

    def __init__(self) -> None:
        self._now: tuple[int, I64, U8] = (0, np.zeros(0, np.int64), np.zeros((0, _ID_BYTES), np.uint8))

    def add(self, keys: I64, ids: U8) -> None:
        """Adds ids (N, 16) of keys that are greater than all before."""
        count, old_keys, old_ids = self._now
        end = count + len(keys)
        if end > len(old_keys):
            room = max(2 * len(old_keys), end, _LEAST_ROOM)
            old_keys, old_ids = _longer(old_keys[:count], room), _longer(old_ids[:count], room)
        old_keys[count:end], old_ids[count:end] = keys, ids
        self._now = (end, old_keys, old_ids)

    def remove(self, keys: I64) -> None:
        """Forgets keys."""
        count, mine, ids = self._now
        kept = ~np.isin(mine[:count], keys)
        self._now = (int(kept.sum()), mine[:count][kept], ids[:count][kept])

    @property
    def keys(self) -> I64:
        """All of them, rising."""
        count, mine, _ = self._now
        return mine[:count]

    def of(self, keys: I64) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
        """Returns the ids of keys, "" for what is not known; and which are known. Both of the shape of `keys`."""
        count, mine, ids = self._now
        if not count:
            return np.full(keys.shape, "", "U32"), np.zeros(keys.shape, np.bool_)
        at = np.searchsorted(mine[:count], keys).clip(max=count - 1)
        known = mine[at] == keys
        told = np.array([row.tobytes().hex() for row in ids[at.ravel()]], "U32").reshape(keys.shape)
        return np.where(known, told, ""), known


def _longer(array: NDArray[Any], room: int) -> NDArray[Any]:
    longer = np.zeros((room, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def _without(hits: Hits, ids: NDArray[np.str_], gone: NDArray[np.bool_]) -> tuple[Hits, NDArray[np.str_]]:
    """Returns hits and ids without some, those that are left in their order."""
    key, similarity = np.where(gone, NONE_KEY, hits.key), np.where(gone, np.float32(-np.inf), hits.similarity)
    order = np.argsort(gone, axis=1, kind="stable")
    key, similarity, ids = (np.take_along_axis(array, order, axis=1) for array in (key, similarity, ids))
    return Hits(key, similarity, hits.searched, hits.held), ids
