"""Scoring: how well templates and probes agree: cosine, and what makes it tell people apart, part by part.

    cosine     of the vectors
    centring   the mean of each vector's camera is taken off first (centring.py)
    cohort     the score is told in spreads above what people of the site reach (cohort.py)

Scores of different parts do not compare: a threshold is good for the parts that it was set by. Re-ranking
(rerank.py) is none of them: it puts more people in the first place and fewer among the first twenty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32, expect
from watchline.reid.centring import CameraMeans, Cameras, centred
from watchline.reid.cohort import Cohort, Moments, Yardstick, s_norm
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.template import Template
from watchline.streams.errors import UsageError
from watchline.trackers.tracks import I64

HINT_BY_COSINE: Final = 0.1  # of a score, for one of log-odds: docs/scoring.md
HINT_BY_COHORT: Final = 1.0


class Part(StrEnum):
    """What a score is made by."""

    COSINE = "cosine"
    CENTRING = "centring"
    COHORT = "cohort"


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """N vectors made ready to be scored: of templates, or of probes.

    Attributes:
        vectors: (N, D) float32 of length 1, centred where that is on.
        moments: of N vectors against the cohort; None where that is off.
    """

    vectors: F32
    moments: Moments | None

    def __len__(self) -> int:
        return len(self.vectors)


class Scorer:
    """Scores by the means and the cohort of now: what is learnt later needs another one.

    It never changes, so threads may share it.

    Args:
        model: what makes the vectors.
        means: of its cameras; None leaves centring off.
        cohort: of its tracklets; None leaves the normalisation off.

    Attributes:
        model: what makes the vectors.
        parts: that are on.
        missing: why a part is off that was given, in words of a user: "30 of 100 tracklets for the cohort".

    Raises:
        UsageError: means or cohort are of another model.
    """

    def __init__(self, model: EmbeddingModel, means: CameraMeans | None = None, cohort: Cohort | None = None) -> None:
        for other in (means, cohort):
            if other is not None and other.model.sha256 != model.sha256:
                raise UsageError(f"what was learnt by {other.model.name} is no help to {model.name}; learn it anew")
        parts, missing = {Part.COSINE}, []
        self.model = model
        self._means: CameraMeans | None = None
        self._yardstick: Yardstick | None = None
        if means is not None and means.enough:
            parts.add(Part.CENTRING)
            self._means = means.copy()
        elif means is not None:
            missing.append(f"{means.count} of {means.least} tracklets for the means of cameras")
        if cohort is not None and cohort.enough:
            parts.add(Part.COHORT)
            _, vectors, cameras = cohort.members()
            self._yardstick = Yardstick.of(self._centred(vectors, cameras))
        elif cohort is not None:
            missing.append(f"{len(cohort)} of {cohort.least} tracklets for the cohort")
        self.parts = frozenset(parts)
        self.missing = tuple(missing)

    def templates(self, templates: Sequence[Template]) -> Side:
        """Returns T templates made ready, each with its shots.

        Raises:
            UsageError: one has no shots, or is of another model.
        """
        for each in templates:
            if each.model.sha256 != self.model.sha256:
                raise UsageError(f"a template by {each.model.name} does not compare with what {self.model.name} made")
        vectors = [each.vector(self._means) for each in templates]
        return self._side(np.stack(vectors) if vectors else np.zeros((0, self.model.dimension), np.float32))

    def probes(self, vectors: F32, cameras: Cameras) -> Side:
        """Returns M probes made ready.

        Args:
            vectors: (M, D), each of length 1.
            cameras: (M,) names; "" for what no camera of the site took.

        Raises:
            ValueError: a wrong dtype or shape.
        """
        expect("vectors", vectors, np.float32, (len(cameras), self.model.dimension))
        return self._side(self._centred(vectors, cameras))

    def scores(self, templates: Side, probes: Side) -> F32:
        """Returns (T, M) float32, higher is closer.

        Raises:
            ValueError: a side was made ready by another scorer, of other parts.
        """
        cosine: F32 = templates.vectors @ probes.vectors.T
        if templates.moments is not None and probes.moments is not None:
            return s_norm(cosine, templates.moments, probes.moments)
        if templates.moments is not probes.moments:
            raise ValueError("one side was measured by a cohort, the other was not: make both ready by one scorer")
        return cosine

    def hinted(self, scores: F32, log_odds: F32) -> F32:
        """Returns `scores` moved by what times and cameras hint: log-odds of a `TransitPrior`, of the same shape."""
        weight = np.float32(HINT_BY_COHORT if Part.COHORT in self.parts else HINT_BY_COSINE)
        moved: F32 = scores + weight * log_odds
        return moved

    def _centred(self, vectors: F32, cameras: Cameras) -> F32:
        return vectors if self._means is None else centred(vectors, cameras, self._means)

    def _side(self, vectors: F32) -> Side:
        return Side(vectors, None if self._yardstick is None else self._yardstick.measure(vectors))


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The best template for each of M probes.

    Attributes:
        template: (M,) int64 row.
        score: (M,) float32.
        margin: (M,) float32: how far the best template of another person is behind; NaN where there is no other.
    """

    template: I64
    score: F32
    margin: F32


def best(scores: F32, person: I64 | None = None) -> Best:
    """Returns the best template for each probe, and its margin to the runner-up; of equals the first.

    Args:
        scores: (T, M), T at least 1.
        person: (T,) whose template each is; None where each is of another person.

    >>> best(np.float32([[0.75, 0.25], [0.5, 0.5]])).margin
    array([0.25, 0.25], dtype=float32)
    """
    person = np.arange(len(scores), dtype=np.int64) if person is None else person
    expect("person", person, np.int64, (len(scores),))
    first = scores.argmax(axis=0).astype(np.int64)
    score = scores.max(axis=0)
    others = np.where(person[:, None] == person[first], -np.inf, scores).max(axis=0)
    margin = np.where(np.isneginf(others), np.nan, score - others)
    return Best(first, score, margin.astype(np.float32))
