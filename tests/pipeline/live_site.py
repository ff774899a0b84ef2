"""A live graph over scripted cameras and a scripted detector, and what came out of it."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from tests.fakes import LABELS, make_detections
from tests.streams import ingest_cameras
from watchline.detectors.detections import Detections
from watchline.detectors.engine import EngineInfo
from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.graph import LiveGraph, ModelSettings
from watchline.pipeline.live.lane import LaneSettings
from watchline.pipeline.live.outcome import Outcome
from watchline.pipeline.live.pool import Network, Opened
from watchline.pipeline.live.status import GraphStatus, LaneStatus
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.frame import Frame
from watchline.streams.ingest_settings import IngestSettings
from watchline.trackers.build import TrackerChoice


class Detector:
    """Finds what `script` says; keeps what it was asked for; fails while `error` is set."""

    labels = LABELS

    def __init__(self, script: Callable[[Frame], Detections], delay_s: float = 0.0) -> None:
        self._script = script
        self._delay_s = delay_s
        self.batches: list[list[str]] = []
        self.error: BaseException | None = None
        self.open_error: Exception | None = None
        self.open_delay_s = 0.0
        self.opened = self.closed = 0
        self.workers, self.batch = 2, 1

    def open(self) -> Opened:
        time.sleep(self.open_delay_s)
        if self.open_error is not None:
            raise self.open_error
        self.opened += 1
        return Opened(self, lambda: EngineInfo("scripted", "cpu", "none"), self.close, self.workers, lambda: self.batch)

    def close(self) -> None:
        self.closed += 1

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.batches.append([frame.camera for frame in frames])
        time.sleep(self._delay_s)
        if self.error is not None:
            raise self.error
        return [self._script(frame) for frame in frames]


def one_person(frame: Frame) -> Detections:
    """A person who walks with the stream's time."""
    x = 2.0 + frame.pts_s % 10
    return make_detections((x, 4, x + 10, 30))


class LiveSite:
    """A graph with one model, "people"; keeps every outcome by camera."""

    def __init__(
        self,
        detector: Detector | None = None,
        workers: int = 2,
        batch: int = 1,
        restarts: Callable[[], Restarts] = Restarts,
        group_size: int = 0,
        connect: Any = ingest_cameras.connect,
    ) -> None:
        self.detector = detector or Detector(one_person)
        self.detector.workers, self.detector.batch = workers, batch
        self.outcomes: dict[str, list[Outcome]] = defaultdict(list)
        self.at_s: dict[str, list[float]] = defaultdict(list)
        model = ModelSettings(Network("people", "scripted", "0" * 64), self.detector.open)
        self.graph = LiveGraph(IngestSettings(group_size=group_size), connect=connect, restarts=restarts)
        self.graph.put("people", self.graph.prepare(model))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.graph.close(10)

    def add(self, camera: CameraSettings, **settings: Any) -> None:
        """Begins a camera."""

        def keep(outcome: Outcome) -> None:
            self.outcomes[camera.camera].append(outcome)
            self.at_s[camera.camera].append(time.monotonic())

        wanted = {"tracker": TrackerChoice(), **settings}
        self.graph.add(LaneSettings(camera, "people", **wanted), [keep])

    def lane(self, camera: str) -> LaneStatus:
        """How it stands; the sum must hold at every moment."""
        return self.status().lanes[camera]

    def status(self) -> GraphStatus:
        """How everything stands."""
        status = self.graph.status()
        for lane in status.lanes.values():
            check(lane)
        return status

    def wait(self, what: Callable[[], object], timeout_s: float = 10) -> None:
        """Waits until `what()` is true."""
        until_s = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < until_s, {name: len(got) for name, got in self.outcomes.items()}
            time.sleep(0.01)

    def wait_for(self, camera: str, more: int, timeout_s: float = 10) -> None:
        """Waits for so many more outcomes."""
        wanted = len(self.outcomes[camera]) + more
        self.wait(lambda: len(self.outcomes[camera]) >= wanted, timeout_s)

    def end(self) -> dict[str, LaneStatus]:
        """Ends all; returns how the lanes ended: nothing in flight, every frame counted."""
        assert self.graph.close(10)
        lanes = self.status().lanes
        for name, lane in lanes.items():
            assert lane.in_flight == 0, lane
            assert lane.processed == len(self.outcomes[name])
        return lanes


def check(lane: LaneStatus) -> None:
    """Checks that every frame is somewhere, once."""
    assert lane.received == lane.processed + sum(lane.dropped.values()) + lane.in_flight
    assert lane.in_flight >= 0


def threads_named(start: str) -> list[str]:
    """Returns the names of the threads that begin so."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(start)]
