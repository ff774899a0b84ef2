"""The live graph: cameras in, each tracked; detectors shared. See `LiveGraph`."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.collector import MOST_WINDOW_S, Collector
from watchline.pipeline.live.kept import Kept
from watchline.pipeline.live.lane import Lane, LaneSettings, Turn
from watchline.pipeline.live.outcome import Outlet
from watchline.pipeline.live.pool import Network, Opened, Pool
from watchline.pipeline.live.status import GraphStatus, LaneStatus, Loss, PoolStatus
from watchline.streams.camera import CameraEvent
from watchline.streams.connecting import open_connection
from watchline.streams.connection import Connect
from watchline.streams.errors import UsageError
from watchline.streams.frame import Frame
from watchline.streams.ingest import Ingest
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.libav import FALLBACK_FPS
from watchline.trackers.build import build_tracker
from watchline.trackers.settings import nearest
from watchline.trackers.tracker import Tracker, TrackIds

_log = logging.getLogger(__name__)

_SHOWN = 20  # class names in an error
_LEAVE_S = 10.0  # for the last batches of a model that goes


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model of the graph.

    Attributes:
        network: what it is.
        open: opens its detector, also anew after a failure.
        most_window_s: longest time that a frame waits for others to share its batch.
    """

    network: Network
    open: Callable[[], Opened]
    most_window_s: float = MOST_WINDOW_S


class LiveGraph:
    """Cameras that come and go, each with a lane of its own, and the models that look at their frames.

        Ingest ──> Collector ──> workers of a model ──> Lane of the camera ──> outlets

    Results of a camera depend on its own frames alone. Where not all frames can be analysed, each camera's freshest
    waits and cameras take turns by weight, before anything queues. Every method may be called from any thread.

    Args:
        ingest: how cameras are read, those of each model.
        listener: told of each change of a camera's state; must not wait.
        connect: opens connections; a function of a module where cameras are read in other processes.
        restarts: makes the bound on the failures of a model's detector.
    """

    def __init__(
        self,
        ingest: IngestSettings,
        listener: Callable[[CameraEvent], None] = lambda _: None,
        connect: Connect = open_connection,
        restarts: Callable[[], Restarts] = Restarts,
    ) -> None:
        self._open_ingest = partial(Ingest, ingest, connect, listener)
        self._restarts = restarts
        self._lock = threading.RLock()
        self._sections: dict[str, Section] = {}
        self._lanes: dict[str, Lane] = {}

    def prepare(self, model: ModelSettings) -> Section:
        """Returns a model that is ready to be put to work; `close` it if it will not be.

        Raises:
            ModelError: its detector cannot be opened.
            UsageError: this system cannot do what is asked for.
        """
        return Section(model, self._open_ingest, self._lanes, self._restarts())

    def put(self, name: str, section: Section) -> None:
        """Puts a model to work, in place of one of that name, which no camera may use any more."""
        with self._lock:
            before = self._sections.get(name)
            self._sections[name] = section
            section.start()
        if before is not None:
            before.close(_LEAVE_S)

    def drop(self, name: str) -> None:
        """Ends a model that no camera uses any more."""
        with self._lock:
            section = self._sections.pop(name, None)
        if section is not None:
            section.close(_LEAVE_S)

    def labels(self, model: str) -> tuple[str, ...]:
        """Returns the class names of a model."""
        return self._section(model).labels

    def network(self, model: str) -> Network:
        """Returns what a model is."""
        return self._section(model).network

    def add(
        self,
        settings: LaneSettings,
        outlets: Sequence[Outlet] = (),
        ids: TrackIds | None = None,
        kept: Kept | None = None,
    ) -> Lane:
        """Begins to read and analyse a camera; returns its lane.

        Args:
            settings: what is wanted.
            outlets: told of each of its processed frames.
            ids: gives its track ids; from 1 on where left out.
            kept: what its tracker knew before a restart.

        Raises:
            UsageError: there is one of that name, no such model or class, or no room for it.
            CameraError: the system gives no memory, descriptor or thread for it.
        """
        section, name = self._section(settings.model), settings.camera.camera
        check_classes(settings, section.labels)

        def build(frame: Frame) -> Tracker:
            tracker = build_tracker(settings.tracker, self._interval_s(settings), settings.conf, ids)
            if kept is not None and (problem := kept.give_to(tracker, frame)):
                _log.warning("%s", problem)
            return tracker

        with self._lock:
            if name in self._lanes:
                raise UsageError(f'camera "{name}": there is one of that name; give each its own')
            lane = self._lanes[name] = Lane(settings, section.labels, build, outlets)
            try:
                section.ingest.add(settings.camera)
            except BaseException:
                del self._lanes[name]
                raise
            return lane

    def change(self, settings: LaneSettings) -> None:
        """Gives a camera that goes on another weight, other classes, or other regions to ignore.

        Raises:
            UsageError: there is none of that name, or no such class.
        """
        with self._lock:
            lane, section = self._lane(settings.camera.camera), self._section(settings.model)
            check_classes(settings, section.labels)
            section.ingest.weigh(settings.camera.camera, settings.camera.weight)
            lane.change(settings)

    def remove(self, *cameras: str) -> list[Lane]:
        """Ends cameras; returns their lanes, which may still track what is under way.

        Raises:
            UsageError: there is none of such a name; then none is ended.
        """
        with self._lock:
            lanes = [self._lane(camera) for camera in cameras]
            sections = {lane.settings.model: self._section(lane.settings.model) for lane in lanes}
            for lane in lanes:
                sections[lane.settings.model].ingest.remove(lane.settings.camera.camera)
        for section in sections.values():
            section.collector.settle()
        with self._lock:
            for camera in cameras:
                del self._lanes[camera]
        return lanes

    def lanes(self) -> dict[str, Lane]:
        """Returns the lanes of all cameras, by name."""
        with self._lock:
            return dict(self._lanes)

    def stuck(self, bound_s: float) -> tuple[str, ...]:
        """Returns the models whose workers have done nothing for `bound_s`, though they should have."""
        with self._lock:
            return tuple(name for name, section in self._sections.items() if section.pool.advanced_s > bound_s)

    def status(self) -> GraphStatus:
        """Returns how everything stands."""
        with self._lock:
            lanes: dict[str, LaneStatus] = {}
            pools: dict[str, PoolStatus] = {}
            for model, section in self._sections.items():
                own = {name: lane for name, lane in self._lanes.items() if lane.settings.model == model}
                # Lanes first: what is settled is read before what was received.
                halves = {name: lane.counts() for name, lane in own.items()}
                ingest = section.ingest.status()
                lanes |= {name: own[name].status(halves[name], ingest[name]) for name in own if name in ingest}
                under_way = sum(lane.under_way for lane in own.values())
                waiting = sum(lanes[name].in_flight for name in own if name in lanes) - under_way
                pools[model] = section.pool.status(max(0, waiting))
            return GraphStatus(lanes, pools)

    def close(self, drain_s: float) -> bool:
        """Ends everything; frames that were taken are finished if `drain_s` allows it. Returns whether all were."""
        with self._lock:
            sections = list(self._sections.values())
        for section in sections:
            section.collector.close()
        # All at once: a detector that hangs takes a second to end, and there may be many.
        with ThreadPoolExecutor(max(1, len(sections)), "end") as enders:
            return all(list(enders.map(lambda section: section.close(drain_s), sections)))

    def _lane(self, camera: str) -> Lane:
        if camera not in self._lanes:
            raise UsageError(f'camera "{camera}": there is none of that name')
        return self._lanes[camera]

    def _section(self, model: str) -> Section:
        if model not in self._sections:
            raise UsageError(f'no model "{model}"; the site names {", ".join(self._sections) or "none"}')
        return self._sections[model]

    def _interval_s(self, settings: LaneSettings) -> float:
        """Returns the usual time between two analysed frames of a camera whose first frame is there, seconds."""
        info = self._section(settings.model).ingest.info(settings.camera.camera)
        own_fps = info.fps if info is not None else FALLBACK_FPS
        wanted = settings.camera.fps or math.inf
        return 1 / min(own_fps, wanted)


class Section:
    """One model, the cameras that it looks at, and its workers. See `LiveGraph.prepare`."""

    def __init__(
        self, model: ModelSettings, open_ingest: Callable[[], Ingest], lanes: Mapping[str, Lane], restarts: Restarts
    ) -> None:
        opened = model.open()
        self.network = model.network
        self.labels = opened.detector.labels
        try:
            self.ingest = open_ingest()
        except BaseException:
            opened.close()
            raise
        self._lanes = lanes
        self.collector = Collector(
            self.ingest.take, self._begin, lambda: len(lanes), lambda: self.pool.batch, model.most_window_s
        )
        self.pool = Pool(model.network, opened, model.open, self.collector, restarts)

    def start(self) -> None:
        """Begins to work."""
        self.pool.start()

    def close(self, drain_s: float) -> bool:
        """Ends the workers after their batches, then the cameras; returns whether all frames taken were settled."""
        ended = self.pool.close(drain_s)
        self.ingest.close()
        if ended and (turn := self.collector.leftover()) is not None:
            turn.settle(Loss.REMOVED)
        return ended

    def _begin(self, frame: Frame) -> Turn | None:
        lane = self._lanes.get(frame.camera)
        return lane.begin(frame) if lane is not None else None


def check_classes(settings: LaneSettings, labels: tuple[str, ...]) -> None:
    """Refuses a camera that wants a class that its model does not have, by UsageError.

    Args:
        settings: of the camera.
        labels: of its model.
    """
    for name in settings.classes:
        if name not in labels:
            known = f"{nearest(name, labels)} known: {', '.join(labels[:_SHOWN])}"
            raise UsageError(
                f'camera "{settings.camera.camera}": model "{settings.model}" has no class "{name}"{known}'
            )
