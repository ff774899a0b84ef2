"""Statuses of a site without a site: what cameras and detectors would say, set by the test."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field, replace

from watchline.pipeline.live.status import GraphStatus, LaneStatus, Loss, PoolState, PoolStatus
from watchline.pipeline.live.tally import AGE_BOUNDS_S, BATCH_BOUNDS, STAGE_BOUNDS_S, Histogram
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource
from watchline.streams.ingest_status import CameraStatus, FrameCounts
from watchline.streams.ledger import Drop
from watchline.streams.source import SourceInfo

WORDS = {
    CameraState.CONNECTING: "",
    CameraState.LIVE: "",
    CameraState.OFFLINE: "nothing came for 3.0 s",
    CameraState.FROZEN: "the same picture for 4.0 s",
    CameraState.STOPPED: "",
}


def tally(bounds: tuple[float, ...], value: float, times: int) -> Histogram:
    """`times` equal values."""
    counts = [0] * (len(bounds) + 1)
    counts[bisect_left(bounds, value)] = times
    return Histogram(bounds, tuple(counts), value * times)


@dataclass
class Camera:
    """What one camera does."""

    state: CameraState = CameraState.LIVE
    reason: Reason | None = None
    model: str = "people"
    fps: float = 10.0
    analysed: float = 0.5  # share of the frames received
    age_s: float = 0.12
    why: str = "rate"  # the frames not analysed were dropped
    received: float = 0.0
    processed: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    reconnects: dict[Reason, int] = field(default_factory=dict)
    last_frame_at: float | None = None
    sentence: str = ""
    moved_s: float = field(default_factory=time.monotonic)


class ScriptedSite:
    """Cameras whose frames are counted on by the clock; `status` is what the graph would say."""

    def __init__(self, *cameras: str, model: str = "people") -> None:
        self.cameras = {name: Camera(model=model) for name in cameras}
        self.pools = {model: pool(model)}
        self.lock = threading.Lock()
        self._then_s = time.monotonic()

    def go(self, camera: str, state: CameraState, reason: Reason | None = None) -> None:
        """Changes a camera's state."""
        with self.lock:
            one = self.cameras[camera]
            one.state, one.reason = state, reason
            if reason is not None:
                one.reconnects[reason] = one.reconnects.get(reason, 0) + 1

    def advance(self, seconds: float) -> None:
        """Lets `seconds` pass for the counts of live cameras."""
        for one in self.cameras.values():
            if one.state is not CameraState.LIVE:
                continue
            one.received += one.fps * seconds
            new = int(one.received * one.analysed) - one.processed
            one.lost[one.why] = (
                int(one.received)
                - one.processed
                - new
                - sum(count for reason, count in one.lost.items() if reason != one.why)
            )
            if new > 0:
                one.processed += new
                one.last_frame_at, one.moved_s = time.time() - one.age_s, time.monotonic()

    def status(self) -> GraphStatus:
        """How things stand."""
        with self.lock:
            now_s = time.monotonic()
            self.advance(now_s - self._then_s)
            self._then_s = now_s
            frames = sum(one.processed for one in self.cameras.values())
            pools = {
                name: replace(
                    one,
                    batches=tally(BATCH_BOUNDS, 2.0, frames // 2),
                    stages={stage: tally(STAGE_BOUNDS_S, 0.015, frames) for stage in ("wait", "detect", "track")},
                )
                for name, one in self.pools.items()
            }
            return GraphStatus({name: lane(name, one) for name, one in self.cameras.items()}, pools)


def lane(name: str, one: Camera) -> LaneStatus:
    """What the graph says of a camera."""
    received, idle_s = int(one.received), time.monotonic() - one.moved_s
    dropped = {str(reason): 0 for reason in (*Drop, *Loss)} | one.lost
    live = one.state is CameraState.LIVE
    counts = FrameCounts(received, one.processed, dict.fromkeys(Drop, 0), 0, 3, dict.fromkeys(("missing",), 1), 1, 0)
    info = SourceInfo("video", 1280, 720, 25.0, None, None, "h264")
    ingest = CameraStatus(
        name, one.state, one.reason, one.sentence or WORDS[one.state], 7.0, info, "pyav", counts, dict(one.reconnects),
        one.fps if live else 0.0, one.fps if live else 0.0, idle_s, one.age_s, ClockSource.ARRIVAL, 0.05,
        0.0 if live else 4.0, one.reason, None,
    )  # fmt: skip
    return LaneStatus(
        name, one.model, 1.0, ingest, received, one.processed, dropped,
        received - one.processed - sum(dropped.values()),
        one.processed * 2, 1, one.processed // 50, 2 if live else 0, one.fps * one.analysed if live else 0.0,
        one.last_frame_at, one.age_s if one.processed else None, idle_s, tally(AGE_BOUNDS_S, one.age_s, one.processed),
    )  # fmt: skip


def pool(model: str, state: PoolState = PoolState.RUNNING, sentence: str = "") -> PoolStatus:
    """What the graph says of a model."""
    empty = Histogram(BATCH_BOUNDS, (0,) * (len(BATCH_BOUNDS) + 1), 0.0)
    return PoolStatus(
        model, "/srv/models/yolov8n.onnx", "f59b3d83", "cpu", "CPUExecutionProvider", "onnxruntime 1.20", state,
        sentence, 2, 0, 0, False, 1, empty, {}, 0.1,
    )  # fmt: skip
