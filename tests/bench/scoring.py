"""`python -m tests.bench.scoring [--features FILE]`: what the parts of scoring are worth, and why their numbers are so.

The file is of the Market-1501 form. People are split by chance, many times: what is learnt (means, cohort, times) is
learnt from some of them and measured on others. Figures are percent, means over the draws.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from tests.bench.table import table
from watchline.detectors.boxes import F32
from watchline.reid.centring import LEAST, CameraMeans, centred
from watchline.reid.cohort import TOP, Yardstick, moments, s_norm
from watchline.reid.embeddings import EmbeddingModel
from watchline.reid.evaluate import Labels, Scores, measure
from watchline.reid.features import Text, read_features, unit
from watchline.reid.fusing import reciprocal, standard, weighted
from watchline.reid.transit import TransitPrior
from watchline.reid.variants import Trial
from watchline.trackers.tracks import I64

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FRAMES_S: Final = 25.0
DRAWS: Final = 16
OPEN_DRAWS: Final = 40

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """N tracklets, or queries: vectors, who, which camera, when in which recording (as far as names tell)."""

    vectors: F32
    labels: Labels
    camera: Text
    recording: NDArray[np.str_]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    @property
    def person(self) -> NDArray[np.int32]:
        return self.labels.person

    def take(self, rows: Flags, vectors: F32 | None = None) -> Side:
        taken = (self.vectors if vectors is None else vectors)[rows]
        return Side(
            taken,
            self.labels.take(np.nonzero(rows)[0]),
            self.camera[rows],
            self.recording[rows],
            self.start_s[rows],
            self.end_s[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The set: one picture a query, all that its camera saw of the person, and the gallery's tracklets."""

    model: EmbeddingModel
    query: Side
    shots: F32
    gallery: Side

    @classmethod
    def of(cls, path: Path) -> Self:
        trial = Trial.of(read_features(path))
        vectors, camera = trial.features.unit(), trial.features.camera
        names = trial.features.names.tolist()
        time_s = np.array([int(name.split("_")[2]) / FRAMES_S for name in names])
        recording = np.array([name.split("_")[1].split("s")[1] for name in names])  # one of all cameras
        first, tracklets = trial._tracklets(vectors)
        person = trial.labels.person
        key = [f"{person[row] or row} {names[row].split('_')[1]}" for row in range(len(names))]
        times: dict[str, list[float]] = {}
        for row in trial.gallery.tolist():
            times.setdefault(key[row], []).append(time_s[row])
        span = np.array([(min(times[key[row]]), max(times[key[row]])) for row in first.tolist()])
        q = trial.query
        query = Side(vectors[q], trial.labels.take(q), camera[q], recording[q], time_s[q], time_s[q])
        gallery = Side(tracklets, trial.labels.take(first), camera[first], recording[first], span[:, 0], span[:, 1])
        return cls(trial.features.model, query, trial._shots(vectors), gallery)

    def halves(self, draws: int, seed: int = 0) -> Iterator[tuple[np.random.Generator, Flags, Flags]]:
        """Yields a generator, and which of queries and gallery are of one half of the people; distractors likewise."""
        rng = np.random.default_rng(seed)
        people = np.unique(self.query.person)
        for _ in range(draws):
            half = rng.choice(people, len(people) // 2, replace=False)
            distractor = (self.gallery.person == 0) & (rng.random(len(self.gallery.person)) < 0.5)
            yield rng, np.isin(self.query.person, half), np.isin(self.gallery.person, half) | distractor

    def means(self, rows: Flags | None = None) -> CameraMeans:
        means = CameraMeans(self.model)
        rows = np.ones(len(self.gallery.person), np.bool_) if rows is None else rows
        means.add(self.gallery.vectors[rows], self.gallery.camera[rows])
        return means


def ranked(scores: F32, query: Labels, gallery: Labels) -> Scores:
    return measure(lambda rows: scores[rows], query, gallery)


def mean_of(found: list[tuple[float, ...]]) -> list[str]:
    return [f"{100 * each:.1f}" for each in np.mean(found, axis=0)]


Rule = Callable[[F32, NDArray[np.float64], F32], F32]
"""Takes each camera's mean (C, D), how many it is of (C,), and that of all (D,); returns what is taken off (C, D)."""


def switch(least: int) -> Rule:
    """Returns the rule that takes off nothing, the mean of all, or the camera's own, as soon as it is of `least`."""
    return lambda own, count, whole: np.where(
        count[:, None] >= least, own, whole if count.sum() >= least else 0 * whole
    )


def blend(least: int) -> Rule:
    """Returns the rule of `CameraMeans`."""

    def rule(own: F32, count: NDArray[np.float64], whole: F32) -> F32:
        if count.sum() < least:
            return np.zeros_like(own)
        return ((own * count[:, None] + least * whole) / (count[:, None] + least)).astype(np.float32)

    return rule


RULES: Final[dict[str, Rule]] = {
    "nothing": lambda own, count, whole: np.zeros_like(own),
    "mean of all": lambda own, count, whole: np.broadcast_to(whole, own.shape),
    "its own": lambda own, count, whole: own,
    "switch at 20": switch(20),
    "switch at 50": switch(50),
    **{f"blend, {least}": blend(least) for least in (10, LEAST, 50)},
}


def warm_up(market: Market) -> str:
    """Rank 1 and mAP of tracklets by many shots, when each camera has given so many tracklets."""
    names, camera = np.unique(market.gallery.camera, return_inverse=True)
    asked = np.searchsorted(names, market.query.camera)
    rows = []
    for count in (2, 5, 10, 20, 50, 100):
        found: dict[str, list[tuple[float, ...]]] = {name: [] for name in RULES}
        for rng, query, learnt in market.halves(DRAWS, count):
            own, n = np.zeros((len(names), market.model.dimension), np.float32), np.zeros(len(names))
            for i in range(len(names)):
                there = np.nonzero(learnt & (camera == i))[0]
                some = rng.choice(there, min(count, len(there)), replace=False)
                own[i], n[i] = market.gallery.vectors[some].mean(axis=0), len(some)
            whole = ((own * n[:, None]).sum(axis=0) / n.sum()).astype(np.float32)
            for name, rule in RULES.items():
                off = rule(own, n, whole)
                scores = unit(market.shots - off[asked])[~query] @ unit(market.gallery.vectors - off[camera])[~learnt].T
                worth = ranked(scores, market.query.take(~query).labels, market.gallery.take(~learnt).labels)
                found[name].append((worth.rank(1), worth.mean_ap))
        rows.append([str(count), *(" / ".join(mean_of(each)) for each in found.values())])
    return table(["tracklets a camera", *RULES], rows)


def horizons(market: Market) -> str:
    """The same for means that move: 2,000 tracklets a camera, drawn again and again from the half that is learnt."""
    rows = []
    for horizon in (25, 50, 100, 200, 500, 10**6):
        found: list[tuple[float, ...]] = []
        for rng, query, learnt in market.halves(DRAWS, 7):
            means = CameraMeans(market.model, horizon=horizon)
            for name in np.unique(market.gallery.camera):
                some = rng.choice(np.nonzero(learnt & (market.gallery.camera == name))[0], 2000)
                means.add(market.gallery.vectors[some], market.gallery.camera[some])
            probes = centred(market.gallery.vectors, market.gallery.camera, means)[~learnt]
            scores = centred(market.shots, market.query.camera, means)[~query] @ probes.T
            worth = ranked(scores, market.query.take(~query).labels, market.gallery.take(~learnt).labels)
            found.append((worth.rank(1), worth.rank(20), worth.mean_ap))
        rows.append([f"{horizon:,}", *mean_of(found)])
    return table(["horizon", "rank 1", "rank 20", "mAP"], rows)


def found_at(scores: F32, mated: I64, rate: float) -> float:
    """Returns the share of mated probes whose best template is the right one, and above what `rate` of others pass."""
    top, who = scores.max(axis=0), scores.argmax(axis=0)
    threshold = np.quantile(top[mated < 0], 1 - rate, method="higher")
    return float(((who == mated) & (top > threshold))[mated >= 0].mean())


def watch_list(market: Market, enrolled: int, draw: int) -> tuple[F32, F32, I64, F32]:
    """Returns templates of two cameras each, probes, whose they are (-1 for strangers), and 80 people to compare with.

    The cohort and the probes hold no person in common; distractors (what a detector took for people) are in both.
    """
    rng, gallery = np.random.default_rng(draw), market.gallery
    people = rng.permutation(np.unique(market.query.person))
    vectors = centred(gallery.vectors, gallery.camera, market.means())
    cohort = np.isin(gallery.person, people[enrolled : enrolled + 80])
    cohort |= (gallery.person == 0) & (rng.random(len(cohort)) < 0.4)
    templates, probe = [], ~cohort
    for person in people[:enrolled]:
        cameras = rng.permutation(np.unique(gallery.camera[gallery.person == person]))
        shot = (gallery.person == person) & np.isin(gallery.camera, cameras[: max(1, min(2, len(cameras) - 1))])
        templates.append(unit(vectors[shot].mean(axis=0, keepdims=True))[0])
        probe &= ~shot
    row = {int(person): i for i, person in enumerate(people[:enrolled])}
    mated = np.array([row.get(int(person), -1) for person in gallery.person[probe]], np.int64)
    return np.stack(templates), vectors[probe], mated, vectors[rng.permutation(np.nonzero(cohort)[0])]


SIZES: Final = ((50, TOP), (100, TOP), (200, TOP), (300, TOP), (500, 10), (500, TOP), (500, 50))


def ways(templates: F32, probes: F32, members: F32) -> Iterator[tuple[str, F32]]:
    """Yields ways to normalise: their name, and the scores."""
    cosine, every = templates @ probes.T, members[:500]
    yield "no cohort", cosine
    for name, top in ((f"all of {len(every)}", len(every)), (f"top {TOP} of {len(every)}", TOP)):
        yield (
            f"{name}, their own spread",
            s_norm(cosine, *(moments(each @ every.T, top) for each in (templates, probes))),
        )
    for size, top in SIZES:
        yardstick = Yardstick.of(members[:size], top)
        yield f"top {top} of {size}", s_norm(cosine, yardstick.measure(templates), yardstick.measure(probes))


def cohorts(market: Market) -> str:
    """Share found at 1 % and 0.1 % false alarms, with cohorts of several sizes and ways to normalise."""
    rows = []
    for enrolled in (10, 30):
        found: dict[str, list[tuple[float, ...]]] = {}
        for draw in range(OPEN_DRAWS):
            templates, probes, mated, members = watch_list(market, enrolled, draw)
            for name, scores in ways(templates, probes, members):
                found.setdefault(name, []).append(tuple(found_at(scores, mated, rate) for rate in (0.01, 0.001)))
        rows += [[f"{enrolled} enrolled, {name}", *mean_of(each)] for name, each in found.items()]
    return table(["people and cohort", "at 1 %", "at 0.1 %"], rows)


def pairs(side: Side, same: bool, rng: np.random.Generator) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Returns cameras and gaps of pairs of one recording; of two different people one in ten."""
    earlier = (side.start_s[:, None] <= side.start_s) & (side.recording[:, None] == side.recording)
    earlier &= (side.camera[:, None] != side.camera) & ((side.person[:, None] == side.person) == same)
    first, then = np.nonzero(earlier & (same | (rng.random(earlier.shape) < 0.1)))
    return side.camera[first].tolist(), side.camera[then].tolist(), side.start_s[then] - side.end_s[first]


def hints(prior: TransitPrior, query: Side, gallery: Side) -> F32:
    """Returns (Q, G) log-odds; 0 between recordings, whose clocks do not agree."""
    rows = []
    for camera, recording, at in zip(query.camera, query.recording, query.start_s, strict=True):
        start_at = np.where(gallery.recording == recording, gallery.start_s, np.nan)
        end_at = np.where(gallery.recording == recording, gallery.end_s, np.nan)
        rows.append(prior.hints(str(camera), (at, at), gallery.camera, start_at, end_at))
    return np.stack(rows)


def transits(market: Market, draws: int = 8, weights: tuple[float, ...] = (0, 2, 5, 10, 15, 20, 30)) -> str:
    """Rank 1 / rank 20 / mAP of one picture, with so much of the log-odds added; to cosines a tenth of that."""
    rows = [[f"{weight / 10:g}", *cells] for weight, cells in hinted(market, draws, weights).items()]
    return table(["weight", "by cosine", "by cohort"], rows, left=0)


def hinted(market: Market, draws: int, weights: tuple[float, ...]) -> dict[float, list[str]]:
    means = market.means()
    whole = centred(market.gallery.vectors, market.gallery.camera, means)
    asked = centred(market.query.vectors, market.query.camera, means)
    found: dict[tuple[float, bool], list[tuple[float, ...]]] = {}
    for rng, query, learnt in market.halves(draws):
        prior, known = TransitPrior(), market.gallery.take(learnt & (market.gallery.person > 0))
        for same in (True, False):
            start, end, gap_s = pairs(known, same, rng)
            prior.learn(start, end, gap_s, np.ones(len(gap_s)), same)
        q, g = market.query.take(~query, asked), market.gallery.take(~learnt, whole)
        yardstick = Yardstick.of(whole[learnt])
        cosine, odds = q.vectors @ g.vectors.T, hints(prior, q, g)
        normed = s_norm(cosine, yardstick.measure(q.vectors), yardstick.measure(g.vectors))
        for weight in weights:
            for by_cohort, scores, scale in ((False, cosine, 0.01), (True, normed, 0.1)):
                worth = ranked(scores + np.float32(weight * scale) * odds, q.labels, g.labels)
                found.setdefault((weight, by_cohort), []).append((worth.rank(1), worth.rank(20), worth.mean_ap))
    return {weight: [" / ".join(mean_of(found[weight, way])) for way in (False, True)] for weight in weights}


FUSIONS: Final[dict[str, Callable[[F32], F32]]] = {
    "body alone": lambda scores: scores[0],
    "weighted": lambda scores: weighted(standard(scores)),
    "weighted 1 to 1/2": lambda scores: weighted(standard(scores), np.array([1, 0.5], np.float32)),
    "reciprocal": reciprocal,
}


def fusions(market: Market) -> str:
    """Rank 1 and mAP of a body and a made-up second view of the same people.

    The view is a random projection to 128 numbers, with noise, of the body's vector drawn to the mean of the person's
    over all cameras, by 0, half or all of the way: that is what a face adds: the same from all sides.
    """
    means, gallery = market.means(), market.gallery
    whole = centred(gallery.vectors, gallery.camera, means)
    asked = centred(market.query.vectors, market.query.camera, means)
    of = {
        int(p): unit(whole[gallery.person == p].mean(axis=0, keepdims=True))[0] for p in np.unique(gallery.person) if p
    }
    ideal = [
        np.stack([of.get(int(p), v) for p, v in zip(person, vectors, strict=True)])
        for person, vectors in ((market.query.person, asked), (gallery.person, whole))
    ]
    body, rows = asked @ whole.T, []
    for drawn, unseen in ((d, u) for d in (0.0, 0.5, 1.0) for u in (0.0, 0.5, 0.8)):
        rng = np.random.default_rng(0)
        base = rng.standard_normal((market.model.dimension, 128)).astype(np.float32)
        views = []
        for vectors, person in zip((asked, whole), ideal, strict=True):
            noise = 0.06 * rng.standard_normal(vectors.shape).astype(np.float32)
            views.append(unit(((1 - drawn) * vectors + drawn * person + noise) @ base))
        face = views[0] @ views[1].T
        full = ranked(face, market.query.labels, gallery.labels)
        face[:, rng.random(len(whole)) < unseen] = np.nan
        cells = [f"{100 * full.rank(1):.1f}", f"{100 * unseen:.0f}"]
        both = [np.stack(pair) for pair in zip(body, face, strict=True)]
        for fuse in FUSIONS.values():
            worth = ranked(np.stack([fuse(each) for each in both]), market.query.labels, gallery.labels)
            cells.append(f"{100 * worth.rank(1):.1f} / {100 * worth.mean_ap:.1f}")
        rows.append(cells)
    return table(["second view alone, rank 1", "unseen, %", *FUSIONS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT.parent / "shared/data/reid/market150_osnet_feats.npz"
    parser.add_argument("--features", type=Path, default=default)
    market = Market.of(parser.parse_args().features)
    for part in (warm_up, horizons, cohorts, transits, fusions):
        print(f"\n{inspect.getdoc(part)}\n\n{part(market)}", flush=True)


if __name__ == "__main__":
    main()
