"""Centring: what a camera does to all its pictures (light, colour, view) says nothing of people, and is taken off.

Of each camera the mean of the vectors that it gave is kept, and subtracted before vectors are compared. Until all
cameras together have given `least` vectors, nothing is taken off. From then on a camera with n vectors has

    (n * its own mean + least * the mean of all cameras) / (n + least)

taken off, so that a young camera has nearly the mean of all, an old one its own, and no score jumps on the way.

Means learnt from half of the people of market150, the other half searched, rank 1 / mAP in percent, for so many
tracklets of each of six cameras (`python -m tests.bench.scoring`; more in docs/scoring.md):

                 nothing       mean of all   its own       its own from 20 on   this
    5            85.5 / 74.7   86.3 / 76.3   62.3 / 58.4   86.3 / 76.3          87.1 / 77.6
    20           86.3 / 75.8   87.3 / 77.5   87.6 / 79.3   87.6 / 79.3          89.2 / 80.5
    100          85.8 / 75.0   86.6 / 76.7   90.8 / 82.6   90.8 / 82.6          90.6 / 82.2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.features import Text, unit
from watchline.reid.index import of_unit_length

LEAST: Final = 20
HORIZON: Final = 200
MOST_CAMERAS: Final = 4096

Cameras = Sequence[str] | Text


@dataclass(frozen=True, slots=True, eq=False)
class CameraMean:
    """What is known of one camera, as it is stored.

    Attributes:
        camera: its name.
        model: SHA-256 of the model that made the vectors.
        count: vectors that it gave.
        mean: (D,) float32, of the vectors, which are of length 1: itself shorter.
    """

    camera: str
    model: str
    count: int
    mean: F32


class CameraMeans:
    """The mean vector of each camera, by one model.

    Each vector counts the same up to `horizon` of them; from then on the mean moves: a new one weighs 1 / `horizon`,
    so that half of what is in it is from the last 0.7 * `horizon` vectors.

    Not to be changed by one thread while another reads: give the reader a `copy`.

    Args:
        model: what makes the vectors.
        least: vectors before anything is taken off; a camera with as many is half its own.
        horizon: vectors that a mean follows.
        most: cameras; beyond them the one that has been silent longest is forgotten, and counted in `forgotten`.
        records: to go on from, as `records` returned them.

    Raises:
        ValueError: a number out of range, or a record that is damaged or of another model.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        least: int = LEAST,
        horizon: int = HORIZON,
        most: int = MOST_CAMERAS,
        records: Iterable[CameraMean] = (),
    ) -> None:
        if not 1 <= least <= horizon or most < 1:
            raise ValueError(f"want 1 <= least <= horizon and most >= 1, got {least}, {horizon}, {most}")
        self.model = model
        self.least = least
        self.horizon = horizon
        self.most = most
        self.forgotten = 0
        # In order of their last vectors. A mean is replaced, never changed: copies share them.
        self._of = {each.camera: self._checked(each) for each in records}
        self._forget()

    def __len__(self) -> int:
        return len(self._of)

    @property
    def count(self) -> int:
        """How many vectors the mean of all cameras is of: of no camera more than the horizon."""
        return sum(min(each.count, self.horizon) for each in self._of.values())

    @property
    def enough(self) -> bool:
        """Whether there are vectors enough for the mean of all cameras: before, nothing is taken off."""
        return self.count >= self.least

    def add(self, vectors: F32, cameras: Cameras) -> None:
        """Takes vectors in order of time: one of each tracklet, so that nobody counts for the time that he stands.

        Args:
            vectors: (N, D), each of length 1.
            cameras: (N,) names.

        Raises:
            ValueError: a wrong dtype or shape, a vector that is not of length 1, a camera without a name.
        """
        expect("vectors", vectors, np.float32, (len(cameras), self.model.dimension))
        bad = ~of_unit_length(vectors)
        if bad.any():
            raise ValueError(f"vectors: row {bad.argmax()}: want finite numbers, and the length 1")
        names, number = _numbered(cameras)
        if "" in names:
            raise ValueError("cameras: one has no name; what no camera of the site took belongs to no mean")
        for i, name in enumerate(names):
            known = self._of.pop(name, None) or CameraMean(name, self.model.sha256, 0, np.zeros_like(vectors[0]))
            self._of[name] = self._moved(known, vectors[number == i])
        self._forget()

    def _forget(self) -> None:
        while len(self._of) > self.most:
            del self._of[next(iter(self._of))]
            self.forgotten += 1

    def _moved(self, known: CameraMean, vectors: F32) -> CameraMean:
        weight = 1.0 / np.minimum(np.arange(1, len(vectors) + 1) + known.count, self.horizon)
        kept = np.append(np.cumprod((1.0 - weight)[::-1])[::-1], 1.0)  # of each, after all that come from it on
        mean = kept[0] * known.mean + (weight * kept[1:]) @ vectors
        return CameraMean(known.camera, known.model, known.count + len(vectors), mean.astype(np.float32))

    def of(self, cameras: Cameras) -> F32:
        """Returns (N, D): what is taken off the vectors of `cameras` (N,).

        A name that is not known, such as "" for a photo that no camera of the site took, is a camera that gave none.
        """
        names, number = _numbered(cameras)
        table = np.zeros((len(names), self.model.dimension), np.float32)
        if self.enough:
            of_all = self._of_all()
            for i, name in enumerate(names):
                known = self._of.get(name)
                table[i] = of_all if known is None else self._blended(known, of_all)
        return table[number]

    def _blended(self, known: CameraMean, of_all: F32) -> F32:
        own = known.count / (known.count + self.least)
        blended: F32 = (own * known.mean + (1 - own) * of_all).astype(np.float32)
        return blended

    def _of_all(self) -> F32:
        mean = np.zeros(self.model.dimension)
        for each in self._of.values():
            mean += min(each.count, self.horizon) * each.mean
        of_all: F32 = (mean / self.count).astype(np.float32)
        return of_all

    def copy(self) -> Self:
        """Returns the means of now, which later vectors do not move."""
        return type(self)(self.model, self.least, self.horizon, self.most, self._of.values())

    def records(self) -> list[CameraMean]:
        """Returns what is to be stored: the camera that has been silent longest comes first.

        Cameras that gave fewer than `least` are left out: a mean of few is nearly the vector of somebody, and the store
        must be able to forget everybody. They begin anew, which costs little.
        """
        return [each for each in self._of.values() if each.count >= self.least]

    def _checked(self, record: CameraMean) -> CameraMean:
        who = f"mean of camera {record.camera!r}"
        if record.model != self.model.sha256:
            raise ValueError(f"{who}: of model {record.model[:12]!r}, want {self.model.sha256[:12]!r}")
        expect(who, record.mean, np.float32, (self.model.dimension,))
        if record.count < 1 or not np.isfinite(record.mean).all():
            raise ValueError(f"{who}: damaged; leave it out, it is learnt again")
        return record


def centred(vectors: F32, cameras: Cameras, means: CameraMeans) -> F32:
    """Returns (N, D) float32: `vectors` without the means of their cameras, of length 1 again.

    Args:
        vectors: (N, D), each of length 1.
        cameras: (N,) names.
        means: by the model that made the vectors.

    Raises:
        ValueError: a wrong dtype or shape.
    """
    expect("vectors", vectors, np.float32, (len(cameras), means.model.dimension))
    return unit(vectors - means.of(cameras))


def _numbered(cameras: Cameras) -> tuple[list[str], NDArray[np.int64]]:
    """Returns the names, each once, and (N,) the number of each one's name among them."""
    numbers: dict[str, int] = {}
    number = np.fromiter((numbers.setdefault(name, len(numbers)) for name in cameras), np.int64, len(cameras))
    return [str(name) for name in numbers], number
