"""Transit: how long people take from one camera to the next, learnt from those that were found on both.

Of each ordered pair of cameras there is a histogram of seconds between the end of one sighting and the start of the
next, of pairs that show one person, and one of pairs that do not. What they say together is the log-odds: above 0
where one person would take so long rather than two different ones would happen to, below where not. It is a hint that
moves a score, never a window: it is bounded both ways, and 0 where nothing was learnt. Before strangers were
learnt, each bin counts as likely by chance as another.

Two cameras that see one place see a person at one time; so a start before the other's end is a bin of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.reid.centring import Cameras
from watchline.reid.index import F64

EDGES_S: Final = tuple(float(edge) for edge in np.geomspace(1, 86_400, 34).round(1))
"""Where one bin ends and the next begins, seconds: half as much again each. Before and after are two more bins, and
starts before the end, the overlaps, one: 36 in all."""

LIMIT: Final = 3.0
PRIOR: Final = 10.0
MOST_PAIRS: Final = 4096
MOST_WEIGHT: Final = 2000.0

_KERNEL: Final = np.array([0.25, 0.5, 0.25])
_OVERLAP: Final = 0


@dataclass(frozen=True, slots=True, eq=False)
class PairTimes:
    """What is known of one ordered pair of cameras, as it is stored.

    Attributes:
        start: camera of the sighting that ended.
        end: camera of the sighting that began.
        same: (B,) float64, weight of pairs of one person in each bin.
        other: (B,) float64, likewise of two different people.
    """

    start: str
    end: str
    same: F64
    other: F64


@dataclass(frozen=True, slots=True)
class Next:
    """Where somebody may be seen next.

    Attributes:
        camera: name.
        from_s: seconds after the last sighting's end; -infinity for a camera that sees the same place.
        to_s: likewise; infinity for the last bin.
        share: of all that is expected, in [0, 1].
    """

    camera: str
    from_s: float
    to_s: float
    share: float


class TransitPrior:
    """The hint that times and cameras give.

    Not to be changed by one thread while another reads.

    Args:
        edges_s: ascending, above 0, seconds.
        limit: that log-odds do not pass, either way.
        prior: weight of "as for two different people" in each pair's histogram: so many pairs must say otherwise.
        most: pairs of cameras; beyond them the one learnt from longest ago is forgotten, and counted in `forgotten`.
        most_weight: of a histogram; beyond it, all of it is scaled down, so that new pairs keep their say.
        records: to go on from, as `records` returned them.

    Raises:
        ValueError: a number out of range, or a record of other bins.
    """

    def __init__(
        self,
        edges_s: Iterable[float] = EDGES_S,
        limit: float = LIMIT,
        prior: float = PRIOR,
        most: int = MOST_PAIRS,
        most_weight: float = MOST_WEIGHT,
        records: Iterable[PairTimes] = (),
    ) -> None:
        self.edges_s: F64 = np.array(tuple(edges_s), np.float64)
        if not len(self.edges_s) or not (np.diff(self.edges_s, prepend=0.0) > 0).all():
            raise ValueError(f"edges_s: want ascending numbers above 0, got {self.edges_s.tolist()}")
        if min(limit, prior, most, most_weight) <= 0:
            raise ValueError(f"want numbers above 0, got {limit}, {prior}, {most} and {most_weight}")
        self.limit = limit
        self.prior = prior
        self.most = most
        self.most_weight = most_weight
        self.forgotten = 0
        self._of: dict[tuple[str, str], PairTimes] = {}
        for each in records:
            self._keep(self._checked(each))

    @property
    def bins(self) -> int:
        """How many bins there are: overlap, up to the first edge, between edges, and beyond the last."""
        return len(self.edges_s) + 2

    def __len__(self) -> int:
        return len(self._of)

    def bin_of(self, gap_s: F64) -> NDArray[np.int64]:
        """Returns (N,) the bin of gaps (N,) in seconds; what is below 0 overlaps."""
        return np.where(gap_s < 0, _OVERLAP, np.searchsorted(self.edges_s, gap_s, side="right") + 1)

    def learn(self, start: Cameras, end: Cameras, gap_s: F64, weight: F64, same: bool) -> None:
        """Takes N pairs of sightings.

        Args:
            start: (N,) cameras of the sightings that ended.
            end: (N,) cameras of those that began.
            gap_s: (N,) seconds from the end of the one to the start of the other; below 0 where they overlap.
            weight: (N,) how sure it is, above 0: 1 for a confirmed pair, less for a likely one.
            same: whether they are pairs of one person, or of two different people, taken at random.

        Raises:
            ValueError: a wrong dtype or shape, or a number that is none.
        """
        pairs, number = _pairs(start, end)
        expect("gap_s", gap_s, np.float64, (len(number),))
        expect("weight", weight, np.float64, (len(number),))
        if not np.isfinite(gap_s).all() or not ((weight > 0) & (weight <= 1)).all():
            raise ValueError("want gaps that are finite, and weights above 0, at most 1")
        for i, pair in enumerate(pairs):
            rows = number == i
            fresh = np.bincount(self.bin_of(gap_s[rows]), weight[rows], self.bins)
            known = self._of.get(pair) or PairTimes(*pair, np.zeros(self.bins), np.zeros(self.bins))
            if same:
                self._keep(PairTimes(*pair, self._bounded(known.same + fresh), known.other))
            else:
                self._keep(PairTimes(*pair, known.same, self._bounded(known.other + fresh)))

    def log_odds(self, start: Cameras, end: Cameras, gap_s: F64) -> F32:
        """Returns (N,) float32 in [-limit, limit], for N pairs as `learn` takes them.

        It is 0 where nothing is known: of cameras that were never learnt, and of a gap that is NaN.
        """
        pairs, number = _pairs(start, end)
        expect("gap_s", gap_s, np.float64, (len(number),))
        table = np.array([self._odds(pair) for pair in pairs], np.float32).reshape(-1, self.bins)
        odds = table[number, self.bin_of(gap_s)]
        odds[np.isnan(gap_s)] = 0
        return odds

    def hints(self, camera: str, span: tuple[float, float], cameras: Cameras, start_at: F64, end_at: F64) -> F32:
        """Returns (N,) log-odds that N sightings are of the person of one: whichever began first comes first.

        Args:
            camera: of that one.
            span: when it began and ended, UTC seconds.
            cameras: (N,) of the others.
            start_at: (N,) when they began, UTC seconds; NaN where their clock is not that of the one.
            end_at: (N,) when they ended.
        """
        after = start_at >= span[0]
        gap_s = np.where(after, start_at - span[1], span[0] - end_at)
        first = [camera if later else str(other) for later, other in zip(after.tolist(), cameras, strict=True)]
        second = [str(other) if later else camera for later, other in zip(after.tolist(), cameras, strict=True)]
        return self.log_odds(first, second, gap_s)

    def where_next(self, camera: str, waited_s: float = 0.0) -> list[Next]:
        """Returns where somebody may be seen next whom `camera` saw last, most likely first; nothing where not learnt.

        Args:
            camera: of the last sighting.
            waited_s: seconds since its end in which nobody was found; what is past is left out.
        """
        starts = np.concatenate([[-np.inf, 0.0], self.edges_s])
        ends = np.concatenate([[0.0], self.edges_s, [np.inf]])
        found = [
            (pair.end, place, weight)
            for pair in self._of.values()
            if pair.start == camera
            for place, weight in enumerate(_smoothed(pair.same).tolist())
            if weight > 0 and (waited_s <= 0 or ends[place] > waited_s)
        ]
        total = sum(weight for *_, weight in found)
        order = sorted(found, key=lambda each: (-each[2], each[0], each[1]))
        return [Next(name, float(starts[at]), float(ends[at]), weight / total) for name, at, weight in order]

    def records(self) -> list[PairTimes]:
        """Returns what is to be stored: the pair learnt from longest ago comes first."""
        return list(self._of.values())

    def _odds(self, pair: tuple[str, str]) -> F32:
        """Returns (B,): the log of how much more often one person takes so long than two people happen to."""
        known = self._of.get(pair)
        if known is None:
            return np.zeros(self.bins, np.float32)
        # A gap that was never seen of two people is no proof: some of "as often as any other" is always in it.
        by_chance = _smoothed(known.other) + 1.0 / self.bins
        by_chance /= by_chance.sum()
        one_person = (_smoothed(known.same) + self.prior * by_chance) / (known.same.sum() + self.prior)
        odds: F32 = np.clip(np.log(one_person / by_chance), -self.limit, self.limit).astype(np.float32)
        return odds

    def _keep(self, pair: PairTimes) -> None:
        self._of.pop((pair.start, pair.end), None)
        self._of[pair.start, pair.end] = pair
        if len(self._of) > self.most:
            del self._of[next(iter(self._of))]
            self.forgotten += 1

    def _bounded(self, weights: F64) -> F64:
        bounded: F64 = weights * min(1.0, self.most_weight / weights.sum())
        return bounded

    def _checked(self, record: PairTimes) -> PairTimes:
        for name, weights in (("same", record.same), ("other", record.other)):
            expect(f"{name} of {record.start!r} to {record.end!r}", weights, np.float64, (self.bins,))
            if not (np.isfinite(weights).all() and (weights >= 0).all()):
                raise ValueError(f"{name} of {record.start!r} to {record.end!r}: damaged; leave it out")
        return record


def _pairs(start: Cameras, end: Cameras) -> tuple[list[tuple[str, str]], NDArray[np.int64]]:
    """Returns the pairs, each once, and (N,) the number of each one's pair among them."""
    numbers: dict[tuple[str, str], int] = {}
    each = (numbers.setdefault((str(a), str(b)), len(numbers)) for a, b in zip(start, end, strict=True))
    number = np.fromiter(each, np.int64, len(start))
    return list(numbers), number


def _smoothed(weights: F64) -> F64:
    """Returns (B,) with the sum of `weights`: each bin shares with its neighbours, but overlap is no neighbour."""
    rest = weights[_OVERLAP + 1 :]
    padded = np.concatenate([rest[:1], rest, rest[-1:]])
    return np.concatenate([weights[: _OVERLAP + 1], np.convolve(padded, _KERNEL, "valid")])
