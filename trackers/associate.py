"""Association: which track does which detection belong to? One cost, one assignment, for all trackers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeAlias

import lap
import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, iou_matrix
from watchline.detectors.detections import I32, Detections
from watchline.trackers.kalman import F64

Index: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """One frame's detections by falling score, then class and place: the order they came in must not matter.

    Attributes:
        xyxy: (N, 4) float64, so that areas of huge boxes do not overflow.
        score: (N,) in [0, 1].
        class_id: (N,).
        detection: (N,) row in the `Detections` given.
    """

    xyxy: F64
    score: F32
    class_id: I32
    detection: Index

    @classmethod
    def of(cls, given: Detections) -> Self:
        """Returns `given` in the order that counts."""
        row = np.lexsort((*given.xyxy.T, given.class_id, -given.score))
        return cls(given.xyxy[row].astype(np.float64), given.score[row], given.class_id[row], row)


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Pairs and leftovers of a cost matrix, all ascending by row (`free_columns` by column).

    Attributes:
        rows: (K,) row of every pair.
        columns: (K,) its column.
        free_rows: rows without a pair.
        free_columns: columns without a pair.
    """

    rows: Index
    columns: Index
    free_rows: Index
    free_columns: Index


def iou_cost(a: F64, b: F64, class_a: I32, class_b: I32, weight: F32 | F64 | float = 1.0) -> F64:
    """Returns 1 - IoU * weight, and 1 where the classes differ: no limit below 1 lets such a pair through.

    Args:
        a: (N, 4) xyxy, pixels.
        b: (M, 4) xyxy, pixels.
        class_a: (N,).
        class_b: (M,).
        weight: from 0, one for all or (M,), e.g. the detections' scores.

    Returns:
        (N, M), up to 1; from 0 where no weight is above 1. N or M may be 0.
    """
    cost: F64 = 1 - iou_matrix(a, b) * weight * (class_a[:, None] == class_b[None, :])
    return cost


def directions(start: F64, end: F64) -> F64:
    """Returns (..., 2) unit vectors from the centres of (..., 4) xyxy `start` to those of `end`; zeros: same place."""
    way = (end[..., :2] + end[..., 2:]) / 2 - (start[..., :2] + start[..., 2:]) / 2
    length = np.sqrt(way[..., :1] ** 2 + way[..., 1:] ** 2)
    unit: F64 = np.divide(way, length, out=np.zeros_like(way), where=length > 0)
    return unit


def agreement(a: F64, b: F64) -> F64:
    """Returns how much (..., 2) unit vectors agree: 0.5 the same way, -0.5 the other way, 0 square or not known.

    That is 0.5 less the angle in half turns, to 1.5e-5. A polynomial, because the arc cosines of libraries differ in
    the last bit, which can decide a tie: the native twin has the same.

    >>> agreement(np.array([[1.0, 0], [-1, 0], [0, 1]]), np.array([1.0, 0]))
    array([ 0.5, -0.5,  0. ])
    """
    cosine = a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1]
    size = np.minimum(np.abs(cosine), 1)
    angle = np.sqrt(1 - size) * (0.5 + size * (-0.067896 + size * (0.024822 - size * 0.006889)))
    signed: F64 = np.copysign(0.5 - angle, cosine)
    return signed


def assign(cost: F64, limit: float) -> Assignment:
    """Returns the pairs of least total cost, where leaving a row and a column unpaired costs `limit`.

    Args:
        cost: (N, M), finite; N or M may be 0.
        limit: no pair above it is made; one at it may be. Infinite: as many pairs as fit, whatever they cost.

    >>> assign(np.array([[0.1, 0.5], [0.45, 0.9]]), limit=0.8).rows
    array([0])
    """
    columns = np.full(len(cost), -1, np.intp)
    if cost.size:
        _, columns, _ = lap.lapjv(cost, extend_cost=True, cost_limit=limit)
    rows = np.flatnonzero(columns >= 0)
    taken = np.zeros(cost.shape[1], bool)
    taken[columns[rows]] = True
    return Assignment(rows, columns[rows].astype(np.intp), np.flatnonzero(columns < 0), np.flatnonzero(~taken))


def drop_apart(pairs: Assignment, overlap: F64, least: float) -> Assignment:
    """Returns `pairs` less those that overlap less than `least`; these follow behind the other free ones.

    Args:
        pairs: rows and columns of `overlap`.
        overlap: (N, M) IoU.
        least: in [0, 1].
    """
    near = overlap[pairs.rows, pairs.columns] >= least
    return Assignment(
        pairs.rows[near],
        pairs.columns[near],
        np.concatenate([pairs.free_rows, pairs.rows[~near]]),
        np.concatenate([pairs.free_columns, pairs.columns[~near]]),
    )
