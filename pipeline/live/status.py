"""What is known of the graph at one moment: of each camera, and of each model's workers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from watchline.pipeline.live.tally import Histogram
from watchline.streams.ingest_status import CameraStatus


class Loss(StrEnum):
    """Why a frame that a worker took was not processed."""

    DETECTOR = "detector"  # the detector failed on it, or is down
    TRACKER = "tracker"  # the tracker refused it
    REMOVED = "removed"  # its camera was removed while it was under way


class PoolState(StrEnum):
    """How the workers of a model are."""

    RUNNING = "running"
    RESTARTING = "restarting"  # the detector failed and is opened anew
    DOWN = "down"  # it failed too often; frames are lost until the next try


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One camera: received = processed + the sum of dropped + in_flight, exactly.

    Attributes:
        camera: its name.
        model: what looks at its frames, as the site names it.
        weight: its share where not all frames can be analysed; 1 is usual.
        ingest: what its connection is and gives.
        received: frames decoded.
        processed: frames detected and tracked.
        dropped: frames not processed, by every reason of `ledger.Drop` and `Loss`, zeros included.
        in_flight: frames that wait or are under way.
        detections: objects found, of a score that counts, outside ignored regions.
        ignored: objects left out, for they stood in an ignored region.
        tracks: tracks begun.
        active_tracks: tracks seen in the last processed frame.
        analysed_fps: frames processed a second, over the last seconds.
        last_frame_at: when the last processed frame was captured, UTC seconds since 1970; None before the first.
        age_s: how old it was when it had been tracked; None before the first.
        idle_s: for how long no frame was processed, seconds; since the camera was added before the first.
        ages: of all processed frames, capture to tracked, seconds.
    """

    camera: str
    model: str
    weight: float
    ingest: CameraStatus
    received: int
    processed: int
    dropped: dict[str, int]
    in_flight: int
    detections: int
    ignored: int
    tracks: int
    active_tracks: int
    analysed_fps: float
    last_frame_at: float | None
    age_s: float | None
    idle_s: float
    ages: Histogram


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """The workers of one model.

    Attributes:
        model: as the site names it.
        network: catalog name or file of the model.
        sha256: of that file.
        device: where it runs: "cpu", "cuda".
        provider: the runtime's name of it.
        runtime: name and version.
        state: how they are.
        sentence: why they are not running; "" while they are.
        workers: batches that may be under way at once.
        deaths: how often the detector failed.
        fallbacks: how often one device gave way to another.
        fallen_back: it runs on another device than the first that was asked for.
        waiting: frames that wait for a worker, of all cameras.
        batches: frames a batch.
        stages: times of "wait" (taken to begun), "detect" and "track", seconds a batch or frame.
        advanced_s: how long ago a worker last began or ended something, or had nothing to do, seconds.
    """

    model: str
    network: str
    sha256: str
    device: str
    provider: str
    runtime: str
    state: PoolState
    sentence: str
    workers: int
    deaths: int
    fallbacks: int
    fallen_back: bool
    waiting: int
    batches: Histogram
    stages: dict[str, Histogram]
    advanced_s: float


@dataclass(frozen=True, slots=True)
class GraphStatus:
    """All cameras and all models, by name."""

    lanes: dict[str, LaneStatus]
    pools: dict[str, PoolStatus]
