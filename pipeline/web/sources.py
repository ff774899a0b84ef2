"""What the HTTP interface reads: one-method seams to the rest of the daemon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from watchline.pipeline.live.status import GraphStatus
from watchline.pipeline.metrics.facts import SightingFacts


class Picture(Protocol):
    """A JPEG."""

    @property
    def number(self) -> int:
        """Above that of every picture before."""

    @property
    def data(self) -> bytes:
        """The file."""


class Watch(Protocol):
    """One client's look at a camera. Nothing here waits, if `timeout_s` is 0."""

    @property
    def ended(self) -> bool:
        """Whether no picture will come any more, for the camera was removed."""

    def next(self, after: int, timeout_s: float) -> Picture | None:
        """Returns the newest picture, if its number is above `after`; None if none came in time."""

    def close(self) -> None:
        """Ends it; safe to call twice."""


class Pictures(Protocol):
    """Live pictures with boxes; each is encoded once for all clients.

    Both raise UsageError where too many look already, or there is no such camera.
    """

    def watch(self, camera: str, notify: Callable[[], None] | None = None) -> Watch:
        """Begins a look; `notify` is called after each new picture and at the end, from any thread."""

    def snapshot(self, camera: str, timeout_s: float) -> Picture | None:
        """Returns a picture of now; None if none came in time."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where every answer comes from; all may be called from any thread.

    Attributes:
        site: its name.
        version: of watchline.
        status: of the graph.
        metrics: what Prometheus reads, as `MetricsPage.render` gives it; None where it may not.
        pictures: live pictures.
        ailing: why the daemon as a whole is not well; "" while it is.
        patience_s: for how long a camera may have no frame processed and still count as advancing.
        absent: cameras of the site that are not read at all, and why.
        sightings: what is kept of people seen; None where nothing is.
    """

    site: str
    version: str
    status: Callable[[], GraphStatus]
    metrics: Callable[[], bytes] | None
    pictures: Pictures
    ailing: Callable[[], str] = lambda: ""
    patience_s: float = 15.0
    absent: Callable[[], Mapping[str, str]] = dict
    sightings: Callable[[], SightingFacts | None] = lambda: None


class RecentStatus:
    """The status of the graph, read anew at most every `keep_s`, however many clients ask.

    Args:
        status: reads it.
        keep_s: for how long an answer is good enough.
    """

    def __init__(self, status: Callable[[], GraphStatus], keep_s: float = 0.25) -> None:
        self._status = status
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._kept: tuple[float, GraphStatus] | None = None

    def __call__(self) -> GraphStatus:
        """Returns it. Safe to call from any thread."""
        with self._lock:
            now_s = time.monotonic()
            if self._kept is None or now_s - self._kept[0] > self._keep_s:
                self._kept = now_s, self._status()
            return self._kept[1]
