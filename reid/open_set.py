"""Open-set evaluation: of a watch list of N people, how many are found at which rate of false alarms?

Most who pass a camera are on no list. A tracklet of somebody on the list is found where its best template is the right
one and reaches the threshold (detection and identification rate, DIR); a tracklet of somebody else that reaches it is
a false alarm (false positive identification rate, FPIR). Each draw takes other people:

    watch list    N people, each enrolled by all tracklets of one or two cameras; asked for by tracklets of the others
    calibration   half of all others: the means of cameras, the cohort and the threshold come from these alone
    test          the other half: whose tracklets tell the rate of false alarms that the threshold really has

Nobody is on two sides; distractors (person 0) are each somebody of their own. As on a site, who sets the threshold
must not be in the cohort that scores them: of the calibration half a tenth at a time is scored by what was learnt from
the rest of it, the test by what was learnt from all of it.

One threshold serves all who are enrolled. One for each, so that each has the same share of the false alarms, was tried
and found no better at the same rate, and its rate is two to three times what was asked for: the tail of one template is
told by N times fewer tracklets.

Source: ISO/IEC 19795-1 (DIR, FPIR).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np

from watchline.detectors.boxes import F32
from watchline.reid.calibration import held_out
from watchline.reid.centring import CameraMeans
from watchline.reid.cohort import Cohort
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.features import DISTRACTOR, FeatureSet, Flags, Text, unit
from watchline.reid.rates import F64, LEAST, learn_rates
from watchline.reid.scoring import Best, Scorer, best
from watchline.reid.template import MOST_SHOTS, Shot, Template
from watchline.reid.variants import Rows, Trial, groups, means_of, tracks
from watchline.streams.errors import UsageError

SIZES: Final = (1, 10, 50, 100)
ENROLLED_BY: Final = (1, 2)
DRAWS: Final = 8
RATES: Final = tuple(float(rate) for rate in np.geomspace(1e-3, 1e-1, 13))  # with 1 %, the middle one, and 0.1 %
LEAST_PEOPLE: Final = 20  # on each side of those who are on no list


class Way(StrEnum):
    """What scores are made by; each goes on from the one before."""

    COSINE = "cosine"
    CENTRED = "centred"
    COHORT = "cohort"


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """T tracklets of people whom somebody named.

    Attributes:
        model: what made the vectors.
        vectors: (T, D) float32 of length 1, each the mean of its pictures.
        person: (T,) int64; each distractor has a number of its own.
        camera: (T,) text.
        named: (T,) bool, False for distractors, who cannot be looked for.
    """

    model: EmbeddingModel
    vectors: F32
    person: Rows
    camera: Text
    named: Flags

    @classmethod
    def of(cls, features: FeatureSet, distractors: bool = True) -> Self:
        """Returns the tracklets of `features`, queries and gallery alike; without distractors where not wanted.

        Raises:
            UsageError: it is not said who is in the pictures, or which camera took them.
        """
        kept = Trial.of(features).features
        if not distractors:
            kept = kept.take(kept.person_id > DISTRACTOR)
        person = kept.person_id.astype(np.int64)
        recording, track = tracks(kept)
        named = person > DISTRACTOR
        alone = np.where((track < 0) | ~named, np.arange(len(kept)), -1)
        _, camera = np.unique(kept.camera, return_inverse=True)
        group = groups(person, camera, recording, track, alone)
        _, first = np.unique(group, return_index=True)
        vectors = unit(np.stack([mean for _, mean, _ in means_of(group, kept.unit())]))
        person = np.where(named, person, person.max() + 1 + np.arange(len(kept)))
        return cls(kept.model, vectors, person[first], kept.camera[first], named[first])

    def shot(self, row: int) -> Shot:
        """Returns a tracklet as what somebody is enrolled by."""
        return Shot(str(row), self.model, self.vectors[row], str(self.camera[row]), "", "", 0.0, 0.0, float("nan"))


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What one draw of people showed, at each of the RATES.

    Attributes:
        found: (R,) DIR at the threshold that calibration set for the rate.
        people: (R,) share of the watch list found by at least one tracklet.
        realised: (R,) share of the test's tracklets that passed.
        at_rate: (R,) DIR at the threshold that exactly that share of the test's tracklets passes: nobody knows it
            beforehand.
        first: share of tracklets whose best template is the right one, whatever its score.
        probes: tracklets of people on the list.
        others: tracklets of the test.
    """

    found: F64
    people: F64
    realised: F64
    at_rate: F64
    first: float
    probes: int
    others: int


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What the draws of one watch list showed.

    Attributes:
        way: what scored.
        size: of the watch list.
        enrolled_by: how many cameras each is enrolled by.
        draws: at least one.
    """

    way: Way
    size: int
    enrolled_by: int
    draws: tuple[Draw, ...]

    @property
    def first(self) -> float:
        """The mean share of tracklets whose best template is the right one."""
        return sum(draw.first for draw in self.draws) / len(self.draws)

    def mean(self, name: str) -> F64:
        """Returns (R,): the mean over draws of what `Draw` has under `name`."""
        mean: F64 = self._all(name).mean(axis=0)
        return mean

    def spread(self, name: str) -> F64:
        """Returns (R,): the standard deviation over draws."""
        spread: F64 = self._all(name).std(axis=0)
        return spread

    def _all(self, name: str) -> F64:
        return np.array([getattr(draw, name) for draw in self.draws])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A watch list that these features are too few for.

    Attributes:
        size: of the watch list.
        enrolled_by: how many cameras each would be enrolled by.
        why: in words.
    """

    size: int
    enrolled_by: int
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """Rows of a pool, by side; `templates` one list of rows for each person of `watch`."""

    watch: Rows
    templates: tuple[Rows, ...]
    probes: Rows
    calibration: Rows
    test: Rows


def evaluate(
    pool: Pool,
    sizes: Sequence[int] = SIZES,
    enrolled_by: Sequence[int] = ENROLLED_BY,
    draws: int = DRAWS,
    seed: int = 0,
    ways: Sequence[Way] = tuple(Way),
) -> Iterator[Result | LeftOut]:
    """Yields what each size of watch list showed, as it is ready: for each way, or why it is left out.

    Args:
        pool: of tracklets.
        sizes: of the watch list.
        enrolled_by: how many cameras each is enrolled by; another must have seen them.
        draws: of people, anew for each.
        seed: equal seeds and pools give equal results.
        ways: to score.

    Raises:
        UsageError: a number less than 1.
    """
    if min([draws, *sizes, *enrolled_by]) < 1:
        raise UsageError(f"want at least 1 draw, person and camera, got {draws}, {list(sizes)} and {list(enrolled_by)}")
    for cameras in enrolled_by:
        for size in sizes:
            why = _too_few(pool, size, cameras)
            if why:
                yield LeftOut(size, cameras, why)
                continue
            splits = [
                _split(pool, size, cameras, np.random.default_rng([seed, size, cameras, draw])) for draw in range(draws)
            ]
            for way in ways:
                drawn: list[Draw] = []
                for split in splits:
                    draw = _draw(pool, way, split)
                    if isinstance(draw, str):
                        yield LeftOut(size, cameras, f"{way}: {draw}")
                        break
                    drawn.append(draw)
                else:
                    yield Result(way, size, cameras, tuple(drawn))


def _eligible(pool: Pool, cameras: int) -> Rows:
    """Returns the people that more than so many cameras saw."""
    seen = np.unique(np.stack([pool.person, np.unique(pool.camera, return_inverse=True)[1]], axis=1), axis=0)
    people, count = np.unique(seen[:, 0], return_counts=True)
    eligible: Rows = np.intersect1d(people[count > cameras], pool.person[pool.named])
    return eligible


def _too_few(pool: Pool, size: int, cameras: int) -> str:
    """Returns why a watch list cannot be drawn; "" where it can."""
    eligible, people = len(_eligible(pool, cameras)), len(np.unique(pool.person))
    if eligible < size:
        return f"{size} people seen by {cameras + 1} cameras or more are wanted, there are {eligible}"
    if (people - size) // 2 < LEAST_PEOPLE:
        return f"{people - size} people are left for calibration and test, {2 * LEAST_PEOPLE} are wanted"
    # At worst the calibration gets, of the people with names, those with the fewest tracklets.
    tracklets = np.sort(np.unique(pool.person[pool.named], return_counts=True)[1])
    least = int(tracklets[: (len(tracklets) - size) // 2].sum() + (~pool.named).sum() // 2)
    return "" if least >= LEAST else f"{least} tracklets may be left for calibration, {LEAST} are wanted"


def _split(pool: Pool, size: int, cameras: int, rng: np.random.Generator) -> _Split:
    watch = np.sort(rng.choice(_eligible(pool, cameras), size, replace=False))
    seen, templates = [], []
    for person in watch:
        rows = np.nonzero(pool.person == person)[0]
        by = rng.choice(np.unique(pool.camera[rows]), cameras, replace=False)
        enrolled = rows[np.isin(pool.camera[rows], by)]
        seen.append(enrolled)
        templates.append(enrolled if len(enrolled) <= MOST_SHOTS else rng.choice(enrolled, MOST_SHOTS, replace=False))
    listed = np.isin(pool.person, watch)
    halves: tuple[list[Rows], list[Rows]] = [], []
    for named in (True, False):  # each half gets its share of distractors
        people = rng.permutation(np.unique(pool.person[~listed & (pool.named == named)]))
        for half, part in zip(halves, np.array_split(people, 2), strict=True):
            half.append(part)
    calibration, test = (np.nonzero(np.isin(pool.person, np.concatenate(half)))[0] for half in halves)
    probes = np.setdiff1d(np.nonzero(listed)[0], np.concatenate(seen))
    return _Split(watch, tuple(templates), probes, calibration, test)


def _learn(pool: Pool, way: Way, rows: Rows) -> Scorer:
    """Returns the scorer by what `rows` tell of cameras and people."""
    means, cohort = None, None
    if way is not Way.COSINE:
        means = CameraMeans(pool.model)
        placed = rows[pool.camera[rows] != ""]  # of distractors it may not be known
        means.add(pool.vectors[placed], pool.camera[placed])
    if way is Way.COHORT:
        cohort = Cohort(pool.model)
        cohort.add(rows, pool.vectors[rows], pool.camera[rows])
    return Scorer(pool.model, means, cohort)


def _draw(pool: Pool, way: Way, split: _Split) -> Draw | str:
    """Returns what one draw showed, or what the way lacks to be tried, in words."""
    templates = [Template.of(*(pool.shot(row) for row in rows.tolist())) for rows in split.templates]

    def ranked(scorer: Scorer, rows: Rows) -> Best:
        probes = scorer.probes(pool.vectors[rows], pool.camera[rows])
        return best(scorer.scores(scorer.templates(templates), probes))

    people = pool.person[split.calibration]
    calibration = np.zeros(len(people), np.float32)
    for learn, held in held_out(people):
        scorer = _learn(pool, way, split.calibration[learn])
        if scorer.missing:
            return "; ".join(scorer.missing)
        calibration[held] = ranked(scorer, split.calibration[held]).score
    scorer = _learn(pool, way, split.calibration)
    test, probes = ranked(scorer, split.test).score, ranked(scorer, split.probes)
    curve = learn_rates(calibration, people, np.zeros(len(people), np.bool_))
    thresholds = np.array([curve.score_for(rate).value for rate in RATES])
    right = split.watch[probes.template] == pool.person[split.probes]
    passed = right[:, None] & (probes.score[:, None] >= thresholds)
    known = np.searchsorted(split.watch, pool.person[split.probes])
    found_people = np.array([np.bincount(known, each, minlength=len(split.watch)) > 0 for each in passed.T])
    return Draw(
        found=passed.mean(axis=0),
        people=found_people.mean(axis=1),
        realised=(test[:, None] >= thresholds).mean(axis=0),
        at_rate=_at_rate(probes.score[right], len(right), test),
        first=float(right.mean()),
        probes=len(right),
        others=len(test),
    )


def _at_rate(right: F32, probes: int, test: F32) -> F64:
    """Returns (R,): share of `probes` that stand above all but the rate's share of the test."""
    descending = np.sort(test)[::-1]
    allowed = np.minimum(np.floor(np.array(RATES) * len(test) + 1e-9).astype(int), len(test) - 1)
    found: F64 = (right[:, None] > descending[allowed]).sum(axis=0) / probes
    return found
