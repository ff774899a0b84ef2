"""Sightings to put into a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from watchline.pipeline.store.sighting import Provenance, Sighting, StoredCrop, StoredVector
from watchline.reid.embeddings import EmbeddingModel, Kind

BODY = EmbeddingModel("osnet-x0-25", "ab" * 32, Kind.BODY, 8)
LIVE = Provenance("live", "yolov8n", "cd" * 32, "bytetrack native", "ef" * 32, "0.1.0")
NOON = 1_795_348_800.0  # 2026-11-22 12:00:00Z
_NUMBERS = count(1)


def make_crop(jpeg: bytes = b"", at_s: float = 0.0, kind: Kind = Kind.BODY) -> StoredCrop:
    """A picture; without `jpeg`, noise of its own that no other picture has."""
    noise = np.random.default_rng(next(_NUMBERS)).bytes(600)
    return StoredCrop(kind, jpeg or b"\xff\xd8" + noise + b"\xff\xd9", (10, 20, 60, 140), 0.7, at_s, NOON + at_s)


def make_vector(model: EmbeddingModel = BODY) -> StoredVector:
    """A vector of its own, of length 1."""
    vector = np.random.default_rng(next(_NUMBERS)).normal(size=model.dimension)
    return StoredVector(model, (vector / np.linalg.norm(vector)).astype(np.float16), 0.05, 3, 0.7)


def make_sighting(
    camera: str = "dock",
    track_id: int = 1,
    at_s: float = 0.0,
    length_s: float = 4.0,
    part: int = 0,
    track_key: str = "",
    crops: Sequence[StoredCrop] | None = None,
    vectors: Sequence[StoredVector] | None = None,
    reason: str = "",
    source: str = "live",
    frame: tuple[int, int] = (640, 360),
) -> Sighting:
    """A sighting that begins `at_s` seconds after noon."""
    number = next(_NUMBERS)
    times = np.arange(0, length_s, 0.5, dtype=np.float32)
    left = 100 + 20 * times
    path = np.stack([times, left, np.full_like(times, 50), left + 60, np.full_like(times, 220)], axis=1)
    made = (make_crop(at_s=at_s),) if crops is None else tuple(crops)
    return Sighting(
        sighting_id=f"{number:032x}",
        track_key=track_key or f"{number:032x}"[::-1],
        camera=camera,
        track_id=track_id,
        part=part,
        label="person",
        start_pts_s=at_s,
        end_pts_s=at_s + length_s,
        started_at=NOON + at_s,
        ended_at=NOON + at_s + length_s,
        clock="rtcp",
        frames=round(length_s * 25),
        best_score=0.9,
        quality=0.7 if made else 0.0,
        reason=reason,
        crops=made,
        vectors=(make_vector(),) if vectors is None else tuple(vectors),
        path=path.astype(np.float32),
        frame_width=frame[0],
        frame_height=frame[1],
        provenance=replace(LIVE, source=source),
    )
