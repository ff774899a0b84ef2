"""Describing tracklets: the pictures of several in shared batches, and of each tracklet one vector."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np

from watchline.detectors.boxes import F32
from watchline.reid.align import can_align
from watchline.reid.embeddings import EmbeddingModel, TrackletEmbedding
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.frame import U8

_NO_LENGTH = 1e-6


class BodyEmbedder(Protocol):
    """Turns pictures of people into vectors."""

    @property
    def model(self) -> EmbeddingModel:
        """What it runs."""

    def embed(self, crops: Sequence[U8], /) -> F32:
        """Returns (N, D) float32 rows of length 1 of N pictures (H, W, 3) uint8 RGB; N may be 0.

        Raises:
            ModelError: the model failed.
        """


class FaceEmbedder(Protocol):
    """Turns pictures of faces, whose landmarks are known, into vectors."""

    @property
    def model(self) -> EmbeddingModel:
        """What it runs."""

    def embed_faces(self, crops: Sequence[Crop], /) -> F32:
        """Returns (N, D) float32 rows of length 1 of N pictures of faces; N may be 0.

        Raises:
            ModelError: the model failed.
        """


def describe(
    tracklets: Sequence[Tracklet], body: BodyEmbedder | None = None, face: FaceEmbedder | None = None
) -> list[tuple[TrackletEmbedding, ...]]:
    """Returns what describes each tracklet: nothing, its body, its face, or both, as there are pictures and models.

    Args:
        tracklets: of any cameras.
        body: describes their pictures; None: nothing does.
        face: describes the pictures of their faces; None: nothing does.

    Raises:
        ModelError: a model failed.
    """
    described: list[list[TrackletEmbedding]] = [[] for _ in tracklets]
    if body is not None:
        crops = [tracklet.crops for tracklet in tracklets]
        vectors = body.embed([crop.rgb for each in crops for crop in each])
        _add_means(described, vectors, [len(each) for each in crops], body.model)
    if face is not None:
        # One face whose landmarks a detector took from nowhere must not spoil all others.
        faces = [[crop for crop in tracklet.faces if can_align(crop.landmarks)] for tracklet in tracklets]
        vectors = face.embed_faces([crop for each in faces for crop in each])
        _add_means(described, vectors, [len(each) for each in faces], face.model)
    return [tuple(each) for each in described]


def mean_of(vectors: F32, model: EmbeddingModel) -> TrackletEmbedding:
    """Returns one vector for several of one tracklet: their mean, scaled to length 1.

    Each counts the same. Weights by quality were tried: on average they set people a little further apart, but where
    the best picture shows two people they follow the wrong one, and the closest cases got closer.

    Args:
        vectors: (N, D) float32 of length 1; N > 0.
        model: what made them.
    """
    mean = vectors.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(mean))
    # Vectors that cancel each other out have no direction in common; the first is as good as any.
    unit = mean / length if length > _NO_LENGTH else vectors[0].astype(np.float64)
    spread = float(np.mean(1 - vectors.astype(np.float64) @ unit))
    return TrackletEmbedding(model, unit.astype(np.float32), max(0.0, spread), len(vectors))


def _add_means(
    described: list[list[TrackletEmbedding]], vectors: F32, counts: Sequence[int], model: EmbeddingModel
) -> None:
    """Adds to each tracklet's what its `counts` next rows of `vectors` come to."""
    for each, (start, end) in zip(described, pairwise(accumulate(counts, initial=0)), strict=True):
        if end > start:
            each.append(mean_of(vectors[start:end], model))
