"""Drawn people for tests of scoring: who they are, what cameras add to all their pictures, and vectors of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.reid.index_kit import model_of
from watchline.detectors.boxes import F32
from watchline.reid.features import unit
from watchline.trackers.tracks import I64

WIDTH = 64
MODEL = model_of(WIDTH)
CAMERAS = ("door", "gate", "yard")


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Tracklets: of each person one by each camera; what a camera adds to all is twice as large as a person is."""

    vectors: F32
    person: I64
    cameras: list[str]

    def of(self, camera: str) -> F32:
        return self.vectors[[name == camera for name in self.cameras]]


def seen(people: int, seed: int = 0, noise: float = 1.0) -> Seen:
    rng = np.random.default_rng(seed)
    view = 2 * np.random.default_rng(99).standard_normal((len(CAMERAS), WIDTH))  # the same whoever walks by
    identity = rng.standard_normal((people, WIDTH))
    vectors = identity[:, None] + view + noise * rng.standard_normal((people, len(CAMERAS), WIDTH))
    person = np.repeat(np.arange(people), len(CAMERAS))
    return Seen(unit(vectors.reshape(-1, WIDTH).astype(np.float32)), person, list(CAMERAS) * people)


def f32(numbers: Sequence[float] | Sequence[Sequence[float]]) -> F32:
    return np.array(numbers, np.float32)


def first_right(scores: F32, person: I64) -> float:
    """Returns for how many of the probes the template of their person, row by number, is the best."""
    return float((scores.argmax(axis=0) == person).mean())
