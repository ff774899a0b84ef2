"""What tests of indexes share: vectors like those of people, entries, and the plain answer to compare with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from watchline.detectors.boxes import F32
from watchline.reid.embeddings import EmbeddingModel, Embeddings, Kind
from watchline.reid.index import F64, Entries
from watchline.trackers.tracks import I64


def model_of(dimension: int = 24, sha256: str = "a" * 64, kind: Kind = Kind.BODY) -> EmbeddingModel:
    return EmbeddingModel("osnet", sha256, kind, dimension)


def unit(count: int, dimension: int = 24, seed: int = 0) -> F32:
    """Returns (count, dimension) unit vectors, as rounded as stored ones."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


def entries(
    keys: Sequence[int] | I64,
    vectors: F32,
    cameras: Sequence[str] | str = "door",
    at: Sequence[float] | F64 | float = 0.0,
    model: EmbeddingModel | None = None,
) -> Entries:
    """Returns entries: seen by `cameras`, from `at` for 10 s."""
    names = [cameras] * len(keys) if isinstance(cameras, str) else list(cameras)
    known = tuple(sorted(set(names)))
    camera = np.array([known.index(name) for name in names], np.int32)
    started_at = np.broadcast_to(np.asarray(at, np.float64), (len(keys),)).copy()
    model = model or model_of(vectors.shape[1])
    return Entries(model, np.array(keys, np.int64), vectors, camera, known, started_at, started_at + 10)


def ask(vectors: F32, model: EmbeddingModel | None = None) -> Embeddings:
    """Returns queries of length 1."""
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Embeddings(vectors, np.arange(len(vectors), dtype=np.int32), model or model_of(vectors.shape[1]))


def plain_answer(queries: F32, keys: I64, vectors: F32, k: int) -> list[list[int]]:
    """Returns the keys of the k most similar, by float64 alone, of equals the smaller key first."""
    a, b = queries.astype(np.float64), vectors.astype(np.float64)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return [keys[np.lexsort((keys, -row))[:k]].tolist() for row in a @ b.T]
