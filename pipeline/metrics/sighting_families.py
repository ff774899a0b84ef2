"""What is told of sightings: tracklets, what describes them, and their store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from watchline.pipeline.live.seeing import SeeingStatus
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.metrics.facts import SightingFacts
from watchline.pipeline.metrics.site_families import add_histogram


def sightings(facts: SightingFacts) -> Iterator[Metric]:
    """Yields what is told of them."""
    yield from _tracklets(facts.seeing)
    yield from _vectors(facts.seeing)
    yield from _store(facts)


def _tracklets(seeing: SeeingStatus) -> Iterator[Metric]:
    ended = CounterMetricFamily("watchline_tracklets", "Parts of tracks of people that ended.", labels=("camera",))
    for camera, count in seeing.tracklets.items():
        ended.add_metric((camera,), count)
    yield ended
    yield GaugeMetricFamily("watchline_tracklets_waiting", "Those that wait to be described.", seeing.waiting)
    yield GaugeMetricFamily("watchline_tracklets_waiting_bytes", "What those that wait hold.", seeing.waiting_bytes)
    yield _counts("watchline_tracklets_undescribed", "Those stored without vectors, by why.", seeing.undescribed)
    yield _counts(
        "watchline_tracklets_spared", "What was left out of them to stay within bounds, by what.", seeing.spared
    )
    yield CounterMetricFamily(
        "watchline_sighting_faults", "Frames and tracklets of which no sighting could be made.", seeing.faults
    )
    looks = HistogramMetricFamily(
        "watchline_sighting_look_seconds", "Time that looking for people in a frame took the thread that tracks."
    )
    add_histogram(looks, (), seeing.looks)
    yield looks


def _vectors(seeing: SeeingStatus) -> Iterator[Metric]:
    up = int(seeing.state is PoolState.RUNNING)
    yield GaugeMetricFamily("watchline_describer_up", "1 while vectors of people are made, else 0.", up)
    yield CounterMetricFamily("watchline_describer_deaths", "Times that what makes them failed.", seeing.deaths)
    crops = CounterMetricFamily(
        "watchline_embedded_crops", "Pictures of which vectors were made, by what they show.", labels=("kind",)
    )
    for kind, count in seeing.crops.items():
        crops.add_metric((kind,), count)
    yield crops
    batches = HistogramMetricFamily("watchline_embedding_seconds", "Time that vectors of several tracklets took.")
    add_histogram(batches, (), seeing.batches)
    yield batches


def _store(facts: SightingFacts) -> Iterator[Metric]:
    store = facts.store
    yield CounterMetricFamily("watchline_sightings_stored", "Sightings written.", store.stored)
    yield _counts("watchline_sightings_refused", "Sightings that were not kept, by why.", facts.refused())
    yield GaugeMetricFamily("watchline_sightings_waiting", "Sightings that wait to be written.", store.waiting)
    yield GaugeMetricFamily("watchline_sightings_size_bytes", "Of the files of their store.", store.size_bytes)
    yield GaugeMetricFamily(
        "watchline_sightings_failing", "1 while sightings cannot be written, else 0.", int(store.failing)
    )
    purged = CounterMetricFamily(
        "watchline_sightings_purged", "What the retention erased, by kind of data.", labels=("kind",)
    )
    for kind, count in store.purged.items():
        purged.add_metric((kind,), count)
    yield purged
    yield CounterMetricFamily(
        "watchline_sightings_trimmed", "Sightings erased before their time, for want of room.", store.trimmed
    )
    yield GaugeMetricFamily(
        "watchline_sightings_purge_failing",
        "1 where the retention could not be applied when that was tried last, else 0.",
        int(store.purge_failing),
    )
    yield CounterMetricFamily(
        "watchline_sightings_purges_held",
        "Times that less was erased than the clock says, as it is far ahead of the time that is known.",
        store.purges_held,
    )
    yield GaugeMetricFamily(
        "watchline_sightings_clock_ahead_seconds",
        "By how much the clock is ahead of what the retention believes, where that is more than a day, else 0.",
        store.clock_ahead_s,
    )


def _counts(name: str, about: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, about, labels=("reason",))
    for reason, count in counts.items():
        family.add_metric((reason,), count)
    return family
