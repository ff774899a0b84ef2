"""The k most similar rows to each query, exactly: most rows are ruled out by a cheap bound, the rest computed."""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.trackers.tracks import I64

U8: TypeAlias = NDArray[np.uint8]
Bool: TypeAlias = NDArray[np.bool_]

WIDTH_STEP: Final = 64
NONE_KEY: Final = -1
_LANES: Final = 32
_ROWS_AT_ONCE: Final = 16_384  # padded and coded beside the rows that are given
QUERIES_AT_ONCE: Final = 32  # their codes stay in the nearest cache
_ZERO: Final = 128
_MOST_CODE: Final = 127
ALL: Final = np.empty(0, np.bool_)


class TopK(Protocol):
    """Replaces hits by better ones; `top_k_numpy` says how."""

    def __call__(
        self,
        rows: F32,
        codes: U8,
        scale: F32,
        rest: F32,
        key: I64,
        wanted: Bool,
        queries: F32,
        similarity: F32,
        hit_key: I64,
    ) -> None:
        """Replaces them."""


def padded_width(dimension: int) -> int:
    """Returns how many numbers a row takes: zeros stand behind the vector.

    >>> padded_width(512), padded_width(100)
    (512, 128)
    """
    return -(-dimension // WIDTH_STEP) * WIDTH_STEP


def encode(rows: F32) -> tuple[U8, F32, F32]:
    """Returns a byte for each number of each row, for the native search to rule rows out by.

    Row i is scale[i] * (codes[i] - 128), and a rest of the length rest[i].

    Args:
        rows: (N, W) float32.

    Returns:
        (N, W) uint8 codes, (N,) float32 scale, (N,) float32 rest.
    """
    most = np.abs(rows).max(axis=1, initial=0)
    scale = (most / np.float32(_MOST_CODE)).astype(np.float32)
    whole = np.rint(rows / np.where(scale > 0, scale, np.float32(1))[:, None])
    np.clip(whole, -_MOST_CODE, _MOST_CODE, out=whole)
    rest = np.linalg.norm(rows - whole * scale[:, None], axis=1).astype(np.float32)
    whole += _ZERO
    return whole.astype(np.uint8), scale, rest


def none_yet(queries: int, k: int) -> tuple[F32, I64]:
    """Returns hits (Q, k) that are none yet: similarity -infinity, key -1."""
    return np.full((queries, k), -np.inf, np.float32), np.full((queries, k), NONE_KEY, np.int64)


def merge(similarity: F32, key: I64, new_similarity: F32, new_key: I64) -> None:
    """Puts the best of one query's hits and of new ones into its hits: more similar first, of equals the smaller key.

    Args:
        similarity: (k,) float32, changed.
        key: (k,) int64, changed.
        new_similarity: (M,) float32.
        new_key: (M,) int64.
    """
    both, keys = np.concatenate([similarity, new_similarity]), np.concatenate([key, new_key])
    best = np.lexsort((keys, -both))[: len(similarity)]
    similarity[:], key[:] = both[best], keys[best]


def top_k_numpy(
    rows: F32,
    codes: U8,  # noqa: ARG001 - the native twin rules rows out by these; here a product of matrices does it
    scale: F32,  # noqa: ARG001
    rest: F32,  # noqa: ARG001
    key: I64,
    wanted: Bool,
    queries: F32,
    similarity: F32,
    hit_key: I64,
) -> None:
    """Replaces hits by better ones among the rows.

    A similarity is the scalar product in double precision, added up in 32 lanes, then rounded to float32. A product
    of matrices in float32 is off by less than the margin here, so rows below the k-th best by more can be left out.

    Args:
        rows: (N, W) float32 of length 1, W a multiple of 64.
        codes: (N, W) uint8, see `encode`.
        scale: (N,) float32.
        rest: (N,) float32.
        key: (N,) int64, not negative.
        wanted: (N,) bool, the rows to look at; (0,) for all.
        queries: (Q, W) float32 of length 1.
        similarity: (Q, k) float32, best first, -infinity for none yet; changed.
        hit_key: (Q, k) int64; changed.
    """
    if len(wanted):
        rows, key = rows[wanted], key[wanted]
    margin = (rows.shape[1] + 16) * float(np.finfo(np.float32).eps)
    for row, query in enumerate(queries):
        near = rows @ query
        near[np.isnan(near)] = -np.inf
        least, k = similarity[row, -1], similarity.shape[1]
        if len(near) > k:
            least = max(least, np.partition(near, len(near) - k)[len(near) - k] - margin)
        at = np.flatnonzero(near >= least - margin)
        exact = _exact(rows[at], query)
        at, exact = at[~np.isnan(exact)], exact[~np.isnan(exact)]
        merge(similarity[row], hit_key[row], exact, key[at])


def _exact(rows: F32, query: F32) -> F32:
    """Returns the scalar products of (N, W) rows with a (W,) query, (N,) float32, as `top_k_numpy` defines them."""
    products = (rows.astype(np.float64) * query.astype(np.float64)).reshape(len(rows), rows.shape[1] // _LANES, _LANES)
    lanes = np.zeros((len(rows), _LANES))
    for step in range(products.shape[1]):
        lanes += products[:, step]
    total = lanes[:, 0].copy()
    for lane in range(1, _LANES):
        total += lanes[:, lane]
    return total.astype(np.float32)


def _native() -> TopK | None:
    try:
        from watchline.reid._native import top_k
    except ImportError:
        return None
    return top_k


top_k_native = _native()
top_k: TopK = top_k_native or top_k_numpy
TOP_K_BACKEND: Final = "native" if top_k_native else "numpy"


def nearest(rows: F32, queries: F32, k: int) -> tuple[F32, I64]:
    """Returns the k rows that are most similar to each query, the most similar first, of equals the first.

    Args:
        rows: (N, D) float32 of length 1, or zeros, which are as similar as what is at right angles.
        queries: (Q, D) float32, likewise.
        k: at least 1; no more than N come.

    Returns:
        (Q, min(k, N)) float32 similarities, and (Q, min(k, N)) int64 numbers of rows.
    """
    similarity, row = none_yet(len(queries), min(k, len(rows)))
    asked = padded(queries)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        part = padded(rows[first : first + _ROWS_AT_ONCE])
        codes, number = encode(part), np.arange(first, first + len(part))
        for start in range(0, len(asked), QUERIES_AT_ONCE):
            some = slice(start, start + QUERIES_AT_ONCE)
            top_k(part, *codes, number, ALL, asked[some], similarity[some], row[some])
    return similarity, row


def padded(vectors: F32) -> F32:
    """Returns (N, D) vectors with the zeros behind them that the search wants."""
    rows = np.zeros((len(vectors), padded_width(vectors.shape[1])), np.float32)
    rows[:, : vectors.shape[1]] = vectors
    return rows
