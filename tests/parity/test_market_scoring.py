"""The parts of scoring on 150 real people: each helps those that nothing was learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bench.scoring import Market, found_at, hints, pairs, ranked, watch_list
from watchline.reid.cohort import Cohort, Yardstick, s_norm
from watchline.reid.scoring import Part, Scorer
from watchline.reid.template import Shot, Template
from watchline.reid.transit import TransitPrior

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def market(data_dir: Path) -> Market:
    return Market.of(data_dir / "reid/market150_osnet_feats.npz")


def test_templates_find_tracklets_by_the_scorer_nearly_as_well_as_the_best_way_to_rank(market: Market) -> None:
    gallery, query = market.gallery, market.query
    cohort = Cohort(market.model)
    cohort.add(np.arange(len(gallery.vectors)), gallery.vectors, gallery.camera)
    templates = [
        Template.of(Shot("", market.model, vector, str(camera), "", "", 0.0, 0.0, 1.0))
        for vector, camera in zip(market.shots, query.camera, strict=True)
    ]
    worth = {}
    for scorer in (Scorer(market.model, market.means()), Scorer(market.model, market.means(), cohort)):
        probes = scorer.probes(gallery.vectors, gallery.camera)
        scores = scorer.scores(scorer.templates(templates), probes)
        worth[Part.COHORT in scorer.parts] = ranked(scores, query.labels, gallery.labels)
    assert worth[False].rank(1) > 0.87
    assert worth[False].rank(20) > 0.98
    assert worth[False].mean_ap > 0.77
    assert worth[True].mean_ap > worth[False].mean_ap - 0.01  # what it does for alarms costs a list nothing


def test_a_cohort_finds_more_at_the_same_rate_of_false_alarms(market: Market) -> None:
    with_it, without = [], []
    for draw in range(100, 112):
        templates, probes, mated, members = watch_list(market, 10, draw)
        cosine, yardstick = templates @ probes.T, Yardstick.of(members[:500])
        without.append(found_at(cosine, mated, 0.01))
        with_it.append(found_at(s_norm(cosine, yardstick.measure(templates), yardstick.measure(probes)), mated, 0.01))
    assert np.mean(with_it) > np.mean(without)


def test_times_of_some_people_help_to_find_others(market: Market) -> None:
    scorer = Scorer(market.model, market.means())
    for rng, query, learnt in market.halves(1, seed=5):
        prior, known = TransitPrior(), market.gallery.take(learnt & (market.gallery.person > 0))
        for same in (True, False):
            start, end, gap_s = pairs(known, same, rng)
            prior.learn(start, end, gap_s, np.ones(len(gap_s)), same)
        asked, whole = market.query.take(~query), market.gallery.take(~learnt)
        sides = (scorer.probes(each.vectors, each.camera) for each in (asked, whole))
        scores = scorer.scores(*sides)
        plain = ranked(scores, asked.labels, whole.labels)
        hinted = ranked(scorer.hinted(scores, hints(prior, asked, whole)), asked.labels, whole.labels)
        assert hinted.rank(1) > plain.rank(1) + 0.03
        assert hinted.rank(20) >= plain.rank(20)
        assert hinted.mean_ap > plain.mean_ap + 0.02
