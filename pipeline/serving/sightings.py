"""Sightings of a site that keeps them: collectors, vectors, store and retention, put together."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from watchline import __version__
from watchline.pipeline.live.describing import Describe, Describer
from watchline.pipeline.live.outcome import Outlet
from watchline.pipeline.live.pool import Network
from watchline.pipeline.live.purging import Clocks, Purging
from watchline.pipeline.live.seeing import Seeing, SeeingParts, SeeingStatus
from watchline.pipeline.metrics.facts import SightingFacts, StoreFacts
from watchline.pipeline.serving.clock import synchronised
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.sightings import sighting_of
from watchline.pipeline.site.dumping import show
from watchline.pipeline.site.kept import Retention, Sightings
from watchline.pipeline.site.site import Camera, Site
from watchline.pipeline.site.tracking import choice_of
from watchline.pipeline.store.asking import LIVE
from watchline.pipeline.store.connecting import check_file, engine_of
from watchline.pipeline.store.failures import WrongStore, refused, told
from watchline.pipeline.store.ids import Ids
from watchline.pipeline.store.reopening import ReopeningStore
from watchline.pipeline.store.seam import Erased, Keep
from watchline.pipeline.store.sighting import Provenance
from watchline.pipeline.store.sqlite import SqliteStore, open_store
from watchline.pipeline.store.unfinished import unfinished_line
from watchline.pipeline.store.upgrading import SCHEMA, check_schema, schema_of
from watchline.pipeline.store.writer import CLOSED, ERROR, FULL, QUEUE_FULL, StoreWriter, WriterStatus
from watchline.reid.collector import Collector, CollectorSettings
from watchline.streams.errors import OutputError, WatchlineError

_log = logging.getLogger(__name__)

_LOST: Final = "lost"
_REASONS: Final = (FULL, ERROR, QUEUE_FULL, CLOSED, _LOST)
_DAY_S: Final = 86400.0
_SEEING_SHARE: Final = 0.6  # of the time for the end; the rest is the writer's
_LONGER: Final = 1.2  # an end is waited for, than a tracker waits for whom it lost
_FACE_SCALE: Final = 2  # pictures may be so much larger where faces are looked for: those of near people are worth it
_LOOK_S: Final = 0.3  # rarer than in a file: pictures are 2% worse, and it takes two thirds of the time
_PICTURES_BYTES: Final = 256 << 20  # of open tracks, of all cameras together
_LEAST_BYTES: Final = 4 << 20
_MOST_BYTES: Final = 64 << 20
_SMALL_BYTES: Final = 64 << 20  # a store of this size may be had, however little is left
_TRIES: Final = 10


class SightingKeeping:
    """All that becomes of people seen. Every method may be called from any thread.

    Args:
        site: that keeps sightings.
        settings: of them.
        networks: finds the models that describe people.

    Raises:
        ModelError: one cannot be had or run, or is another than the site says.
        WrongStore: what the site names is no store, or may not be used. A store that is damaged, held by another
            program, or on a full disk is told by `facts`, and tried again.
        UsageError: a model does something else, or the store's file is a folder.
    """

    def __init__(self, site: Site, settings: Sightings, networks: Networks) -> None:
        people = networks.people(settings)
        self._settings = settings
        self._digest: tuple[Site | None, str] = None, ""  # of the site as it runs now
        self._cameras: dict[str, Camera] = {}
        self._share_bytes = min(_MOST_BYTES, max(_LEAST_BYTES, _PICTURES_BYTES // max(1, len(site.cameras))))
        self._path = site.sightings_file
        self._store = ReopeningStore(self._path, partial(_opened, self._path))

        def reopen() -> Describe:
            return networks.people(settings, expected=people).describe

        self._describer = Describer(people.describe, reopen, budget=settings.budget, workers=settings.workers)
        self._writer = StoreWriter(self._store)
        make = partial(sighting_of, Ids(), pictures=settings.crops)
        self._seeing = Seeing(SeeingParts(self._looks, self._describer, make, self._writer.put, settings.workers))
        self._retention = site.retention
        clocks = Clocks(synchronised=synchronised)
        self._purging = Purging(self._store, _keep(site.retention), self._trim, clocks=clocks)
        self._progress = Progress()

    def outlet(self, site: Site, camera: Camera, network: Network) -> Outlet:
        """Returns what takes the outcomes of a camera.

        Args:
            site: as it runs now.
            camera: one of its cameras, which begins or begins anew.
            network: what finds people there.
        """
        self._cameras[camera.id] = camera
        return self._seeing.outlet(camera.id, self._provenance(site, camera, network), wanted=camera.sightings)

    def change(self, site: Site, camera: Camera, network: Network) -> None:
        """Keeps what a camera that goes on sees from now on, or no more; see `outlet`."""
        self._seeing.change(camera.id, self._provenance(site, camera, network), wanted=camera.sightings)

    def leave(self, camera: str) -> None:
        """Ends what is open in a camera that begins anew or goes."""
        self._seeing.remove(camera)

    def forget(self, camera: str) -> None:
        """Tells nothing more of a camera that is gone; what was stored of it stays."""
        self._seeing.forget(camera)
        self._cameras.pop(camera, None)

    def retain(self, retention: Retention) -> None:
        """Keeps data for another time, or in another room, from now on."""
        self._retention = retention
        self._purging.retain(_keep(retention))

    def stuck(self, bound_s: float) -> tuple[str, ...]:
        """Returns which parts did nothing for `bound_s`, though they should have."""
        wrote = self._writer.status()
        idle = not wrote.queued or bool(wrote.trouble) or self._purging.status().busy  # erasing makes it wait
        ages = {
            "sightings": self._seeing.status().advanced_s,
            "store of sightings": self._progress.age_s(0 if idle else wrote.queued, wrote.stored + wrote.lost),
        }
        return tuple(name for name, age_s in ages.items() if age_s > bound_s)

    def facts(self) -> SightingFacts:
        """Returns how things stand."""
        seeing, wrote = self._together()
        purge = self._purging.status()
        trouble = self._store.trouble or (wrote.last_error if wrote.trouble else "")
        unkept = {reason: wrote.refused.get(reason, 0) for reason in _REASONS} | {_LOST: wrote.lost}
        store = StoreFacts(
            wrote.stored,
            unkept,
            wrote.queued,
            _size_bytes(self._path),
            bool(trouble),
            f"sightings are not written: {trouble}" if trouble else "",
            purge.purged,
            purge.trimmed,
            purge.failing,
            purge.held,
            purge.ahead_s,
            purge.sentence,
        )
        return SightingFacts(seeing, store)

    def close(self, timeout_s: float) -> bool:
        """Describes and stores what is open, as far as there is time; returns whether all was stored."""
        begun_s = time.monotonic()
        before = self._writer.status()
        lost = self._seeing.close(_SEEING_SHARE * timeout_s)
        after = self._writer.close(max(0.1, timeout_s - (time.monotonic() - begun_s)))
        lost += after.queued + after.lost - before.lost + sum(after.refused.values()) - sum(before.refused.values())
        if lost:
            _log.error("%d sightings could not be stored: %s", lost, after.last_error or "there was no time left")
        self._purging.close(0.1)
        self._store.close()
        return not lost

    def _provenance(self, site: Site, camera: Camera, network: Network) -> Provenance:
        if self._digest[0] is not site:  # once for all its cameras: of many it takes long
            self._digest = site, hashlib.sha256(show(site).encode()).hexdigest()
        choice = choice_of(camera.tracker)
        return Provenance(
            source=LIVE,
            detector=network.network,
            detector_sha256=network.sha256,
            tracker=" ".join((choice.name, choice.preset, *choice.settings)),
            config_sha256=self._digest[1],
            version=__version__,
        )

    def _together(self) -> tuple[SeeingStatus, WriterStatus]:
        """Returns both at one moment, so that what the one handed over the other has."""
        for _ in range(_TRIES):
            wrote, seeing = self._writer.status(), self._seeing.status()
            if seeing.handed == wrote.accepted + sum(wrote.refused.values()):
                break
        return seeing, wrote

    def _trim(self) -> Erased:
        """Keeps to the room; where too little is left on the disk the store grows no more."""
        most = self._retention.sightings_size
        folder = Path(os.path.realpath(self._path)).parent  # on the disk that a link leads to
        if shutil.disk_usage(folder).free < self._retention.free:
            most = min(most, max(_size_bytes(self._path), _SMALL_BYTES))
        return self._store.trim(most)

    def _looks(self, camera: str, labels: tuple[str, ...]) -> Collector:
        lost_s = self._cameras[camera].tracker.settings.get("lost_s", 0.0)
        usual = gathering(self._settings)
        settings = replace(
            usual,
            people=people_of(labels),
            end_after_s=max(usual.end_after_s, _LONGER * float(lost_s)),
            most_bytes=self._share_bytes,
        )
        return Collector(camera, labels, settings)


class Progress:
    """Tells for how long something did not advance, though there was something to do. Safe to share between threads."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._lock = threading.Lock()
        self._done = 0
        self._since_s = steady()

    def age_s(self, waiting: int, done: int) -> float:
        """Returns it.

        Args:
            waiting: how much there is to do.
            done: how much was done, ever.
        """
        with self._lock:
            if not waiting or done != self._done:
                self._done, self._since_s = done, self._steady()
            return self._steady() - self._since_s


def gathering(wanted: Sightings) -> CollectorSettings:
    """Returns what is gathered of people, as a site says; faces are looked for later, on what was gathered."""
    usual = CollectorSettings()
    scale = _FACE_SCALE if wanted.faces else 1
    return replace(
        usual,
        crops=wanted.crops_a_track,
        faces=0,
        look_s=_LOOK_S,
        part_s=wanted.part_s,
        most_height=scale * usual.most_height,
        most_width=scale * usual.most_width,
    )


def people_of(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names of the classes that are people: "person", or the only one that there is.

    >>> people_of(("person", "car")), people_of(("pedestrian",)), people_of(("car", "bus"))
    (('person',), ('pedestrian',), ())
    """
    if "person" in labels:
        return ("person",)
    return labels if len(labels) == 1 else ()


def may_pass(error: WatchlineError) -> bool:
    """Tells whether something is wrong with a store as may be mended while the service runs without it."""
    return isinstance(error, OutputError) and not isinstance(error, WrongStore)


def check_store(path: Path) -> str:
    """Returns what is known of the store that a site names; changes nothing.

    Raises:
        WrongStore: it is none, or may not be written.
        OutputError: it is damaged, of a newer program, or cannot be used now.
        UsageError: it is a folder.
    """
    if not path.exists():
        there = next(each for each in path.parents if each.exists())
        if not there.is_dir():
            raise WrongStore(f"{there}: no folder; choose another sightings.path")
        if not os.access(there, os.W_OK):
            raise WrongStore(f"{there}: no leave to write there; allow it, or choose sightings.path")
        return f"{path} will be made"
    check_file(path, create=False)
    engine = engine_of(path)
    try:
        with told(path), engine.connect() as connection:
            schema = schema_of(connection)
    finally:
        engine.dispose()
    check_schema(path, schema)
    older = f" of schema {schema}, brought to {SCHEMA} at the start" if schema < SCHEMA else ""
    return f"{_size_bytes(path) / 1e9:.2f} GB in {path}{older}"


def _opened(path: Path) -> SqliteStore:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        sentence = f"{path.parent}: cannot be made ({reason}); make it, or choose sightings.path"
        raise refused(error, sentence) from error
    store = open_store(path)
    if left := unfinished_line(path):
        _log.warning("%s: %s", path, left)
    return store


def _keep(retention: Retention) -> Keep:
    days = (retention.crops_days, retention.vectors_days, retention.paths_days, retention.sightings_days)
    return Keep(*(each * _DAY_S for each in days))


def _size_bytes(path: Path) -> int:
    total = 0
    path = Path(os.path.realpath(path))
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(OSError):
            total += path.with_name(name).stat().st_size
    return total
