"""Fusing: one order of candidates from what body and face each say of them.

Their scores are of different scales, and a face is often not seen. A candidate is judged by what was seen of it: a
missing face is neither a merit nor a fault. Two ways:

    weighted     sum of standard scores, over the root of the sum of squares of their weights: of many people who are
                 not the one, those with a face and those without reach the same heights
    reciprocal   mean of 1 / (60 + rank): by places alone, with no regard to how far one stands above the next

`weighted` is the one to use: see docs/scoring.md for how that was measured, and what was not.

Sources: Stouffer's method of adding standard scores; Cormack et al., Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods, SIGIR 2009.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from watchline.detectors.boxes import F32, expect

FLATTENED_BY: Final = 60  # in 1 / (60 + rank): the paper's
_ROUNDING: Final = 1e-6  # of the largest score: a spread of less is that of roundings


def standard(scores: F32) -> F32:
    """Returns (K, N) float32: each row in standard deviations from its mean; 0 where all are equal, NaN stays.

    For scores of a whole gallery by cosine. Those by a cohort are on one scale already (scoring.py).

    Args:
        scores: (K, N) of K kinds and N candidates; NaN for what was not seen.
    """
    there = ~np.isnan(scores)
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    off = scores - np.where(there, scores, 0).sum(axis=1, keepdims=True, dtype=np.float64) / count
    spread = np.sqrt(np.square(np.where(there, off, 0)).sum(axis=1, keepdims=True) / count)
    least = _ROUNDING * np.abs(np.where(there, scores, 0)).max(axis=1, initial=0, keepdims=True)
    scaled = np.divide(off, spread, out=np.zeros_like(off), where=spread > least)
    return np.where(there, scaled, np.nan).astype(np.float32)


def weighted(scores: F32, weights: F32 | None = None) -> F32:
    """Returns (N,) float32, higher is closer; NaN for a candidate of whom nothing was seen.

    Args:
        scores: (K, N) on one scale, see `standard`; NaN for what was not seen.
        weights: (K,) above 0, how much each kind tells; None for equal ones.

    Raises:
        ValueError: a wrong dtype or shape, or a weight that is not above 0.

    >>> weighted(np.float32([[3.0, 3.0], [4.0, np.nan]])).round(2)
    array([4.95, 3.  ], dtype=float32)
    """
    weight = _weights(scores, weights)
    total = np.nansum(scores * weight, axis=0)
    return _over(total, np.sqrt(np.square(weight * ~np.isnan(scores)).sum(axis=0)))


def reciprocal(scores: F32, weights: F32 | None = None) -> F32:
    """Returns (N,) float32 as `weighted` does, by ranks; scores (K, N) of any scale. Equal scores share the rank."""
    weight = _weights(scores, weights)
    parts = np.zeros_like(scores)
    for row, part in zip(scores, parts, strict=True):
        there = ~np.isnan(row)
        ascending = np.sort(row[there])
        ahead = len(ascending) - np.searchsorted(ascending, row[there], side="right")
        part[there] = 1.0 / (FLATTENED_BY + 1 + ahead)
    return _over((parts * weight).sum(axis=0), (weight * ~np.isnan(scores)).sum(axis=0))


def _weights(scores: F32, weights: F32 | None) -> F32:
    """Returns (K, 1)."""
    expect("scores", scores, np.float32, (-1, -1))
    if weights is None:
        return np.ones((len(scores), 1), np.float32)
    expect("weights", weights, np.float32, (len(scores),))
    if not (weights > 0).all():
        raise ValueError(f"weights: want numbers above 0, got {weights.tolist()}")
    return weights[:, None]


def _over(total: F32, by: F32) -> F32:
    result: F32 = np.divide(total, by, out=np.full_like(total, np.nan), where=by > 0)
    return result
