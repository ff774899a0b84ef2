"""How far two sets of tracks of the same frames are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from watchline.detectors.agreement import LOOSE_IOU
from watchline.detectors.boxes import iou_matrix
from watchline.trackers.tracks import Tracks

_LEAST_SHARE: Final = 0.5  # of the frames of a track


@dataclass(frozen=True, slots=True)
class TrackAgreement:
    """What tracks B have of tracks A.

    Attributes:
        tracks_a: in all.
        tracks_b: the same of B.
        matched: tracks of A that one track of B follows for half of their frames or more.
    """

    tracks_a: int
    tracks_b: int
    matched: int

    @property
    def recall(self) -> float:
        """Share of A's tracks that B has; 1 where there are none."""
        return self.matched / self.tracks_a if self.tracks_a else 1.0

    @classmethod
    def sum_of(cls, parts: Iterable[Self]) -> Self:
        """Returns what several clips have together."""
        each = list(parts)
        return cls(sum(p.tracks_a for p in each), sum(p.tracks_b for p in each), sum(p.matched for p in each))


def agreement_of_tracks(a: Sequence[Tracks], b: Sequence[Tracks]) -> TrackAgreement:
    """Returns how far tracks `b` are tracks `a`.

    Each track of B stands for one of A at most: the pairs that are longest together come first.

    Args:
        a: frame by frame.
        b: for the same frames.

    Raises:
        ValueError: different numbers of frames.
    """
    together: Counter[tuple[int, int]] = Counter()
    lives_a: Counter[int] = Counter()
    lives_b: Counter[int] = Counter()
    for x, y in zip(a, b, strict=True):
        lives_a.update(x.track_id.tolist())
        lives_b.update(y.track_id.tolist())
        for i, j in np.argwhere(iou_matrix(x.xyxy, y.xyxy) >= LOOSE_IOU):
            if x.class_id[i] == y.class_id[j]:
                together[int(x.track_id[i]), int(y.track_id[j])] += 1
    taken_a: set[int] = set()
    taken_b: set[int] = set()
    for (one, other), frames in sorted(together.items(), key=lambda item: (-item[1], item[0])):
        if one not in taken_a and other not in taken_b and frames >= _LEAST_SHARE * lives_a[one]:
            taken_a.add(one)
            taken_b.add(other)
    return TrackAgreement(len(lives_a), len(lives_b), len(taken_a))
