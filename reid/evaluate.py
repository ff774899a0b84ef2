"""How good is a ranking of people? CMC and mean average precision, by the protocol of Market-1501.

A query is a picture of a known person. The gallery is ranked by likeness to it; pictures of the same person from
another camera are right. Those of the same person from the same camera are left out for this query: finding what
stands beside it is no merit. Everybody else is wrong, distractors (person 0) too. Junk (person -1) was left out before.
A query without a right picture in the gallery is not counted: no ranking could serve it.

Source: Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015. Average precision is the mean of the
precision at each right picture, without interpolation, as in the published figures of today.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.detectors.detections import I32
from watchline.streams.errors import UsageError

DEPTH: Final = 50  # ranks of the CMC
BLOCK: Final = 256  # queries that are compared at once: 16 MB for a gallery of 16,000

Likeness: TypeAlias = Callable[[slice], F32]
"""Takes B rows of the queries, returns (B, G) float32 for G pictures of the gallery: larger is more alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Who is in N pictures, and which camera took them.

    Attributes:
        person: (N,) int32, from 1; 0 for a distractor.
        camera: (N,) int32, any numbering.

    Raises:
        ValueError: a wrong dtype or shape.
    """

    person: I32
    camera: I32

    def __post_init__(self) -> None:
        expect("person", self.person, np.int32, (len(self.person),))
        expect("camera", self.camera, np.int32, (len(self.person),))

    def __len__(self) -> int:
        return len(self.person)

    def take(self, rows: NDArray[np.integer]) -> Labels:
        """Returns the labels of `rows`."""
        return Labels(self.person[rows], self.camera[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a ranking is worth.

    Attributes:
        cmc: (DEPTH,) float64, share of the counted queries that have a right picture among the first 1, 2, ...
        mean_ap: mean over the counted queries of their average precision, in [0, 1].
        queries: that are counted.
        unmatched: queries that are not counted: nobody in the gallery is right for them.
        gallery: pictures, or tracklets, that were ranked.
    """

    cmc: NDArray[np.float64]
    mean_ap: float
    queries: int
    unmatched: int
    gallery: int

    def rank(self, depth: int) -> float:
        """Returns the share of queries with a right picture among the first `depth`, 1 to DEPTH."""
        return float(self.cmc[depth - 1])


def measure(likeness: Likeness, query: Labels, gallery: Labels) -> Scores:
    """Returns what the ranking by `likeness` is worth. At equal likeness the wrong one stands before the right one.

    Args:
        likeness: asked for all queries, in blocks.
        query: labels of the queries.
        gallery: labels of the gallery.

    Raises:
        UsageError: not one query has a right picture in the gallery.
    """
    found_at, precision = [], []
    for start in range(0, len(query), BLOCK):
        rows = slice(start, min(start + BLOCK, len(query)))
        for likes, person, camera in zip(likeness(rows), query.person[rows], query.camera[rows], strict=True):
            same = gallery.person == person
            right = same & (gallery.camera != camera)
            ranks = _ranks(likes[right], likes[~same])
            if len(ranks):
                found_at.append(ranks[0])
                precision.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    if not found_at:
        raise UsageError("no query has a picture of the same person from another camera; nothing can be measured")
    firsts = np.bincount(np.minimum(found_at, DEPTH + 1), minlength=DEPTH + 2)
    cmc = firsts.cumsum()[1 : DEPTH + 1] / len(found_at)
    return Scores(cmc, float(np.mean(precision)), len(found_at), len(query) - len(found_at), len(gallery))


def _ranks(right: F32, wrong: F32) -> NDArray[np.int64]:
    """Returns the ranks, from 1, of `right` among both, in ascending order. Nothing but `right` is sorted."""
    ascending = np.sort(right)
    # place[w]: how many right ones are less than or as alike as the wrong one, and so stand behind it.
    place = np.searchsorted(ascending, wrong, side="right")
    passed = np.bincount(place, minlength=len(right) + 1)  # by how many are behind
    ahead = passed[::-1].cumsum()[: len(right)]  # wrong ones ahead of the best, the second best, ...
    ranks: NDArray[np.int64] = ahead + np.arange(1, len(right) + 1)
    return ranks
