"""From a tracklet, and what describes it, to the sighting that is stored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from watchline.pipeline.store.ids import Ids
from watchline.pipeline.store.sighting import Provenance, Sighting, StoredCrop, StoredVector
from watchline.pipeline.view import jpeg_of
from watchline.reid.embeddings import Kind, TrackletEmbedding
from watchline.reid.tracklet import Crop, Tracklet

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class TrackKeys:
    """Gives the parts of a track one key; an id that comes back after its last part is another track's.

    It remembers a key only as long as more parts may come: as many as the collector has open tracks.

    Args:
        ids: makes the keys.
    """

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._open: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._open)

    def key(self, tracklet: Tracklet) -> str:
        """Returns the key of a tracklet of one collector; those of one track must come in the order of their parts."""
        key = self._open.pop(tracklet.track_id, "") or self._ids.new()
        if not tracklet.is_last:
            self._open[tracklet.track_id] = key
        return key


class SightingMaker:
    """Makes sightings of the tracklets of one collector.

    Args:
        provenance: what makes them.
    """

    def __init__(self, provenance: Provenance) -> None:
        self._provenance = provenance
        self._ids = Ids()
        self._keys = TrackKeys(self._ids)

    def make(self, tracklet: Tracklet, embeddings: Sequence[TrackletEmbedding]) -> Sighting:
        """Returns a tracklet as it is stored; those of one track must come in the order of their parts."""
        return sighting_of(self._ids, tracklet, embeddings, self._keys.key(tracklet), self._provenance)


def sighting_of(
    ids: Ids,
    tracklet: Tracklet,
    embeddings: Sequence[TrackletEmbedding],
    track_key: str,
    provenance: Provenance,
    *,
    pictures: bool = True,
) -> Sighting:
    """Returns a tracklet as it is stored.

    Args:
        ids: makes its id.
        tracklet: what was seen.
        embeddings: what describes it.
        track_key: of its track; see `TrackKeys`.
        provenance: what made it.
        pictures: keep its pictures; where not, none is encoded either.
    """
    shown = (*((crop, Kind.BODY) for crop in tracklet.crops), *((crop, Kind.FACE) for crop in tracklet.faces))
    return Sighting(
        sighting_id=ids.new(),
        track_key=track_key,
        camera=tracklet.camera,
        track_id=tracklet.track_id,
        part=tracklet.part,
        label=tracklet.label,
        start_pts_s=tracklet.start_pts_s,
        end_pts_s=tracklet.end_pts_s,
        started_at=tracklet.started_at,
        ended_at=tracklet.ended_at,
        clock=tracklet.clock.value,
        frames=tracklet.frames,
        best_score=tracklet.best_score,
        quality=best_quality(tracklet.crops),
        reason=tracklet.reason,
        crops=tuple(_stored_crop(crop, kind) for crop, kind in shown) if pictures else (),
        vectors=tuple(_stored_vector(embedding, tracklet) for embedding in embeddings),
        path=tracklet.path,
        frame_width=tracklet.frame_width,
        frame_height=tracklet.frame_height,
        provenance=provenance,
    )


def best_quality(crops: Sequence[Crop]) -> float:
    """Returns the quality of the best picture, in (0, 1]; 0 for none."""
    return max((crop.quality for crop in crops), default=0.0)


def config_sha256(options: DataclassInstance) -> str:
    """Returns the SHA-256 of options: of their names and values as JSON, sorted."""
    text = json.dumps(asdict(options), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def program_version() -> str:
    """Returns watchline's version."""
    return metadata.version("watchline")


def _stored_crop(crop: Crop, kind: Kind) -> StoredCrop:
    left, top, right, bottom = crop.xyxy.tolist()
    return StoredCrop(kind, jpeg_of(crop.rgb), (left, top, right, bottom), crop.quality, crop.pts_s, crop.captured_at)


def _stored_vector(embedding: TrackletEmbedding, tracklet: Tracklet) -> StoredVector:
    crops = tracklet.faces if embedding.model.kind is Kind.FACE else tracklet.crops
    vector = embedding.vector.astype(np.float16)
    return StoredVector(embedding.model, vector, embedding.spread, embedding.crops, best_quality(crops))
