"""All metrics of a running site, as Prometheus reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from watchline.pipeline.live.status import GraphStatus
from watchline.pipeline.metrics import sighting_families, site_families
from watchline.pipeline.metrics.camera_page import CameraPage
from watchline.pipeline.metrics.facts import Facts
from watchline.pipeline.metrics.process_facts import ProcessWatch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPage:
    """The one exporter of a process: reads the facts and renders them. Safe to share between threads.

    Args:
        facts: where each number comes from.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._cameras = CameraPage()
        self._process = ProcessWatch()
        self._lock = threading.Lock()

    def render(self) -> bytes:
        """Returns all metrics of this moment in Prometheus' text format; one status is the base of all of them."""
        with self._lock:
            status = self._facts.status()
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Site(self._facts, status, self._process))
            return generate_latest(registry) + self._cameras.render(status.lanes).encode()


class _Site(Collector):
    """Gives prometheus-client what is not of one camera."""

    def __init__(self, facts: Facts, status: GraphStatus, process: ProcessWatch) -> None:
        self._facts, self._status, self._process = facts, status, process

    def describe(self) -> list[Metric]:
        """Returns nothing: names are known once numbers are."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields each metric."""
        facts = self._facts
        yield from site_families.site(facts.viewers(), facts.reloads(), facts.build)
        yield from site_families.detectors(self._status.pools)
        yield from site_families.journal(facts.journal())
        if (sightings := facts.sightings()) is not None:
            yield from sighting_families.sightings(sightings)
        yield from site_families.process(self._process.facts())
