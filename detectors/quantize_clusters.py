"""Which of many pictures to calibrate with: the same share of each kind, as the network itself tells them apart.

A clip shows one thing for minutes and another for a second. Frames at equal distances are then nearly all of the first
kind, and ranges that leave rare values out leave out the second.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from watchline.detectors.agreement import Index
from watchline.detectors.quantize_ranges import F64

_ROUNDS: Final = 50  # k-means settles long before
_SEED: Final = 1


def clusters(looks: F64, count: int) -> Index:
    """Returns the cluster of each picture, by k-means from far apart beginnings; always the same for the same pictures.

    Args:
        looks: (pictures, features) what tells pictures apart; each feature counts the same, whatever its unit.
        count: how many clusters there are at most.

    Returns:
        (pictures,) from 0.

    >>> clusters(np.array([[0.0], [0.1], [9.0], [9.1]]), 2).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
    True
    """
    spread = looks.std(axis=0)
    points = (looks - looks.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    centres = _far_apart(points, min(count, len(points)))
    labels = np.zeros(len(points), np.intp)
    for _ in range(_ROUNDS):
        before, labels = labels, np.argmin(_distances(points, centres), axis=1)
        if (labels == before).all():
            break
        centres = np.stack(
            [points[labels == i].mean(axis=0) if (labels == i).any() else centre for i, centre in enumerate(centres)]
        )
    return labels


def shared_out(labels: Index, count: int) -> list[int]:
    """Returns the places of `count` pictures, ascending: as many of each cluster, or all where it has no more.

    Those of a cluster are taken at equal distances. What a small one leaves over goes to the others.

    >>> shared_out(np.array([0, 0, 0, 0, 0, 0, 1, 2, 2]), 5)
    [0, 3, 6, 7, 8]
    """
    members = sorted((np.flatnonzero(labels == label) for label in np.unique(labels)), key=len)
    taken: list[int] = []
    for i, places in enumerate(members):
        share = min(len(places), (count - len(taken)) // (len(members) - i))
        taken += places[np.arange(share) * len(places) // max(1, share)].tolist()
    return sorted(taken)


def _far_apart(points: F64, count: int) -> F64:
    """Returns `count` of the points to begin with: each is the likelier the further it is from those before it.

    Source: Arthur and Vassilvitskii, k-means++, SODA 2007.
    """
    random = np.random.default_rng(_SEED)
    found = [int(random.integers(len(points)))]
    for _ in range(1, count):
        nearest = _distances(points, points[found]).min(axis=1)
        if not nearest.any():
            break
        found.append(int(random.choice(len(points), p=nearest / nearest.sum())))
    return points[found]


def _distances(points: F64, centres: F64) -> F64:
    """Returns the (points, centres) squares of the distances."""
    squares: F64 = np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
    return squares
