"""The daemon: cameras of a site, through its models, into its journal and its pages, until it is told to end."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Final

from watchline.pipeline.live.graph import LiveGraph, Section
from watchline.pipeline.live.lane import LaneSettings
from watchline.pipeline.live.status import GraphStatus, PoolState
from watchline.pipeline.serving.gaps import Gaps
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.serving.notify import ServiceManager
from watchline.pipeline.serving.outputs import Outputs
from watchline.pipeline.serving.site_file import SiteFile
from watchline.pipeline.site.changes import Changes, changes
from watchline.pipeline.site.loading import load_site
from watchline.pipeline.site.settings import camera_settings, connector, ingest_settings, tracker_choice
from watchline.pipeline.site.site import Camera, Site
from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.errors import WatchlineError

_log = logging.getLogger(__name__)

TICK_S: Final = 0.5
DRAIN_S: Final = 4.0  # for batches under way at the end; the journal has as much again
STUCK_S: Final = 60.0  # a stage that does nothing for so long is not alive


@dataclass(frozen=True, slots=True)
class Asked:
    """What the daemon is asked to do from outside; set by signals."""

    stop: threading.Event
    reload: threading.Event


class Daemon:
    """Runs one site. See `run`.

    Args:
        file: of the site.
        site: as the file says now.
        networks: finds its models.
        manager: is told how the daemon is.
    """

    def __init__(self, file: SiteFile, site: Site, networks: Networks, manager: ServiceManager) -> None:
        self._file = file
        self._site = site
        self._networks = networks
        self._manager = manager
        self._stuck: tuple[str, ...] = ()

    def run(self, asked: Asked) -> bool:
        """Starts, works until `asked.stop`, and ends; returns whether all that was taken was finished.

        Raises:
            WatchlineError: it cannot start.
        """
        self._start()
        try:
            self._manager.ready(self._sentence())
            while not asked.stop.wait(TICK_S):
                if asked.reload.is_set() or self._file.changed():
                    asked.reload.clear()
                    self._reload()
                self._tick()
        finally:
            self._manager.stopping()
            finished = self._end()
        return finished

    def _start(self) -> None:
        begun_s = time.monotonic()
        self._outputs = Outputs(self._site, self._status)
        self._gaps = Gaps(self._outputs.journal)
        try:
            self._graph = LiveGraph(ingest_settings(self._site.ingest), self._gaps.heard, connector(self._site.ingest))
            try:
                for name in self._site.models:
                    self._graph.put(name, self._prepare(self._site, name))
                for camera in self._site.cameras:
                    self._add(self._site, camera)
                self._outputs.open()
            except BaseException:
                self._graph.close(0.0)
                raise
        except BaseException:
            self._outputs.close(0.0)
            raise
        for warning in self._site.warnings:
            _log.warning("%s", warning)
        _log.info("%s, started in %.1f s; pages at %s", self._sentence(), time.monotonic() - begun_s, self._outputs.url)

    def _tick(self) -> None:
        """Feeds the watchdog of the service manager, unless some stage stands still."""
        stuck = self._outputs.stuck(STUCK_S)
        for name, pool in self._graph.status().pools.items():
            if pool.advanced_s > STUCK_S and pool.state is PoolState.RUNNING:
                stuck = (*stuck, f"detector of model {name}")
        if stuck != self._stuck:
            self._stuck = stuck
            if stuck:
                _log.error("stands still: %s; the service manager ends this process if it watches it", ", ".join(stuck))
        if not stuck:
            self._manager.alive()

    def _reload(self) -> None:
        """Reads the file again and applies what changed; one that is wrong, or cannot be applied, changes nothing."""
        self._manager.reloading()
        try:
            site = load_site(self._file.path)
            running = {name: lane.settings.camera for name, lane in self._graph.lanes().items()}
            told = changes(self._site, site, running)
            self._apply(site, told)
        except WatchlineError as error:
            self._outputs.reloads.refused()
            _log.error("the new configuration is refused, the old one runs on: %s", error)
        else:
            self._outputs.reloads.taken()
            for sentence in told.sentences or ("nothing changed",):
                _log.info("configuration read again: %s", sentence)
        finally:
            self._manager.ready(self._sentence())

    def _apply(self, site: Site, told: Changes) -> None:
        """Opens what is new first: that may be refused; what is then ended and begun cannot."""
        lanes = {camera.id: self._lane(site, camera) for camera in site.cameras}
        ready: dict[str, Section] = {}
        try:
            for name in told.models:
                ready[name] = self._prepare(site, name)
        except BaseException:
            for section in ready.values():
                section.close(0.0)
            raise
        moved = {camera.id for camera in site.cameras if site.model_of(camera) in ready}
        again = [name for name in self._graph.lanes() if name in moved or name in told.restarted]
        for name in (*told.removed, *again):
            self._remove(name)
        for name in told.removed:
            self._outputs.forget(name)
        for name, section in ready.items():
            self._graph.put(name, section)
        for name in told.models_removed:
            self._graph.drop(name)
        for name in told.in_place:
            if name not in again:
                self._graph.change(lanes[name])
        kept = {key: getattr(self._site, key) for key in ("site", "ingest", "storage", "http", "metrics")}
        self._site = site.model_copy(update=kept)  # what only a restart applies stays as it runs
        self._outputs.retain(site.retention)
        for camera in site.cameras:
            if camera.id not in self._graph.lanes():
                self._add_or_tell(site, camera)

    def _add_or_tell(self, site: Site, camera: Camera) -> None:
        try:
            self._add(site, camera)
        except WatchlineError as error:
            _log.error("not read: %s", error)

    def _add(self, site: Site, camera: Camera) -> None:
        lane = self._graph.add(
            self._lane(site, camera), self._outputs.outlets(camera.id), *self._outputs.known(camera.id)
        )
        self._outputs.follow(camera.id, lane)

    def _remove(self, name: str) -> None:
        self._graph.remove(name)
        self._gaps.heard(CameraEvent(name, CameraState.STOPPED, time.monotonic()))
        self._outputs.leave(name)

    def _lane(self, site: Site, camera: Camera) -> LaneSettings:
        model = site.model_of(camera)
        return LaneSettings(
            camera_settings(site, camera),
            model,
            tracker_choice(camera),
            site.models[model].conf,
            camera.classes,
            camera.ignore,
        )

    def _prepare(self, site: Site, name: str) -> Section:
        return self._graph.prepare(self._networks.settings(name, site.models[name]))

    def _status(self) -> GraphStatus:
        return self._graph.status()

    def _sentence(self) -> str:
        cameras, models = len(self._site.cameras), len(self._site.models)
        plural = "s" if cameras != 1 else ""
        return f'site "{self._site.site}": {cameras} camera{plural}, {models} model{"s" if models != 1 else ""}'

    def _end(self) -> bool:
        begun_s = time.monotonic()
        finished = self._graph.close(DRAIN_S)
        self._gaps.close()
        finished &= self._outputs.close(DRAIN_S)
        how = "all frames finished" if finished else "some frames were left unfinished"
        _log.info("stopped in %.1f s, %s", time.monotonic() - begun_s, how)
        return finished
