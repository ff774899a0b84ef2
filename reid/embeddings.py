"""Embeddings: vectors that describe people, and the model that they are of. Those of different models never meet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from watchline.detectors.boxes import F32, expect
from watchline.detectors.detections import I32

_UNIT_WITHIN = 1e-3


class Kind(StrEnum):
    """What of a person an embedding describes."""

    BODY = "body"  # clothes and shape: good for a day
    FACE = "face"


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """What made an embedding.

    Attributes:
        name: as the user said it.
        sha256: of the model's file; two embeddings may be compared where this is the same.
        kind: what of a person it describes.
        dimension: numbers in a vector.
    """

    name: str
    sha256: str
    kind: Kind
    dimension: int


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """What one model says of N pictures of people.

    Attributes:
        vectors: (N, D) float32, each of length 1.
        row: (N,) int32, row in what was described: crops, or the tracks of a frame.
        model: what made them.

    Raises:
        ValueError: a wrong dtype or shape, or a vector that is not of length 1.
    """

    vectors: F32
    row: I32
    model: EmbeddingModel

    def __post_init__(self) -> None:
        expect("vectors", self.vectors, np.float32, (len(self.row), self.model.dimension))
        expect("row", self.row, np.int32, (len(self.vectors),))
        off = np.abs(np.linalg.norm(self.vectors, axis=1) - 1.0)
        if len(off) and not off.max() <= _UNIT_WITHIN:  # not: NaN is no length either
            raise ValueError(f"vectors: want length 1, row {int(off.argmax())} is off by {off.max():.3g}")

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True, eq=False)
class TrackletEmbedding:
    """One vector for a tracklet, from several of its crops.

    Attributes:
        model: what made it.
        vector: (D,) float32 of length 1: the mean of the crops' vectors, scaled.
        spread: mean of 1 - cosine between it and each crop's vector: 0 where all agree.
        crops: how many it is made of.

    Raises:
        ValueError: a wrong dtype or shape.
    """

    model: EmbeddingModel
    vector: F32
    spread: float
    crops: int

    def __post_init__(self) -> None:
        expect("vector", self.vector, np.float32, (self.model.dimension,))
