"""Rates: how large a share of the tracklets of others reaches a score, as far as they show it and beyond.

The highest hundredth of the tracklets is not trusted: whoever is looked for may be among them, unknown. So a score
that more of them reach is rated by counting, and a rarer one by the tail of all scores: fitted where a tenth to a
hundredth reach, it falls off a little slower than that of a bell curve, and from the rarest that so many tracklets can
show it goes on no steeper, since nobody has seen it. A tracklet that somebody looked at and said is not the person
counts wherever it stands.

How sure that is comes from drawing blocks of tracklets anew: of those that share a block (a time, a person) each is
hardly news after the other.

Source: the tail is the generalised Pareto law above a threshold (Pickands, 1975) with its shape given; blocks are drawn
as by Kuensch (1989), without overlap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.reid.features import Flags
from watchline.trackers.tracks import I64

F64 = NDArray[np.float64]

TAIL: Final = 0.1  # share of the tracklets that the tail is fitted to
SUSPECT: Final = 0.01  # share of the tracklets, the highest, that may be of people who are looked for
SHAPE: Final = -0.1  # of the tail: 0 is exponential; a bell curve has -0.18 there, and nearer to 0 beyond
LEAST: Final = 100  # tracklets: with fewer the tail has under ten
CONFIDENCE: Final = 0.9
_DRAWS: Final = 200
_BODY: Final = 30  # scores of the table from the lowest to the tail
_FITTED: Final = 9  # that the tail is fitted to
_BEYOND: Final = 24  # and beyond, three to a tenth
_STEP: Final = 1e-9  # by which equal shares are told apart, so that every share has one score
_NEVER: Final = 1e-12  # in place of 0, which has no logarithm


@dataclass(frozen=True, slots=True)
class Rated:
    """A share, or a score, with the interval that it lies in, nine times in ten.

    Attributes:
        value: the best guess.
        low: end of the interval.
        high: likewise.
        extrapolated: the score is higher than the tracklets show; the tail tells.
    """

    value: float
    low: float
    high: float
    extrapolated: bool

    def times(self, factor: float) -> Rated:
        """Returns all of it times `factor`."""
        return Rated(self.value * factor, self.low * factor, self.high * factor, self.extrapolated)


@dataclass(frozen=True, slots=True, eq=False)
class RateCurve:
    """The share of tracklets that reaches a score, as a table of K scores. Between them its logarithm is a line.

    Attributes:
        score: (K,) float64, ascending.
        share: (K,) float64 in (0, 1], falling.
        low: (K,) float64, of the interval, never rising.
        high: (K,) float64, likewise.
        reach: higher scores are extrapolated.
        tracklets: that it was learnt from.
        far_above: how many of them stand where the tail has one in twenty such samples: likely who is looked for.

    Raises:
        ValueError: a wrong dtype or shape, or numbers out of order.
    """

    score: F64
    share: F64
    low: F64
    high: F64
    reach: float
    tracklets: int
    far_above: int

    def __post_init__(self) -> None:
        for name in ("score", "share", "low", "high"):
            column = getattr(self, name)
            expect(name, column, np.float64, (len(self.score),))
            if not np.isfinite(column).all():
                raise ValueError(f"{name}: want finite numbers")
        if len(self.score) < 2 or (np.diff(self.score) <= 0).any() or (np.diff(self.share) >= 0).any():
            raise ValueError("want at least two scores, each higher and of a smaller share than the one before")
        if not (self.low.min() > 0 and (self.low <= self.share).all() and (self.share <= self.high).all()):
            raise ValueError("want 0 < low <= share <= high")

    def share_at(self, score: float) -> Rated:
        """Returns the share of tracklets that reaches `score`; 1 below the lowest that was seen."""
        value, low, high = (self._at(score, column) for column in (self.share, self.low, self.high))
        return Rated(value, min(low, value), max(high, value), score > self.reach)

    def score_for(self, share: float) -> Rated:
        """Returns the score that `share` of the tracklets reaches, and where it lies nine times in ten.

        Raises:
            ValueError: the share is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"share: want more than 0, at most 1, got {share}")
        value, low, high = (self._where(share, column) for column in (self.share, self.low, self.high))
        return Rated(value, min(low, value), max(high, value), value > self.reach)

    def _at(self, score: float, column: F64) -> float:
        if score <= self.score[0]:
            return 1.0
        logs = np.log(column)
        beyond = max(score - float(self.score[-1]), 0.0)
        return math.exp(float(np.interp(score, self.score, logs)) + self._slope(logs) * beyond)

    def _where(self, share: float, column: F64) -> float:
        logs, wanted = np.log(column), math.log(share)
        if wanted < logs[-1]:
            return float(self.score[-1]) + (wanted - float(logs[-1])) / self._slope(logs)
        return float(np.interp(-wanted, -logs, self.score))

    def _slope(self, logs: F64) -> float:
        """Returns by how much the logarithm changes with the score at the end of the table; less than 0."""
        slope = float((logs[-1] - logs[-2]) / (self.score[-1] - self.score[-2]))
        return slope if slope < 0 else float(np.log(self.share[-1] / self.share[-2])) / float(np.diff(self.score)[-1])

    def record(self) -> dict[str, Any]:
        """Returns what is to be stored, as JSON has it."""
        table = {name: getattr(self, name).tolist() for name in ("score", "share", "low", "high")}
        return {**table, "reach": self.reach, "tracklets": self.tracklets, "far_above": self.far_above}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Returns the curve of a `record`.

        Raises:
            ValueError: it is damaged.
        """
        try:
            score, share, low, high = (np.array(record[name], np.float64) for name in ("score", "share", "low", "high"))
            counts = int(record["tracklets"]), int(record["far_above"])
            return cls(score, share, low, high, float(record["reach"]), *counts)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"rates: damaged ({error}); calibrate again") from error


def learn_rates(scores: F32, block: I64, known: Flags, seed: int = 0) -> RateCurve:
    """Returns how rare scores are, learnt from tracklets of nobody knows whom.

    Args:
        scores: (M,) the best score of each tracklet, finite; at least LEAST.
        block: (M,) tracklets of one number are drawn together.
        known: (M,) it is known that the tracklet is of nobody who is looked for.
        seed: of the draws.

    Raises:
        ValueError: a wrong dtype or shape, too few, or a score that is not finite.
    """
    count = len(scores)
    expect("scores", scores, np.float32, (count,))
    expect("block", block, np.int64, (count,))
    expect("known", known, np.bool_, (count,))
    if count < LEAST or not np.isfinite(scores).all():
        raise ValueError(f"want at least {LEAST} finite scores, got {count}")
    exact = scores.astype(np.float64)
    body, tail = _levels(exact, 1.0, TAIL, _BODY), _levels(exact, TAIL, SUSPECT, _FITTED)
    seen = np.union1d(body, tail)
    reaching = (exact[:, None] >= seen).astype(np.float64)
    drawn = np.concatenate([reaching.mean(axis=0)[None], _redrawn(reaching, block, np.random.default_rng(seed))])
    tails = _Tail.fitted(tail, drawn[:, np.searchsorted(seen, tail)], 1 / count)
    reach = float(seen[-1])
    beyond = tails.scores(math.log(10) / 3 * np.arange(1.0, _BEYOND + 1.0))
    score = np.concatenate([seen, np.union1d(beyond, exact[known & (exact > reach)])])
    shares = np.concatenate([drawn, drawn[:, -1:] * tails.shares(score[len(seen) :])], axis=1)
    rejected = (exact[known, None] >= score[len(seen) :]).sum(axis=0) / count
    shares[:, len(seen) :] = np.maximum(shares[:, len(seen) :], rejected)
    share = shares[0] * (1 - _STEP * np.arange(len(score)))
    low, high = np.quantile(np.maximum(shares[1:], _NEVER), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    rare = float(tails.scores(np.array([math.log(max(20 * count * drawn[0, -1], 1.0))]))[0])
    far_above = int((exact[~known] > rare).sum())
    return RateCurve(score, share, np.minimum(low, share), np.maximum(high, share), reach, count, far_above)


def _levels(scores: F64, most: float, least: float, count: int) -> F64:
    """Returns up to `count` scores, ascending, that `most` to `least` of all reach, at even steps of the logarithm."""
    found: F64 = np.unique(np.quantile(scores, 1 - np.geomspace(most, least, count), method="higher"))
    return found


def _redrawn(reaching: F64, block: I64, rng: np.random.Generator) -> F64:
    """Returns (DRAWS, K): the means of (M, K) `reaching` if other blocks of tracklets had come."""
    blocks, row = np.unique(block, return_inverse=True)
    order = np.argsort(row, kind="stable")
    start = np.searchsorted(row[order], np.arange(len(blocks)))
    sums = np.add.reduceat(np.column_stack([np.ones(len(row)), reaching])[order], start, axis=0)
    drawn = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=_DRAWS) @ sums
    means: F64 = drawn[:, 1:] / drawn[:, :1]
    return means


@dataclass(frozen=True, slots=True, eq=False)
class _Tail:
    """How the shares of R samples fall off above the score `start`.

    Attributes:
        start: score.
        scale: (R, 1).
        depth: (R, 1) logarithm of the fall that the samples show; beyond it they fall as steeply as there.
        reach: score from which on `shares` are told.
    """

    start: float
    scale: F64
    depth: F64
    reach: float

    @classmethod
    def fitted(cls, scores: F64, shares: F64, rarest: float) -> Self:
        """Returns the tails by shares (R, K) at scores (K,), ascending; `rarest` is the share of one tracklet."""
        excess = scores - scores[0]
        first = np.maximum(shares[:, :1], rarest)
        unscaled = _excess(np.log(first / np.maximum(shares, rarest)))
        scale = (unscaled @ excess)[:, None] / np.maximum((unscaled**2).sum(axis=1, keepdims=True), _NEVER)
        # Where all scores are one the tail has no width; some is needed for a table that rises.
        scale = np.maximum(scale, 1e-6 * max(1.0, abs(float(scores[-1]))))
        return cls(float(scores[0]), scale, np.log(first / rarest), float(scores[-1]))

    def shares(self, scores: F64) -> F64:
        """Returns (R, K): which part of those who reach `reach` reaches `scores` (K,) too."""
        shares: F64 = np.exp(self._falls(np.array([self.reach])) - self._falls(scores))
        return shares

    def scores(self, falls: F64) -> F64:
        """Returns (K,): where the logarithm of the first sample's share is less by `falls` (K,) than at `reach`."""
        falls = falls + self._falls(np.array([self.reach]))[0]
        within = np.minimum(falls, self.depth[0])
        scores: F64 = self.start + self.scale[0] * (_excess(within) + (falls - within) * np.exp(SHAPE * within))
        return scores

    def _falls(self, scores: F64) -> F64:
        excess, bend = (scores - self.start) / self.scale, _excess(self.depth)
        within = np.minimum(excess, bend)
        falls: F64 = np.log1p(SHAPE * within) / SHAPE + (excess - within) / (1 + SHAPE * bend)
        return falls


def _excess(falls: F64) -> F64:
    """Returns by how many scales a score lies above the start where the logarithm of the share is less by `falls`."""
    excess: F64 = np.expm1(SHAPE * falls) / SHAPE
    return excess
