"""What is told of the site as a whole: detectors, journal, viewers, configuration, this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from watchline.pipeline.live.status import PoolState, PoolStatus
from watchline.pipeline.live.tally import Histogram
from watchline.pipeline.metrics.facts import Build, JournalFacts, ReloadFacts
from watchline.pipeline.metrics.process_facts import ProcessFacts

_ON = ("model", "device")


def detectors(pools: Mapping[str, PoolStatus]) -> Iterator[Metric]:
    """Yields what is told of the workers of each model."""
    info = GaugeMetricFamily(
        "watchline_detector_info",
        "What looks at frames, and on what. Always 1.",
        labels=(*_ON, "network", "sha256", "provider", "runtime"),
    )
    up = GaugeMetricFamily("watchline_detector_up", "1 while the model's workers take frames, else 0.", labels=_ON)
    workers = GaugeMetricFamily("watchline_detector_workers", "Batches that may be under way at once.", labels=_ON)
    deaths = CounterMetricFamily("watchline_detector_deaths", "Times that the detector failed.", labels=("model",))
    fallbacks = CounterMetricFamily(
        "watchline_detector_fallbacks", "Times that one device gave way to another.", labels=("model",)
    )
    fallen_back = GaugeMetricFamily(
        "watchline_detector_fallen_back", "1 while it runs on another device than the first asked for.", labels=_ON
    )
    queue = GaugeMetricFamily("watchline_queue_depth", "Frames that wait for a worker.", labels=("model",))
    batches = HistogramMetricFamily("watchline_batch_size", "Frames a batch.", labels=("model",))
    stages = HistogramMetricFamily(
        "watchline_stage_duration_seconds", "Time that a stage took.", labels=("model", "stage")
    )
    for name, pool in pools.items():
        on = (name, pool.device)
        info.add_metric((*on, _last_part(pool.network), pool.sha256, pool.provider, pool.runtime), 1)
        up.add_metric(on, int(pool.state is PoolState.RUNNING))
        workers.add_metric(on, pool.workers)
        deaths.add_metric((name,), pool.deaths)
        fallbacks.add_metric((name,), pool.fallbacks)
        fallen_back.add_metric(on, int(pool.fallen_back))
        queue.add_metric((name,), pool.waiting)
        add_histogram(batches, (name,), pool.batches)
        for stage, histogram in pool.stages.items():
            add_histogram(stages, (name, stage), histogram)
    yield from (info, up, workers, deaths, fallbacks, fallen_back, queue, batches, stages)


def _last_part(network: str) -> str:
    """Returns the name of a model's file without its folder, which is nobody's business."""
    return network.replace("\\", "/").rsplit("/", 1)[-1]


def add_histogram(family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram) -> None:
    """Adds what was tallied to a family."""
    bounds = (*(repr(bound) for bound in histogram.bounds), "+Inf")
    family.add_metric(labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total)


def journal(facts: JournalFacts) -> Iterator[Metric]:
    """Yields what is told of the journal."""
    yield CounterMetricFamily("watchline_journal_lines", "Lines written.", facts.lines)
    lost = CounterMetricFamily("watchline_journal_lost", "Lines that were not written, by why.", labels=("reason",))
    for reason, lines in facts.lost.items():
        lost.add_metric((reason,), lines)
    yield lost
    yield GaugeMetricFamily("watchline_journal_waiting", "Lines not yet written.", facts.waiting)
    yield GaugeMetricFamily("watchline_journal_size_bytes", "Of all files of the journal.", facts.kept_bytes)
    yield GaugeMetricFamily(
        "watchline_journal_failing", "1 while the journal cannot be written, else 0.", int(facts.failing)
    )
    free = GaugeMetricFamily("watchline_storage_free_bytes", "Left on the disk of the journal.", labels=())
    if facts.free_bytes is not None:
        free.add_metric((), facts.free_bytes)
    yield free
    yield GaugeMetricFamily(
        "watchline_storage_reserved_bytes", "What the site wants to be left there.", facts.reserved_bytes
    )


def site(viewers: int, reloads: ReloadFacts, build: Build) -> Iterator[Metric]:
    """Yields what is told of viewers, configuration and version."""
    yield GaugeMetricFamily("watchline_viewers", "Clients that look at live pictures.", viewers)
    counts = CounterMetricFamily(
        "watchline_config_reloads", "Times that the configuration was read again, by outcome.", labels=("reason",)
    )
    counts.add_metric(("ok",), reloads.ok)
    counts.add_metric(("refused",), reloads.refused)
    yield counts
    yield GaugeMetricFamily(
        "watchline_config_last_reload_successful",
        "1 if the configuration was taken when it was last read, 0 if it was refused.",
        int(reloads.last_ok),
    )
    yield GaugeMetricFamily(
        "watchline_config_last_reload_success_timestamp_seconds",
        "When the configuration that runs was taken, since 1970.",
        reloads.last_at,
    )
    info = GaugeMetricFamily("watchline_build_info", "What runs. Always 1.", labels=("version", "python"))
    info.add_metric((build.version, build.python), 1)
    yield info


def process(facts: ProcessFacts) -> Iterator[Metric]:
    """Yields what is told of this process and its children."""
    yield CounterMetricFamily(
        "watchline_process_cpu_seconds", "Processor time of this process and its children.", facts.cpu_s
    )
    for name, help_, value in (
        (
            "resident_memory_bytes",
            "Memory of this process and its children; shared memory in each.",
            facts.resident_bytes,
        ),
        ("open_fds", "Open files and connections of this process and its children.", facts.descriptors),
        ("threads", "Threads of this process and its children.", facts.threads),
        ("processes", "This process and its children.", facts.processes),
        ("start_time_seconds", "When this process began, since 1970.", facts.started_at),
    ):
        yield GaugeMetricFamily(f"watchline_process_{name}", help_, value)
