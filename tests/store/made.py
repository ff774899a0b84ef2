"""Sightings made up for tests, each different from every other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from watchline.pipeline.store.sighting import Provenance, Sighting, StoredCrop, StoredVector
from watchline.reid.embeddings import EmbeddingModel, Kind

BODY = EmbeddingModel("osnet-x0-25", "ab" * 32, Kind.BODY, 512)
FACE = EmbeddingModel("sface", "cd" * 32, Kind.FACE, 128)
LIVE = Provenance("live", "yolov8n", "ef" * 32, "byte_track buffer_s=1.0", "01" * 32, "0.1.0")

_NUMBERS = itertools.count(1)


def make_vector(rng: np.random.Generator, model: EmbeddingModel = BODY) -> StoredVector:
    values = rng.standard_normal(model.dimension)
    return StoredVector(model, (values / np.linalg.norm(values)).astype(np.float16), 0.125, 3, 0.75)


def make_crop(rng: np.random.Generator, size: int = 2000, kind: Kind = Kind.BODY) -> StoredCrop:
    """Returns a crop whose picture is noise: nothing here looks into it."""
    return StoredCrop(kind, rng.bytes(size), (10.0, 20.0, 110.0, 320.0), 0.75, 1.5, 1001.5)


def make_sighting(rng: np.random.Generator | int = 0, **changed: Any) -> Sighting:
    """Returns a sighting of ten seconds with two crops, a vector and a path."""
    number = next(_NUMBERS)
    if isinstance(rng, int):
        rng = np.random.default_rng((rng, number))
    path = np.column_stack((np.arange(4), rng.uniform(0, 500, (4, 4)))).astype(np.float32)
    made = Sighting(
        sighting_id=f"{number:032x}",
        track_key=f"{number:032x}",
        camera="dock",
        track_id=number,
        part=0,
        label="person",
        start_pts_s=1.0,
        end_pts_s=11.0,
        started_at=1000.0 + number,
        ended_at=1010.0 + number,
        clock="rtcp",
        frames=250,
        best_score=0.875,
        quality=0.75,
        reason="",
        crops=(make_crop(rng), make_crop(rng)),
        vectors=(make_vector(rng),),
        path=path,
        frame_width=1280,
        frame_height=720,
        provenance=LIVE,
    )
    return replace(made, **changed)


def make_parts(parts: int, rng: int = 0, **changed: Any) -> list[Sighting]:
    """Returns the parts of one track, a minute each."""
    key, start = f"{next(_NUMBERS):032x}", changed.pop("started_at", 1000.0)
    return [
        make_sighting(
            rng, track_key=key, track_id=7, part=n, started_at=start + 60 * n, ended_at=start + 60 * n + 60, **changed
        )
        for n in range(parts)
    ]
