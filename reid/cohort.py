"""Cohort: people of the site, nobody in particular, that tell how much a score is worth.

Some people look like many others: whoever is compared with them scores high. So a score is measured by how its
template, and how its probe, score against those of the cohort that are most like them: how many spreads it stands
above the mean of these, the mean of both. That is the adaptive symmetric normalisation (S-norm) of speaker recognition,
but for one thing: a spread is estimated from few people, and dividing by it alone was found to do harm. So it is drawn
half way to what is usual in the cohort.

How that was found, and how sizes were chosen: docs/scoring.md.

Source: Matejka et al., Analysis of Score Normalization in Multilingual Speaker Recognition, Interspeech 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from watchline.detectors.boxes import F32, expect
from watchline.reid.centring import Cameras
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.index import of_unit_length
from watchline.trackers.tracks import I64

LEAST: Final = 200
MOST: Final = 1000
TOP: Final = 20
USUAL: Final = 0.5  # share of the cohort's usual variance in a spread
LEAST_SPREAD: Final = 1e-3  # of cosines: where all are alike, a score is not blown up beyond all bounds
ITSELF: Final = 0.9999  # cosine from which a member is the very picture that it is compared with

_BLOCK: Final = 4096  # rows that are compared with the cohort at once: 16 MB for 1,000 members


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """How N vectors score against the cohort.

    Attributes:
        mean: (N,) float32.
        spread: (N,) float32, standard deviation.

    Raises:
        ValueError: a wrong dtype or shape.
    """

    mean: F32
    spread: F32

    def __post_init__(self) -> None:
        expect("mean", self.mean, np.float32, (len(self.mean),))
        expect("spread", self.spread, np.float32, (len(self.mean),))

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def usual(self) -> float:
        """The usual spread: root of the mean square; 0 for none."""
        return float(np.sqrt(np.mean(np.square(self.spread, dtype=np.float64)))) if len(self) else 0.0

    def drawn_to(self, usual: float) -> Moments:
        """Returns the same means, with spreads half way to the `usual` one, and no less than LEAST_SPREAD."""
        spread = np.sqrt((1 - USUAL) * np.square(self.spread) + USUAL * usual**2)
        return Moments(self.mean, np.maximum(spread, LEAST_SPREAD).astype(np.float32))


def moments(scores: F32, top: int) -> Moments:
    """Returns the moments of the `top` highest of each of N rows of scores (N, K), K at least `top`.

    >>> moments(np.float32([[0.3, -1.0, 0.1]]), top=2).mean
    array([0.2], dtype=float32)
    """
    best = np.partition(scores, scores.shape[1] - top, axis=1)[:, -top:]
    return Moments(best.mean(axis=1), best.std(axis=1))


def s_norm(scores: F32, template: Moments, probe: Moments) -> F32:
    """Returns (T, M) float32: scores in spreads above what templates and probes reach with the cohort.

    Args:
        scores: (T, M) of templates and probes.
        template: of the T templates.
        probe: of the M probes.
    """
    half = np.float32(0.5)
    scale = half / template.spread[:, None] + half / probe.spread
    shift = half * (template.mean / template.spread)[:, None] + half * (probe.mean / probe.spread)
    normed: F32 = scores * scale - shift
    return normed


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """A cohort as it is at one time, ready to measure by.

    Attributes:
        vectors: (K, D) float32 of length 1, prepared as those are that it measures.
        top: how many of the cohort count for each vector: those most like it.
        usual: spread of a member's scores.
    """

    vectors: F32
    top: int
    usual: float

    @classmethod
    def of(cls, vectors: F32, top: int = TOP) -> Self:
        """Returns the yardstick of a cohort's `vectors` (K, D); K is more than `top`."""
        return cls(vectors, top, _against(vectors, vectors, top).usual)

    def measure(self, vectors: F32) -> Moments:
        """Returns how `vectors` (N, D) of length 1 score against the cohort, by cosine.

        A member that is the vector itself counts for nothing: tracklets of the cohort are searched, too.
        """
        return _against(vectors, self.vectors, self.top).drawn_to(self.usual)


def _against(vectors: F32, cohort: F32, top: int) -> Moments:
    mean, spread = np.empty((2, len(vectors)), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        rows = slice(start, start + _BLOCK)
        scores = vectors[rows] @ cohort.T
        scores[scores > ITSELF] = -1  # the least that a cosine is
        found = moments(scores, top)
        mean[rows], spread[rows] = found.mean, found.spread
    return Moments(mean, spread)


class Cohort:
    """A fair sample of the tracklets of a site, by one model: any that was ever added is in it as likely as another.

    Not to be changed by one thread while another reads.

    Args:
        model: what makes the vectors.
        least: members that it must have before it is used.
        most: members that it may have.
        seed: of the choice; equal seeds and equal tracklets give equal cohorts.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, model: EmbeddingModel, least: int = LEAST, most: int = MOST, seed: int = 0) -> None:
        if not TOP < least <= most:
            raise ValueError(f"want {TOP} < least <= most, got {least} and {most}")
        self.model = model
        self.least = least
        self.most = most
        self.seen = 0
        self._random = np.random.default_rng(seed)
        self._vectors = np.zeros((most, model.dimension), np.float32)
        self._keys: list[int] = []
        self._cameras: list[str] = []

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def enough(self) -> bool:
        """Whether it has members enough to be used."""
        return len(self) >= self.least

    def add(self, keys: I64, vectors: F32, cameras: Cameras) -> None:
        """Offers tracklets, each once; it may take a place in the cohort, another one's where all are taken.

        Args:
            keys: (N,) int64, of the sightings, to remove them by.
            vectors: (N, D), each of length 1.
            cameras: (N,) names.

        Raises:
            ValueError: a wrong dtype or shape, or a vector that is not of length 1.
        """
        expect("keys", keys, np.int64, (len(cameras),))
        expect("vectors", vectors, np.float32, (len(cameras), self.model.dimension))
        bad = ~of_unit_length(vectors)
        if bad.any():
            raise ValueError(f"vectors: row {bad.argmax()}: want finite numbers, and the length 1")
        for key, vector, camera in zip(keys.tolist(), vectors, cameras, strict=True):
            self.seen += 1
            if len(self) < self.most:
                place = len(self)
                self._keys.append(key)
                self._cameras.append(str(camera))
            else:
                place = int(self._random.integers(self.seen))
                if place >= self.most:
                    continue
                self._keys[place], self._cameras[place] = key, str(camera)
            self._vectors[place] = vector

    def remove(self, keys: I64) -> int:
        """Removes members, with zeros written where they lay; returns how many. The next to come take their places."""
        gone = np.isin(np.array(self._keys, np.int64), keys)
        kept = np.nonzero(~gone)[0].tolist()
        self._vectors[: len(kept)] = self._vectors[kept]
        self._vectors[len(kept) :] = 0
        self._keys = [self._keys[i] for i in kept]
        self._cameras = [self._cameras[i] for i in kept]
        return int(gone.sum())

    def members(self) -> tuple[I64, F32, list[str]]:
        """Returns keys (K,), vectors (K, D) float32 and names of cameras of all members; copies."""
        return np.array(self._keys, np.int64), self._vectors[: len(self)].copy(), list(self._cameras)
