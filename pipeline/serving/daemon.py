"""The daemon: cameras of a site, through its models, into its journal and its pages, until it is told to end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Final, TypeVar

from watchline.pipeline.live.graph import LiveGraph, Section, check_classes
from watchline.pipeline.live.lane import LaneSettings
from watchline.pipeline.live.status import GraphStatus
from watchline.pipeline.serving.gaps import Gaps
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.serving.notify import ServiceManager
from watchline.pipeline.serving.outputs import STUCK_S, Outputs
from watchline.pipeline.serving.site_file import SiteFile
from watchline.pipeline.site.changes import ONLY_AT_START, Changes, changes
from watchline.pipeline.site.loading import load_site
from watchline.pipeline.site.settings import camera_settings, connector, ingest_settings, tracker_choice
from watchline.pipeline.site.site import Camera, Site
from watchline.streams.errors import WatchlineError

T = TypeVar("T")

_log = logging.getLogger(__name__)

TICK_S: Final = 0.5
DRAIN_S: Final = 4.0  # for batches under way at the end; the journal has as much again
_DETECTOR_STUCK_S: Final = 400.0  # the first frames of a new size may be compiled for that long; isolation ends a hang
_AGAIN_S: Final = 30.0  # between tries to add a camera that could not be


class _EndingError(Exception):
    """The daemon is asked to end while something else is under way."""


@dataclass(slots=True)
class Asked:
    """What the daemon is asked to do from outside; set by signals, so without any lock."""

    stop: bool = False
    reload: bool = False


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
        self._asked = Asked()
        self._stuck: tuple[str, ...] = ()
        self._unread: dict[str, str] = {}  # cameras that could not be added, and why
        self._tried_s = 0.0  # when they were tried last

    def run(self, asked: Asked) -> bool:
        """Starts, works until `asked.stop`, and ends; returns whether all that was taken was finished.

        Raises:
            WatchlineError: it cannot start.
        """
        self._asked = asked
        self._start()
        try:
            self._manager.ready(self._sentence())
            while not asked.stop:
                self._turn(asked)
                time.sleep(TICK_S)
        except _EndingError:
            pass
        finally:
            self._manager.stopping()
            finished = self._end()
        return finished

    def _turn(self, asked: Asked) -> None:
        changed = self._file.changed()
        if asked.reload or changed:
            asked.reload = False
            self._reload()
        if self._unread and time.monotonic() - self._tried_s > _AGAIN_S:
            self._while_ticking(self._add_missing)
        self._tick()

    def _start(self) -> None:
        begun_s = time.monotonic()
        self._outputs = Outputs(self._site, self._status, self._networks)
        self._gaps = Gaps(self._outputs.journal)
        try:
            self._graph = LiveGraph(ingest_settings(self._site.ingest), self._gaps.heard, connector(self._site.ingest))
            try:
                for name in self._site.models:
                    self._graph.put(name, self._prepare(self._site, name))
                for camera in self._site.cameras:
                    lane = self._lane(self._site, camera)
                    check_classes(lane, self._graph.labels(lane.model))
                self._add_missing()
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
        stuck += tuple(f"detector of model {name}" for name in self._graph.stuck(_DETECTOR_STUCK_S))
        if stuck != self._stuck:
            self._stuck = stuck
            if stuck:
                _log.error("stands still: %s; the service manager ends this process if it watches it", ", ".join(stuck))
        if not stuck:
            self._manager.alive()

    def _reload(self) -> None:
        """Reads the file again and applies what changed; one that is wrong, or cannot be applied, changes nothing."""
        self._manager.reloading()
        failed = "the new configuration is refused, the old one runs on"
        try:
            site = load_site(self._file.path)
            running = {name: lane.settings.camera for name, lane in self._graph.lanes().items()}
            told = changes(self._site, site, running)
            lanes = {camera.id: self._lane(site, camera) for camera in site.cameras}
            ready = self._while_ticking(lambda: self._prepared(site, told, lanes))
            failed = "the new configuration could not be applied whole"
            self._while_ticking(lambda: self._apply(site, told, lanes, ready))
        except _EndingError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever is wrong with it, what runs runs on
            self._outputs.reloads.refused()
            what = str(error) if isinstance(error, WatchlineError) else f"{type(error).__name__}: {error}"
            _log.error("%s: %s", failed, what)
        else:
            for sentence in told.sentences or ("nothing changed",):
                _log.info("configuration read again: %s", sentence)
            if self._unread:
                self._outputs.reloads.refused()
            else:
                self._outputs.reloads.taken()
        finally:
            self._manager.ready(self._sentence())

    def _prepared(self, site: Site, told: Changes, lanes: Mapping[str, LaneSettings]) -> dict[str, Section]:
        """Opens the models that are new, and checks all that can be refused, before anything changes."""
        ready: dict[str, Section] = {}
        try:
            for name in told.models:
                ready[name] = self._prepare(site, name)
            for lane in lanes.values():
                known = ready[lane.model].labels if lane.model in ready else self._graph.labels(lane.model)
                check_classes(lane, known)
        except BaseException:
            for section in ready.values():
                section.close(0.0)
            raise
        return ready

    def _apply(
        self, site: Site, told: Changes, lanes: Mapping[str, LaneSettings], ready: Mapping[str, Section]
    ) -> None:
        """Ends what goes and begins what comes; of this nothing can be refused but single cameras."""
        read = self._graph.lanes()
        moved = {name for name, lane in lanes.items() if lane.model in ready}
        self._remove([name for name in read if name not in lanes or name in moved or name in told.restarted])
        for name in read.keys() - lanes.keys():
            self._outputs.forget(name)
        for name, section in ready.items():
            self._graph.put(name, section)
        for name in told.models_removed:
            self._graph.drop(name)
        for name in self._graph.lanes().keys() & set(told.in_place):
            self._graph.change(lanes[name])
        kept = {key: getattr(self._site, key) for key in ONLY_AT_START}
        self._site = site.model_copy(update=kept)  # what only a restart applies stays as it runs
        self._outputs.retain(site.retention)
        for name in self._graph.lanes():
            self._outputs.change(self._site, site.camera(name), self._graph.network(lanes[name].model))
        self._add_missing()

    def _add_missing(self) -> None:
        """Begins to read the cameras that are not read; of those that cannot be, each is told once."""
        read, before = self._graph.lanes(), self._unread
        self._unread = {}
        for camera in self._site.cameras:
            if camera.id in read:
                continue
            try:
                self._add(self._site, camera)
            except WatchlineError as error:
                self._unread[camera.id] = str(error)
                if before.get(camera.id) != str(error):
                    _log.error("not read, tried again each %.0f s: %s", _AGAIN_S, error)
        self._outputs.absent = self._unread
        self._tried_s = time.monotonic()

    def _while_ticking(self, work: Callable[[], T]) -> T:
        """Returns what `work` does in a thread of its own, which may take minutes; the watchdog is fed meanwhile.

        Raises:
            _EndingError: the daemon is asked to end; the work is left alone.
        """
        answer = Future[T]()

        def run() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001  # it is raised again where it is waited for
                answer.set_exception(error)

        threading.Thread(target=run, name="reload", daemon=True).start()
        while not wait([answer], TICK_S).done:
            self._tick()
            if self._asked.stop:
                raise _EndingError
        return answer.result()

    def _add(self, site: Site, camera: Camera) -> None:
        settings = self._lane(site, camera)
        outlets = self._outputs.outlets(site, camera, self._graph.network(settings.model))
        lane = self._graph.add(settings, outlets, *self._outputs.known(camera.id))
        self._outputs.follow(camera.id, lane)

    def _remove(self, names: Sequence[str]) -> None:
        self._graph.remove(*names)
        for name in names:
            self._gaps.removed(name)
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
        for lane in self._graph.lanes().values():
            lane.forget()
        how = "all frames finished" if finished else "some frames were left unfinished"
        _log.info("stopped in %.1f s, %s", time.monotonic() - begun_s, how)
        return finished
