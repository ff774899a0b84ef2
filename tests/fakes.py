"""Scripted stand-ins behind our own one-method seams; nothing else is ever faked."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.detections import Detections, FaceDetections
from watchline.detectors.engine import EngineInfo
from watchline.pipeline.findings import Findings
from watchline.streams.frame import ClockSource, Frame, Picture
from watchline.streams.source import SourceInfo, SourceReport
from watchline.trackers.state import TrackerState
from watchline.trackers.tracks import Tracks

LABELS = ("person", "car")


def make_frame(sequence: int = 0, height: int = 48, width: int = 64, fps: float = 25.0, camera: str = "cam") -> Frame:
    """A grey frame; its sequence number is in its first pixels."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    rgb[0, :4, 0] = [(sequence >> shift) & 255 for shift in (0, 8, 16, 24)]
    return Frame(camera, sequence, sequence / fps, 1e9 + sequence / fps, ClockSource.FILE, Picture.from_rgb(rgb))


def make_detections(*boxes: tuple[float, float, float, float], score: float = 0.9, class_id: int = 0) -> Detections:
    """Detections of one class and score."""
    n = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(n, 4)
    return Detections(xyxy, np.full(n, score, np.float32), np.full(n, class_id, np.int32))


def make_faces(*boxes: tuple[float, float, float, float], score: float = 0.8) -> FaceDetections:
    """Faces whose landmarks are where a frontal face has them."""
    plain = make_detections(*boxes, score=score)
    places = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)
    corner, size = plain.xyxy[:, None, :2], (plain.xyxy[:, 2:] - plain.xyxy[:, :2])[:, None]
    return FaceDetections(plain.xyxy, plain.score, plain.class_id, corner + places * size)


class ScriptedSource:
    """Gives `frames`, then the end; an exception among them is raised where it stands."""

    camera = "cam"

    def __init__(self, frames: Iterator[Frame | Exception] | Sequence[Frame | Exception]) -> None:
        self._frames = iter(frames)
        self.info = SourceInfo("video", 64, 48, 25.0, None, None, "scripted")
        self.read_count = 0

    def read(self) -> Frame | None:
        frame = next(self._frames, None)
        if isinstance(frame, Exception):
            raise frame
        self.read_count += frame is not None
        return frame

    def report(self) -> SourceReport:
        return SourceReport(self.read_count, 0, 0, ())

    def close(self) -> None:
        pass


class ScriptedDetector:
    """Finds what `script` says for a frame; keeps the most calls that were ever under way at once."""

    labels = LABELS

    def __init__(self, script: Callable[[Frame], Detections], delay_s: float = 0.0) -> None:
        self._script = script
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._under_way = 0
        self.most_under_way = 0

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        with self._lock:
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
        try:
            time.sleep(self._delay_s)
            return [self._script(frame) for frame in frames]
        finally:
            with self._lock:
                self._under_way -= 1


class ScriptedEngine:
    """A network whose output is `output(item)` for each item (3, H, W) of the batch."""

    info = EngineInfo("scripted", "cpu", "none")

    def __init__(self, output: Callable[[F32], F32], fixed_size: tuple[int, int] | None = None) -> None:
        self._output = output
        self.fixed_size = fixed_size
        self.card = ModelCard("yolov8", "detect", LABELS, (8, 16, 32))
        self.batches: list[tuple[int, ...]] = []

    def run(self, batch: F32) -> tuple[F32, ...]:
        self.batches.append(batch.shape)
        return (np.stack([self._output(item) for item in batch]),)


class RecordingSink:
    """Keeps what it is given; fails at frame `fail_at` when one is named."""

    name = "record"

    def __init__(self, fail_at: int | None = None, error: Exception | None = None) -> None:
        self.frames: list[int] = []
        self.tracks: list[Tracks] = []
        self.findings: list[Findings] = []
        self.closed = 0
        self._fail_at = fail_at
        self._error = error or RuntimeError("the sink broke")

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:
        if frame.sequence == self._fail_at:
            raise self._error
        self.frames.append(frame.sequence)
        self.tracks.append(tracks)
        self.findings.append(findings)

    def close(self) -> None:
        self.closed += 1


class OneTrackTracker:
    """Every frame's first detection is track 1."""

    backend = "python"

    def update(self, detections: Detections, time_s: float) -> Tracks:
        first = detections[:1]
        n = len(first)
        return Tracks(
            np.ones(n, np.int64),
            first.xyxy,
            first.score,
            first.class_id,
            np.ones(n, np.uint8),
            np.full(n, time_s, np.float32),
            np.zeros(n, np.int32),
        )

    def reset(self) -> None:
        pass

    def save(self) -> TrackerState:
        return TrackerState("one track", -math.inf, 2, np.empty(0, [("track_id", np.int64)]))

    def restore(self, state: TrackerState) -> None:
        pass
