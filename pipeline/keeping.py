"""Keeping described tracklets: as sightings in a store, or as rows in files of features."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from watchline.pipeline.sightings import SightingMaker
from watchline.pipeline.store.seam import SightingStore
from watchline.pipeline.store.sighting import Sighting
from watchline.reid.embeddings import EmbeddingModel, Kind, TrackletEmbedding
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.errors import OutputError, UsageError

_MOST_WAITING = 256  # sightings that wait for a store that refuses
_AGAIN_S = 5.0  # after a refusal the store is left in peace for so long
_MOST_FEATURES = 200_000  # rows of a file: some 400 MB


class Keeper(Protocol):
    """Keeps described tracklets. It raises nothing: what it cannot keep it counts, and says why."""

    stored: int
    refused: int
    problem: str

    @property
    def dropped(self) -> int:
        """Rows left out to stay within bounds."""

    def keep(self, tracklets: Sequence[Tracklet], embeddings: Sequence[Sequence[TrackletEmbedding]]) -> None:
        """Keeps tracklets and what describes each."""

    def close(self) -> None:
        """Finishes; called once."""


class StoreKeeper:
    """A `Keeper` that writes sightings to a store; where that refuses, they wait, and it is asked again later.

    Args:
        store: where they go; closed by the caller.
        maker: makes them.
        again_s: after a refusal the store is left in peace for so long, seconds.
        most_waiting: sightings that wait; beyond, the oldest are refused.
    """

    dropped = 0

    def __init__(
        self, store: SightingStore, maker: SightingMaker, again_s: float = _AGAIN_S, most_waiting: int = _MOST_WAITING
    ) -> None:
        self.stored = self.refused = 0
        self.problem = ""
        self._reason = ""
        self._store = store
        self._maker = maker
        self._again_s = again_s
        self._most_waiting = most_waiting
        self._waiting: list[Sighting] = []
        self._not_before = float("-inf")

    def keep(self, tracklets: Sequence[Tracklet], embeddings: Sequence[Sequence[TrackletEmbedding]]) -> None:
        """Writes sightings, and those that wait."""
        self._waiting += [self._maker.make(*each) for each in zip(tracklets, embeddings, strict=True)]
        if time.monotonic() >= self._not_before:
            self._write()
        if (surplus := len(self._waiting) - self._most_waiting) > 0:
            self._refuse(surplus)

    def close(self) -> None:
        """Tries once more to write what waits."""
        self._write()
        self._refuse(len(self._waiting))

    def _write(self) -> None:
        at_once = len(self._waiting)
        while self._waiting:
            some = self._waiting[:at_once]
            try:
                self._store.add(some)
            except OutputError as error:
                self._reason = str(error)
                self._not_before = time.monotonic() + self._again_s
                return
            except UsageError as error:  # one of them cannot be stored: the others can
                self._reason = str(error)
                if at_once == 1:
                    self._refuse(1)
                at_once = 1
            else:
                self.stored += len(some)
                del self._waiting[: len(some)]

    def _refuse(self, count: int) -> None:
        if count:
            del self._waiting[:count]
            self.refused += count
            self.problem = f"{self.refused} sighting{'s' * (self.refused != 1)} not stored: {self._reason}"


class FeatureKeeper:
    """A `Keeper` that writes one file of features a model, a row a tracklet.

    Args:
        paths: the file of each model.
        source: the input, as the user named it.
        most: rows of a file; more are dropped and counted.
    """

    stored = refused = 0

    def __init__(self, paths: dict[EmbeddingModel, Path], source: str, most: int = _MOST_FEATURES) -> None:
        self.dropped = 0
        self.problem = ""
        self._paths = paths
        self._source = source
        self._most = most
        self._rows: dict[EmbeddingModel, list[tuple[Tracklet, TrackletEmbedding]]] = {model: [] for model in paths}

    def keep(self, tracklets: Sequence[Tracklet], embeddings: Sequence[Sequence[TrackletEmbedding]]) -> None:
        """Takes note of the vectors."""
        for tracklet, each in zip(tracklets, embeddings, strict=True):
            for embedding in each:
                rows = self._rows[embedding.model]
                if len(rows) < self._most:
                    rows.append((_without_pixels(tracklet), embedding))
                else:
                    self.dropped += 1

    def close(self) -> None:
        """Writes the files."""
        for model, path in self._paths.items():
            try:
                _write_features(path, self._source, model, self._rows[model])
            except OutputError as error:
                self.problem = str(error)


def _without_pixels(tracklet: Tracklet) -> Tracklet:
    """Returns a tracklet with what is known of its best pictures, and nothing that takes room."""

    def bare(crops: tuple[Crop, ...]) -> tuple[Crop, ...]:
        best = sorted(crops, key=lambda crop: crop.quality)[-1:]
        return tuple(replace(crop, rgb=np.zeros((1, 1, 3), np.uint8)) for crop in best)

    return replace(tracklet, crops=bare(tracklet.crops), faces=bare(tracklet.faces), path=tracklet.path[:0])


def _write_features(
    path: Path, source: str, model: EmbeddingModel, rows: Sequence[tuple[Tracklet, TrackletEmbedding]]
) -> None:
    from watchline.reid.features import FeatureSet, write_features

    best = [(t.faces if model.kind is Kind.FACE else t.crops)[0] for t, _ in rows]
    vectors = np.array([embedding.vector for _, embedding in rows], np.float32).reshape(-1, model.dimension)
    names = [f"{tracklet.camera} track {tracklet.track_id} part {tracklet.part}" for tracklet, _ in rows]
    features = FeatureSet.of(
        vectors,
        model,
        names=names,
        file=[source] * len(rows),
        camera=[tracklet.camera for tracklet, _ in rows],
        box=np.array([crop.xyxy for crop in best], np.float32).reshape(-1, 4),
        time_s=np.array([crop.pts_s for crop in best], np.float64),
        track_id=np.array([tracklet.track_id for tracklet, _ in rows], np.int64),
        quality=np.array([crop.quality for crop in best], np.float32),
    )
    write_features(path, features)
