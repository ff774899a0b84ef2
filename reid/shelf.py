"""Shelf: the best pictures of one tracklet, spread over its time."""

from __future__ import annotations

from collections.abc import Iterable

from watchline.reid.tracklet import Crop


class Shelf:
    """Keeps at most `most` pictures, the best of each slot of time.

    Slots begin narrow, so that a short tracklet has several pictures too, and double in width as it grows: between
    half of `most` and `most` of them span the tracklet.

    Args:
        most: pictures, at least 1.
        slot_s: width of a slot at first, seconds.
        start_pts_s: of the tracklet, seconds.

    Attributes:
        ever: it has held a picture.

    >>> Shelf(5, 0.5, 0.0).to_beat(7.0)
    0.0
    """

    def __init__(self, most: int, slot_s: float, start_pts_s: float) -> None:
        self.ever = False
        self._most = most
        self._slot_s = slot_s
        self._start_s = start_pts_s
        self._crops: list[Crop] = []

    def __len__(self) -> int:
        return len(self._crops)

    @property
    def crops(self) -> tuple[Crop, ...]:
        """What is kept, in order of time."""
        return tuple(self._crops)

    @property
    def size_bytes(self) -> int:
        """Memory of its pixels."""
        return sum(crop.rgb.nbytes for crop in self._crops)

    def to_beat(self, pts_s: float) -> float:
        """Returns the quality of the picture that one of this time would take the place of; 0 for none."""
        slot_s = self._wide_enough(pts_s)
        slot = self._slot(pts_s, slot_s)
        return max((crop.quality for crop in self._crops if self._slot(crop.pts_s, slot_s) == slot), default=0.0)

    def put(self, crop: Crop) -> None:
        """Keeps a picture in the place of what its slot held, however good that was."""
        self.ever = True
        self._slot_s = self._wide_enough(crop.pts_s)
        slot = self._slot(crop.pts_s, self._slot_s)
        others = [kept for kept in self._crops if self._slot(kept.pts_s, self._slot_s) != slot]
        self._crops = sorted([*self._best(others), crop], key=lambda kept: kept.pts_s)

    def drop_worst(self) -> None:
        """Gives up the worst picture; there must be one."""
        self._crops.remove(min(self._crops, key=lambda crop: crop.quality))

    def _best(self, crops: Iterable[Crop]) -> list[Crop]:
        best: dict[int, Crop] = {}
        for crop in crops:
            slot = self._slot(crop.pts_s, self._slot_s)
            if slot not in best or crop.quality > best[slot].quality:
                best[slot] = crop
        return list(best.values())

    def _slot(self, pts_s: float, slot_s: float) -> int:
        return max(0, int((pts_s - self._start_s) / slot_s))

    def _wide_enough(self, pts_s: float) -> float:
        """Returns the width of slots of which this time is in one of the first `most`, seconds."""
        slot_s = self._slot_s
        while self._slot(pts_s, slot_s) >= self._most:
            slot_s *= 2
        return slot_s
