"""The seam between sightings and the database that keeps them: what a backend must do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from watchline.pipeline.store.sighting import Provenance, Sighting
from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.trackers.tracks import I64


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sightings; all that is said must hold, and nothing said means all.

    Attributes:
        cameras: of one of these; empty for any.
        since: that ended at or after this, UTC seconds.
        until: that started before this, UTC seconds.
        ids: of these sighting ids.
        track: of this camera and track id.
        source: of this file, as `Provenance.source` has it.
    """

    cameras: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    ids: tuple[str, ...] = ()
    track: tuple[str, int] | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A track as its stored parts tell it together, without pictures, vectors and path; fields as in `Sighting`.

    Attributes:
        ids: of its parts, in order.
        crops: how many pictures are still kept.
        vectors: what describes it.
    """

    ids: tuple[str, ...]
    track_key: str
    camera: str
    track_id: int
    label: str
    start_pts_s: float
    end_pts_s: float
    started_at: float
    ended_at: float
    clock: str
    frames: int
    best_score: float
    quality: float
    reason: str
    crops: int
    vectors: tuple[Kind, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True, eq=False)
class VectorBatch:
    """Stored vectors of one model, for an index; row i of every array is one.

    Attributes:
        key: (N,) int64, the vector's own for good, rising.
        vectors: (N, D) float16.
        camera: (N,) int32, index in `cameras`.
        started_at: (N,) float64, UTC seconds.
        ended_at: (N,) float64.
        cameras: names.
        sighting_ids: of each.
    """

    key: I64
    vectors: NDArray[np.float16]
    camera: NDArray[np.int32]
    started_at: NDArray[np.float64]
    ended_at: NDArray[np.float64]
    cameras: tuple[str, ...]
    sighting_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased.

    Attributes:
        sightings: ids.
        crops: pictures, without those that were erased before.
        vectors: how many.
        bytes_searched: of the store's files, in which nothing of it was found; 0 where no search was made: by the
            retention, or where nothing was erased.
        files: that were searched.
        sha256: of each sighting's pictures and vectors, one after the other: what was looked for, by a name only.
        fragment_bytes: any piece of a picture or a vector that is as long as this would have been found.
        shared: sightings that are kept, and have a picture or vector that an erased one had too.
        backups: copies of the store that held some of it, and were removed.
        in_log: it may still be in the store's log, as another process used the store.
    """

    sightings: tuple[str, ...]
    crops: int
    vectors: int
    bytes_searched: int
    files: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    fragment_bytes: int = 0
    shared: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()
    in_log: bool = False


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An erasure that was broken off, by a kill or an error.

    Attributes:
        at: when it was begun, UTC seconds.
        sightings: how many it is of.
        note: what it was begun with.
    """

    at: float
    sightings: int
    note: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Keep:
    """How long each kind of data is kept, seconds since a sighting ended; None for ever.

    Attributes:
        crops_s: pictures.
        vectors_s: embeddings.
        paths_s: boxes over time.
        sightings_s: the sighting itself, and all that is left of it.
    """

    crops_s: float | None = None
    vectors_s: float | None = None
    paths_s: float | None = None
    sightings_s: float | None = None


class SightingStore(Protocol):
    """Keeps sightings. Safe to call from several threads, and from several processes on one machine.

    Every method raises `streams.errors.OutputError` where the database cannot be read or written, with the file's name.
    """

    def add(self, sightings: Sequence[Sighting]) -> None:
        """Keeps all or none; what is kept when this returns survives a kill and a loss of power.

        Raises:
            StoreFull: there is no room; none was kept.
        """

    def get(self, sighting_id: str) -> Sighting:
        """Returns one sighting; raises UsageError where there is none."""

    def find(self, selection: Selection, most: int, before: tuple[float, str] | None = None) -> list[Summary]:
        """Returns at most `most` tracks, newest first by (started_at, track_key): those that come after `before`."""

    def count(self, selection: Selection) -> int:
        """Returns how many sightings (parts) there are."""

    def models(self) -> list[tuple[EmbeddingModel, int]]:
        """Returns the models whose vectors are kept, and how many of each."""

    def vectors(self, sha256: str, after: int = -1, most: int = 10_000) -> Iterator[VectorBatch]:
        """Yields the vectors of one model whose key is greater than `after`, in order of key."""

    def removed(self, after: int = -1) -> tuple[I64, int]:
        """Returns the keys of vectors that were erased since the mark `after`, and the mark to ask with next.

        Raises:
            StaleMark: the mark is so old (a week) that keys are missing: an index is to be built anew.
        """

    def erase(self, selection: Selection) -> Erased:
        """Erases sightings with all that belongs to them, from the files too; an empty selection is refused.

        Raises:
            UsageError: the selection names nothing.
            OutputError: something of it is still found in the files.
        """

    def erasing(self, selection: Selection, note: Mapping[str, Any]) -> AbstractContextManager[Erased]:
        """Erases as `erase` does, on entering; that this happened is forgotten when the context ends without an error.

        Args:
            selection: of sightings.
            note: is given back by `unfinished`, should this not come to its end; for JSON, and nothing of a sighting.

        Raises:
            UsageError: the selection names nothing, an erasure is unfinished, or another process erases.
            OutputError: something of it is still found in the files.
        """

    def unfinished(self) -> Unfinished | None:
        """Returns the erasure that was broken off, or is under way in another process."""

    def finishing(self) -> AbstractContextManager[Erased]:
        """Brings the unfinished erasure to its end, as `erasing` would have; raises UsageError where there is none."""

    def claim(self, source: str) -> AbstractContextManager[None]:
        """Keeps all other processes from claiming the same source while the context lasts, or this process lives.

        Raises:
            UsageError: another process has claimed it.
        """

    def purge(self, keep: Keep, now: float) -> Erased:
        """Erases what is older than it may get."""

    def trim(self, most_bytes: int) -> Erased:
        """Erases the sightings that were stored first, where all together take nearly `most_bytes` or more."""

    def reached(self) -> float | None:
        """Returns the latest time that was noted, else when the newest sighting ended, UTC seconds; None: neither."""

    def reach(self, at: float, *, surely: bool) -> None:
        """Notes a time as believed, so that a clock far ahead of it can be doubted.

        Args:
            at: UTC seconds.
            surely: it replaces a later one, too.
        """

    def close(self) -> None:
        """Lets go of the files; idempotent."""
