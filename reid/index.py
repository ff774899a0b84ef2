"""Index: which of many vectors are most similar to a query. Its nouns, and the seam that every kind of index fits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.detectors.detections import I32
from watchline.reid.embeddings import EmbeddingModel, Embeddings
from watchline.streams.errors import WatchlineError
from watchline.trackers.tracks import I64

F64: TypeAlias = NDArray[np.float64]

_UNIT_WITHIN = 1e-3  # float16 rounds a length by half of that


class IndexFullError(WatchlineError):
    """An index holds as much as it may; nothing of what was to be added is in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Vectors for an index; row i of every array is one.

    Attributes:
        model: what made them.
        key: (N,) int64, not negative, each another one.
        vectors: (N, D) float32, each of length 1.
        camera: (N,) int32, index in `cameras`.
        cameras: names.
        started_at: (N,) float64, UTC seconds: when it was first seen.
        ended_at: (N,) float64: when last.

    Raises:
        ValueError: a wrong dtype or shape, a key that is negative or there twice, a vector that is not of length 1,
            a camera without a name.
    """

    model: EmbeddingModel
    key: I64
    vectors: F32
    camera: I32
    cameras: tuple[str, ...]
    started_at: F64
    ended_at: F64

    def __post_init__(self) -> None:
        count = len(self.key)
        expect("key", self.key, np.int64, (count,))
        expect("vectors", self.vectors, np.float32, (count, self.model.dimension))
        expect("camera", self.camera, np.int32, (count,))
        expect("started_at", self.started_at, np.float64, (count,))
        expect("ended_at", self.ended_at, np.float64, (count,))
        if not count:
            return
        if self.key.min() < 0:
            raise ValueError(f"key {self.key.min()}: want 0 or more")
        if len(np.unique(self.key)) < count:
            raise ValueError("key: one of them is there twice")
        if self.camera.min() < 0 or self.camera.max() >= len(self.cameras):
            raise ValueError(f"camera: want indices of the {len(self.cameras)} names")
        bad = ~of_unit_length(self.vectors)
        if bad.any():
            raise ValueError(f"vector of key {self.key[bad.argmax()]}: want finite numbers, and the length 1")

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """What is most similar to each of Q queries.

    Attributes:
        key: (Q, k) int64, most similar first, of equals the smaller key first; -1 where there are no more.
        similarity: (Q, k) float32, cosine; -infinity where there are no more.
        searched: vectors that were looked at for every query, those that a filter left out among them.
        held: vectors that the index held.
    """

    key: I64
    similarity: F32
    searched: int
    held: int

    @property
    def complete(self) -> bool:
        """Whether every vector was looked at; False where the time that was given ran out."""
        return self.searched == self.held

    @property
    def share(self) -> float:
        """How much of the index was looked at, in [0, 1]: the newest part of it."""
        return self.searched / self.held if self.held else 1.0


@dataclass(frozen=True, slots=True)
class IndexCounts:
    """What an index holds, and did since it was made.

    Attributes:
        vectors: that it holds now.
        most: that it may hold.
        bytes: that it takes, or will once its last block is filled.
        added: vectors.
        removed: vectors.
        refused: vectors, for want of room.
        searches: calls.
        incomplete: searches that ran out of time.
    """

    vectors: int
    most: int
    bytes: int
    added: int
    removed: int
    refused: int
    searches: int
    incomplete: int


class Index(Protocol):
    """Vectors of one model, in memory. Safe to use from several threads: each query sees all of a change or none.

    A call that changes waits for the searches that run; once it returns, no search returns what it removed.
    """

    @property
    def model(self) -> EmbeddingModel:
        """What made the vectors."""

    @property
    def counts(self) -> IndexCounts:
        """What it holds and did."""

    def __len__(self) -> int: ...

    def add(self, entries: Entries) -> None:
        """Adds all or none.

        Raises:
            IndexFullError: there is no room for all of them.
            UsageError: they are of another model.
            ValueError: one of the keys is in it.
        """

    def remove(self, keys: I64) -> int:
        """Removes vectors, with zeros written where they lay; returns how many. Keys that are not in it do nothing."""

    def search(
        self,
        queries: Embeddings,
        k: int,
        cameras: Collection[str] | None = None,
        since: float | None = None,
        until: float | None = None,
        budget_s: float | None = None,
    ) -> Hits:
        """Returns the k most similar vectors to each query among those that all filters let through.

        Up to 256 queries see one state of the index; of more, the later ones may see a later state.

        Args:
            queries: Q vectors.
            k: from 1 to 100,000; it may be more than there are.
            cameras: names; None for any, and none at all lets nothing through.
            since: of what ended at or after this, UTC seconds.
            until: of what started before this.
            budget_s: time that it may take, seconds; looked at every few thousand vectors. The newest are searched
                first, some of them always; `Hits.complete` says whether it was enough for all.

        Raises:
            UsageError: the queries are of another model.
            ValueError: k is out of range.
        """


def of_unit_length(vectors: F32) -> NDArray[np.bool_]:
    """Returns which of (N, D) vectors are of length 1, but for roundings; (N,) bool."""
    return np.asarray(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) <= _UNIT_WITHIN)
