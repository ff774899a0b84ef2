"""The lane of one camera: its frames in order, through its own tracker, to whoever wants to know."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from watchline.detectors.detections import Detections
from watchline.pipeline.live.kept import Snapshot
from watchline.pipeline.live.outcome import Outcome, Outlet
from watchline.pipeline.live.regions import Polygon, Regions
from watchline.pipeline.live.status import LaneStatus, Loss
from watchline.pipeline.live.tally import AGE_BOUNDS_S, Histogram, Tally
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.frame import Frame
from watchline.streams.ingest_status import CameraStatus
from watchline.trackers.build import TrackerChoice
from watchline.trackers.tracker import Tracker
from watchline.trackers.tracks import Tracks, TrackState

_log = logging.getLogger(__name__)

_RATE_OVER_S = 5.0
_TELL_AGAIN_S = 60.0
_MOST_SHOWN = 4096  # ids of tracks that are remembered; no scene holds nearly as many at a time


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """One camera of the graph.

    Attributes:
        camera: how it is read; its name is the lane's.
        model: what looks at it, as the site names it.
        tracker: how objects are followed.
        conf: least score of a detection that begins a track and counts, in [0, 1].
        classes: names of those to follow; empty means all.
        ignore: regions in which nothing is followed.
    """

    camera: CameraSettings
    model: str
    tracker: TrackerChoice
    conf: float = 0.25
    classes: tuple[str, ...] = ()
    ignore: tuple[Polygon, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """What one lane counted; see `LaneStatus`, whose fields these become."""

    processed: int
    lost: dict[str, int]
    detections: int
    ignored: int
    tracks: int
    active_tracks: int
    fps: float
    last_frame_at: float | None
    age_s: float | None
    idle_s: float
    ages: Histogram


class Turn:
    """One frame under way: taken by a worker, to be settled exactly once."""

    __slots__ = ("_lane", "begun_s", "frame", "result")

    def __init__(self, lane: Lane, frame: Frame) -> None:
        self._lane = lane
        self.frame = frame
        self.begun_s = time.monotonic()
        self.result: Detections | Loss | None = None

    def settle(self, result: Detections | Loss) -> None:
        """Says what was found in the frame, or why nothing will be; the lane goes on as far as it can."""
        self._lane.settle(self, result)


class Lane:
    """One camera's way through the graph. Safe to share between threads.

    Several of its frames may be under way at once; they are tracked in the order in which they were taken, whichever
    is detected first.

    Args:
        settings: what is wanted.
        labels: class names of the model.
        build: makes the tracker, once its first frame is there.
        outlets: told of each processed frame.
    """

    def __init__(
        self,
        settings: LaneSettings,
        labels: tuple[str, ...],
        build: Callable[[Frame], Tracker],
        outlets: Sequence[Outlet],
    ) -> None:
        self._labels = labels
        self._build = build
        self._outlets = outlets
        self._lock = threading.Lock()
        self.change(settings)
        self._turns: deque[Turn] = deque()
        self._tracker: Tracker | None = None
        self._processed = 0
        self._lost = dict.fromkeys(Loss, 0)
        self._detections = self._ignored = self._tracks = self._active = 0
        self._shown: dict[int, None] = {}  # ids that were seen, oldest first
        self._ages = Tally(AGE_BOUNDS_S)
        self._last_frame_at: float | None = None
        self._age_s: float | None = None
        self._moved_s = time.monotonic()
        self._rate: deque[tuple[float, int]] = deque([(self._moved_s, 0)])
        self._told_s = -_TELL_AGAIN_S

    def change(self, settings: LaneSettings) -> None:
        """Follows other classes, or ignores other regions, from the next frame on."""
        with self._lock:
            self.settings = settings
            self._regions = Regions(settings.ignore)
            wanted = settings.classes or self._labels
            self._is_wanted = np.array([label in wanted for label in self._labels], np.bool_)

    def begin(self, frame: Frame) -> Turn:
        """Takes a frame in; to be called in the order in which frames were taken."""
        turn = Turn(self, frame)
        with self._lock:
            self._turns.append(turn)
        return turn

    def settle(self, turn: Turn, result: Detections | Loss) -> None:
        """See `Turn.settle`."""
        with self._lock:
            turn.result = result
            while self._turns and (done := self._turns[0].result) is not None:
                self._finish(self._turns.popleft().frame, done)

    def snapshot(self) -> Snapshot | None:
        """Returns what the tracker knows; None before the first frame."""
        with self._lock:
            if self._tracker is None or self._last_frame_at is None:
                return None
            return Snapshot(self._tracker.save(), self._last_frame_at)

    def forget(self) -> None:
        """Lets go of the tracker, at the very end: native code complains of what outlives it."""
        with self._lock:
            self._tracker = None

    @property
    def under_way(self) -> int:
        """Frames taken and not settled yet."""
        return len(self._turns)

    def counts(self) -> LaneCounts:
        """Returns what became of the frames that were taken, and what was found in them."""
        with self._lock:
            now_s = time.monotonic()
            then_s, before = self._rate[0]
            idle_s = now_s - self._moved_s
            return LaneCounts(
                self._processed,
                {str(reason): count for reason, count in self._lost.items()},
                self._detections,
                self._ignored,
                self._tracks,
                self._active,
                (self._processed - before) / max(now_s - then_s, 1e-3) if idle_s < _RATE_OVER_S else 0.0,
                self._last_frame_at,
                self._age_s,
                idle_s,
                self._ages.histogram(),
            )

    def status(self, counts: LaneCounts, ingest: CameraStatus) -> LaneStatus:
        """Returns how things stand.

        Args:
            counts: of this lane, read before `ingest`: what is settled was received.
            ingest: how its connection stands.
        """
        dropped = {str(reason): count for reason, count in ingest.counts.dropped.items()} | counts.lost
        return LaneStatus(
            camera=self.settings.camera.camera,
            model=self.settings.model,
            weight=self.settings.camera.weight,
            ingest=ingest,
            received=ingest.counts.received,
            processed=counts.processed,
            dropped=dropped,
            in_flight=ingest.counts.received - counts.processed - sum(dropped.values()),
            detections=counts.detections,
            ignored=counts.ignored,
            tracks=counts.tracks,
            active_tracks=counts.active_tracks,
            analysed_fps=counts.fps,
            last_frame_at=counts.last_frame_at,
            age_s=counts.age_s,
            idle_s=counts.idle_s,
            ages=counts.ages,
        )

    def _finish(self, frame: Frame, result: Detections | Loss) -> None:
        """Tracks one frame and tells of it, or counts it as lost."""
        if isinstance(result, Loss):
            self._lost[result] += 1
            return
        try:
            detections = self._wanted(result, frame)
            if self._tracker is None:
                self._tracker = self._build(frame)
                for track_id in self._tracker.save().live["track_id"].tolist():  # those of before a restart
                    self._show(track_id)
            tracks = self._tracker.update(detections, frame.pts_s)
        except Exception as error:  # noqa: BLE001  # one frame is lost, the camera goes on
            self._lost[Loss.TRACKER] += 1
            self._tell(error)
            return
        outcome = Outcome(frame, detections, tracks, self._labels, max(0.0, time.time() - frame.captured_at))
        self._count(outcome)
        for outlet in self._outlets:
            try:
                outlet(outcome)
            except Exception as error:  # noqa: BLE001  # who is told must not end who tells
                self._tell(error)

    def _wanted(self, found: Detections, frame: Frame) -> Detections:
        kept = self._is_wanted[found.class_id]
        if self._regions:
            held = self._regions.hold(found.xyxy, frame.width, frame.height)
            self._ignored += int((held & kept & (found.score >= self.settings.conf)).sum())
            kept &= ~held
        return found if kept.all() else found[kept]

    def _count(self, outcome: Outcome) -> None:
        tracks: Tracks = outcome.tracks
        self._processed += 1
        self._detections += int((outcome.detections.score >= self.settings.conf).sum())
        self._active = int((tracks.state == TrackState.CONFIRMED).sum())
        for track_id in tracks.track_id.tolist():
            if track_id not in self._shown:
                self._tracks += 1
                self._show(track_id)
        self._ages.add(outcome.age_s)
        self._age_s, self._last_frame_at = outcome.age_s, outcome.frame.captured_at
        self._moved_s = time.monotonic()
        self._rate.append((self._moved_s, self._processed))
        while len(self._rate) > 2 and self._moved_s - self._rate[0][0] > _RATE_OVER_S:
            self._rate.popleft()

    def _show(self, track_id: int) -> None:
        self._shown[track_id] = None
        if len(self._shown) > _MOST_SHOWN:
            del self._shown[next(iter(self._shown))]

    def _tell(self, error: Exception) -> None:
        """Logs that a frame could not be tracked or told of, at most once a minute."""
        if (now_s := time.monotonic()) - self._told_s >= _TELL_AGAIN_S:
            self._told_s = now_s
            name = self.settings.camera.camera
            _log.error('camera "%s": a frame could not be tracked or told (%s: %s)', name, type(error).__name__, error)
