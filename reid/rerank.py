"""Re-ranking by k-reciprocal neighbours.

Two pictures are alike when each is among the other's nearest, and when what is near to both overlaps. It lifts the
mean average precision and lowers the share of queries found at rank 5 and beyond: good for figures, not for the list
that a person looks through.

Source: Zhong et al., Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017 (arXiv 1701.08398).
The result is that of the paper's matrices of (N, N), but only neighbourhoods are kept: some 200 numbers a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.reid.evaluate import BLOCK, Likeness

_NONE: Final = -1  # fills rows of neighbours

Neighbours = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _Sparse:
    """A sparse matrix (N, N): row r holds `value[start[r]:start[r + 1]]` in the columns `column[...]`."""

    start: NDArray[np.int64]
    column: Neighbours
    value: F32

    def turned(self) -> _Sparse:
        """Returns the transpose."""
        n = len(self.start) - 1
        order = np.argsort(self.column, kind="stable")
        start = np.concatenate([[0], np.bincount(self.column, minlength=n).cumsum()])
        row = np.repeat(np.arange(n, dtype=np.int32), np.diff(self.start))
        return _Sparse(start, row[order], self.value[order])


def rerank(
    vectors: F32,
    query: NDArray[np.int64],
    gallery: NDArray[np.int64],
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
) -> Likeness:
    """Returns the re-ranked likeness of queries and gallery: minus the distance of the paper.

    Args:
        vectors: (N, D) of length 1, queries and gallery.
        query: (Q,) rows that are asked for.
        gallery: (G,) rows that are ranked.
        k1: how many nearest neighbours must be mutual.
        k2: over how many nearest neighbours, the row itself among them, the encoding is averaged.
        weight: of the first distance, in [0, 1]; the overlap of neighbourhoods has the rest.
    """
    nearest, farthest = _nearest(vectors, k1 + 1)
    code = _averaged(_encoded(vectors, nearest, farthest, k1), nearest[:, :k2])
    turned = code.turned()

    def likeness(rows: slice) -> F32:
        asked = query[rows]
        plain = (1 - vectors[asked] @ vectors[gallery].T) / farthest[asked, None]
        overlap = np.stack([_overlap(code, turned, row)[gallery] for row in asked.tolist()])
        distance: F32 = (1 - weight) * (1 - overlap / (2 - overlap)) + weight * plain
        return -distance

    return likeness


def _nearest(vectors: F32, k: int) -> tuple[Neighbours, F32]:
    """Returns (N, k) each row's nearest rows, itself first, and (N,) the distance of its farthest."""
    n = len(vectors)
    k = min(k, n)
    nearest, farthest = np.empty((n, k), np.int32), np.empty(n, np.float32)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        likes = vectors[rows] @ vectors.T
        farthest[rows] = 1 - likes.min(axis=1)
        likes[np.arange(len(rows)), rows] = np.inf  # rounding, or a copy of the picture, must not come before itself
        some = np.argpartition(likes, n - k, axis=1)[:, n - k :]
        order = np.argsort(-np.take_along_axis(likes, some, axis=1), axis=1, kind="stable")
        nearest[rows] = np.take_along_axis(some, order, axis=1)
    return nearest, np.where(farthest > 0, farthest, np.float32(1))


def _mutual(nearest: Neighbours) -> Neighbours:
    """Returns (N, k): `nearest` with _NONE where the row is not among its neighbour's nearest."""
    mutual = np.empty_like(nearest)
    for start in range(0, len(nearest), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(nearest)))
        back = nearest[nearest[rows]]  # (B, k, k)
        mutual[rows] = np.where((back == rows[:, None, None]).any(axis=2), nearest[rows], _NONE)
    return mutual


def _encoded(vectors: F32, nearest: Neighbours, farthest: F32, k1: int) -> _Sparse:
    """Returns each row's mutual neighbours, with those that they bring along, weighted by nearness; sum 1."""
    mutual = _mutual(nearest)
    # Rounding half to even, as the published program does.
    half = _mutual(nearest[:, : round(k1 / 2) + 1])
    counts, columns, values = [], [], []
    for start in range(0, len(nearest), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(nearest)))
        members, row = _grown(mutual[rows], half)
        likes = np.einsum("nd,nd->n", vectors[rows[row]], vectors[members])
        weight = np.exp(-(1 - likes) / farthest[rows[row]])
        total = np.bincount(row, weight, len(rows))
        counts.append(np.bincount(row, minlength=len(rows)))
        columns.append(members)
        values.append((weight / total[row]).astype(np.float32))
    return _Sparse(
        np.concatenate([[0], np.concatenate(counts).cumsum()]), np.concatenate(columns), np.concatenate(values)
    )


def _grown(mutual: Neighbours, half: Neighbours) -> tuple[Neighbours, NDArray[np.int64]]:
    """Returns the members of B grown neighbourhoods, and for each the row of `mutual` (B, k) that it belongs to.

    The near mutual neighbours of a member, from `half`, come in where more than two thirds of them are in already.
    """
    brought = half[mutual]  # (B, k, h); those of _NONE are nobody's and left out below
    brought[mutual == _NONE] = _NONE
    known = (brought[..., None] == mutual[:, None, None, :]).any(axis=3) & (brought != _NONE)
    there = (brought != _NONE).sum(axis=2)
    brought[3 * known.sum(axis=2) <= 2 * there] = _NONE
    everyone = np.concatenate([mutual, brought.reshape(len(mutual), -1)], axis=1)
    everyone.sort(axis=1)
    once = everyone != _NONE
    once[:, 1:] &= everyone[:, 1:] != everyone[:, :-1]
    return everyone[once], np.nonzero(once)[0]


def _averaged(code: _Sparse, nearest: Neighbours) -> _Sparse:
    """Returns each row's mean of the codes of its `nearest` (N, k2), itself among them."""
    n, k = nearest.shape
    counts, columns, values = [], [], []
    for start in range(0, n, BLOCK):
        chosen = nearest[start : start + BLOCK].ravel()
        size = np.diff(code.start)[chosen]
        entry = np.repeat(code.start[chosen] - (size.cumsum() - size), size) + np.arange(size.sum())
        row = np.repeat(np.arange(len(chosen)) // k, size)
        place, at = np.unique(row * n + code.column[entry], return_inverse=True)
        counts.append(np.bincount(place // n, minlength=len(chosen) // k))
        columns.append((place % n).astype(np.int32))
        values.append((np.bincount(at, code.value[entry]) / k).astype(np.float32))
    return _Sparse(
        np.concatenate([[0], np.concatenate(counts).cumsum()]), np.concatenate(columns), np.concatenate(values)
    )


def _overlap(code: _Sparse, turned: _Sparse, row: int) -> F32:
    """Returns (N,): the sum over all columns of the lesser of the codes of `row` and of each row."""
    own = slice(code.start[row], code.start[row + 1])
    column, value = code.column[own], code.value[own]
    size = turned.start[column + 1] - turned.start[column]
    entry = np.repeat(turned.start[column] - (size.cumsum() - size), size) + np.arange(size.sum())
    lesser = np.minimum(turned.value[entry], np.repeat(value, size))
    return np.bincount(turned.column[entry], lesser, len(code.start) - 1).astype(np.float32)
