"""Calibration: which score brings how many false alarms a day, told by the site's own tracklets that nobody labelled.

Each tracklet that was not the person would have been a false alarm where its best score, over all who are enrolled,
reaches the threshold. So the threshold is read off their scores, for the present people and cameras; with other
people, cameras, model or way to score it holds no longer, and says so. The person may be among the tracklets, unknown:
`rates` does not trust the highest, and `far_above` tells how many stand out.

The tracklets must not be those that the scores were normalised by (cohort.py): these score too low, and the threshold
would let through several times what was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.reid.features import Flags
from watchline.reid.rates import RateCurve, Rated, learn_rates
from watchline.trackers.tracks import I64

LEAST: Final = 500
LEAST_SCORE: Final = 0.5
DAY_S: Final = 86400.0

_BLOCK_S: Final = 600.0  # who passes several cameras, or comes back at once, is one piece of news
_LEAST_BLOCKS: Final = 20


@dataclass(frozen=True, slots=True)
class Basis:
    """What a calibration holds for; with another it is stale.

    Attributes:
        model: SHA-256 of what makes the vectors.
        scorer: what scores are made by, such as "centring, cohort".
        enrolled: keys of the templates.
        cameras: names of those that are matched.
    """

    model: str
    scorer: str
    enrolled: tuple[str, ...]
    cameras: tuple[str, ...]

    def changes(self, now: Basis) -> tuple[str, ...]:
        """Returns what is no longer as it was, in words; nothing where the calibration still holds."""
        told = []
        if now.model != self.model:
            told.append("another model makes the vectors")
        if now.scorer != self.scorer:
            told.append(f"scored by {now.scorer}, not by {self.scorer} as then")
        for before, after, what in (
            (self.enrolled, now.enrolled, "people enrolled"),
            (self.cameras, now.cameras, "cameras"),
        ):
            if set(before) != set(after):
                came, went = len(set(after) - set(before)), len(set(before) - set(after))
                told.append(f"{what}: {len(set(after))} now, {len(set(before))} then ({came} new, {went} gone)")
        return tuple(told)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """M tracklets of the site, nobody said of whom, and how they score.

    Attributes:
        scores: (M,) float32, the best of each over the enrolled: see `best_scores`; NaN is left out.
        started_at: (M,) float64, UTC seconds.
        rejected: (M,) bool, a person looked and said: not the one who is looked for.
        watched_s: seconds that were watched, of all cameras together.
        cameras: how many were watched.

    Raises:
        ValueError: a wrong dtype or shape, or a number out of range.
    """

    scores: F32
    started_at: NDArray[np.float64]
    rejected: Flags
    watched_s: float
    cameras: int

    def __post_init__(self) -> None:
        count = len(self.scores)
        expect("scores", self.scores, np.float32, (count,))
        expect("started_at", self.started_at, np.float64, (count,))
        expect("rejected", self.rejected, np.bool_, (count,))
        if np.isinf(self.scores).any() or not np.isfinite(self.started_at).all():
            raise ValueError("want scores that are numbers or NaN, and times that are numbers")
        if not (0 < self.watched_s < math.inf) or self.cameras < 1:
            raise ValueError(f"want watched_s > 0 and cameras >= 1, got {self.watched_s} and {self.cameras}")


@dataclass(frozen=True, slots=True)
class NotEnough:
    """There are too few tracklets to calibrate by.

    Attributes:
        tracklets: that there are.
        wanted: that there must be.
        hours: until these cameras will have seen so many, at the pace so far; infinity where they saw nobody.
    """

    tracklets: int
    wanted: int
    hours: float

    def __str__(self) -> str:
        """Says what is missing.

        >>> str(NotEnough(212, 500, 1.6))
        '212 of 500 tracklets of people; about 2 more hours of these cameras'
        """
        more = f"about {_hours(self.hours)} of these cameras" if self.hours < math.inf else "these cameras saw nobody"
        return f"{self.tracklets:,} of {self.wanted:,} tracklets of people; {more}"


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """How many false alarms a day a score brings.

    Attributes:
        basis: what it holds for.
        curve: which share of tracklets reaches a score.
        tracklets_a_day: that all cameras of the basis are taken to see.
        hours_of_day: how many of the 24 hours the tracklets are from; what comes at other hours is not in it.
        made_at: UTC seconds.
    """

    basis: Basis
    curve: RateCurve
    tracklets_a_day: float
    hours_of_day: int
    made_at: float

    def expected_alarms(self, score: float) -> Rated:
        """Returns the false alarms a day of a threshold of `score`: how many others a day score as high."""
        return self.curve.share_at(score).times(self.tracklets_a_day)

    def threshold(self, alarms_a_day: float) -> Rated:
        """Returns the score that brings so many false alarms a day; of more than there are tracklets, the lowest.

        Raises:
            ValueError: want more than 0.
        """
        return self.curve.score_for(min(alarms_a_day / self.tracklets_a_day, 1.0))

    def record(self) -> dict[str, Any]:
        """Returns what is to be stored, as JSON has it."""
        numbers = {name: getattr(self, name) for name in ("tracklets_a_day", "hours_of_day", "made_at")}
        return {"basis": asdict(self.basis), "curve": self.curve.record(), **numbers}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Returns the calibration of a `record`.

        Raises:
            ValueError: it is damaged.
        """
        try:
            basis = record["basis"]
            enrolled, cameras = (tuple(map(str, basis[name])) for name in ("enrolled", "cameras"))
            numbers = float(record["tracklets_a_day"]), int(record["hours_of_day"]), float(record["made_at"])
            curve = RateCurve.of_record(record["curve"])
            if not 0 < numbers[0] < math.inf:
                raise ValueError("no tracklets a day")
            return cls(Basis(str(basis["model"]), str(basis["scorer"]), enrolled, cameras), curve, *numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"calibration: damaged ({error}); calibrate again") from error


def calibrate(sample: Sample, basis: Basis, now: float, least: int = LEAST, seed: int = 0) -> Calibration | NotEnough:
    """Returns what the site's tracklets tell of thresholds, or what is missing.

    Args:
        sample: of people only: see `of_people`.
        basis: what its scores are of.
        now: UTC seconds.
        least: tracklets that there must be, at least 100.
        seed: of the draws that tell how sure it is; equal samples and seeds give equal calibrations.
    """
    counted = ~np.isnan(sample.scores)
    count = int(counted.sum())
    hours = sample.watched_s / sample.cameras / 3600
    if count < least:
        return NotEnough(count, least, hours * (least / count - 1) if count else math.inf)
    times = sample.started_at[counted]
    curve = learn_rates(sample.scores[counted], blocks_of(times), sample.rejected[counted], seed)
    a_day = count / sample.watched_s * DAY_S * len(set(basis.cameras))
    return Calibration(basis, curve, a_day, len(np.unique(times // 3600 % 24)), now)


def best_scores(scores: F32, confirmed: Flags) -> F32:
    """Returns (M,) float32: the best score of each tracklet; NaN where every pair of it is confirmed.

    Args:
        scores: (T, M) of T templates and M tracklets; finite.
        confirmed: (T, M) bool, it is that person: no false alarm, left out.

    Raises:
        ValueError: a wrong dtype or shape.
    """
    expect("scores", scores, np.float32, (len(scores), confirmed.shape[-1]))
    expect("confirmed", confirmed, np.bool_, scores.shape)
    best: F32 = np.where(confirmed, np.float32(-np.inf), scores).max(axis=0, initial=-np.inf)
    return np.where(np.isneginf(best), np.float32(np.nan), best)


def of_people(detection_score: F32, quality: F32, least_score: float = LEAST_SCORE) -> Flags:
    """Returns (M,) bool: which tracklets show people surely enough to calibrate by.

    What is no person scores low, and so many of them would make people seem rarer than they are.

    Args:
        detection_score: (M,) the best of each tracklet, in [0, 1].
        quality: (M,) of its best picture; NaN where no picture was good enough to describe it by.
        least_score: of the detections.
    """
    return (detection_score >= least_score) & ~np.isnan(quality)


def watched_s(started_at: NDArray[np.float64], cameras: Sequence[str], longest_gap_s: float = 3600.0) -> float:
    """Returns how many seconds were watched, all cameras together, as far as the tracklets themselves tell.

    From one tracklet of a camera to its next it was watched, but no longer than `longest_gap_s`: so too few rather
    than too many, which makes a day's alarms too many rather than too few.
    """
    names = np.asarray(cameras, dtype=np.str_)
    gaps = [np.diff(np.sort(started_at[names == name])) for name in np.unique(names)]
    return float(sum(np.minimum(each, longest_gap_s).sum() for each in gaps))


def blocks_of(started_at: NDArray[np.float64]) -> I64:
    """Returns (M,) int64: the block of time of each tracklet; ten minutes, or less for at least twenty blocks."""
    first = started_at.min(initial=math.inf)
    span = max(started_at.max(initial=-math.inf) - first, 0.0)
    length = min(_BLOCK_S, span / _LEAST_BLOCKS) or 1.0
    number: I64 = ((started_at - first) // length).astype(np.int64)
    return number


def held_out(group: I64, folds: int = 10) -> Iterator[tuple[I64, I64]]:
    """Yields rows to learn from and rows to score by what was learnt, until each row was scored once.

    Rows of one group (a person, a block of time) stay together. So whoever helps to set a threshold has not helped to
    normalise the scores that it is set by.

    Args:
        group: (M,) of each row.
        folds: parts; the groups are dealt to them in turn. With few of them what is learnt from is much smaller than
            what will score in the end, and the threshold becomes too high.
    """
    part = np.unique(group, return_inverse=True)[1] % folds
    for number in range(folds):
        yield np.nonzero(part != number)[0], np.nonzero(part == number)[0]


def _hours(hours: float) -> str:
    """Returns a time that remains, no more exact than it is known.

    >>> _hours(0.2), _hours(30), _hours(100)
    ('12 more minutes', '30 more hours', '4 more days')
    """
    for least, unit, length in ((72, "day", 24.0), (1.5, "hour", 1.0)):
        if hours >= least:
            return f"{hours / length:.0f} more {unit}s"
    return f"{max(math.ceil(hours * 60), 1)} more minutes"
