"""People of a video into features: found, followed, and described by the best pictures of each track, or by all."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from watchline.detectors.engine import Engine
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.pipeline.annotate import clock_text
from watchline.pipeline.cropping import LEAST_SIDE_PX
from watchline.pipeline.extracting import FeatureRows, Problems, Row
from watchline.pipeline.findings import Findings
from watchline.pipeline.graph import Progress, Road, Sampling
from watchline.pipeline.machine import usable_cpus
from watchline.pipeline.run import RunOptions
from watchline.pipeline.stopwatch import Stopwatch
from watchline.reid.collector import Collector, CollectorSettings
from watchline.reid.cutting import Cut
from watchline.reid.describe import BodyEmbedder
from watchline.reid.quality import Gate, judge, sharpness
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.errors import UsageError, WatchlineError
from watchline.streams.frame import U8, Frame
from watchline.streams.source import Source
from watchline.trackers.build import TrackerChoice, build_tracker
from watchline.trackers.tracks import Tracks

PEOPLE: Final = ("person",)
_FAINTEST: Final = 0.1  # a track lives on by detections too faint to begin one
_TOGETHER: Final = 32  # pictures described at once
_GPU_BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How people of a video are found, and which pictures of them are described.

    Attributes:
        best: most pictures of a track (of each part of a long one), the best ones; 0: every one in every frame.
        fps: at most this many frames a second are looked at; 0 for all.
        conf: least score of a detection that begins a track, in [0, 1].
    """

    best: int = 5
    fps: float = 0.0
    conf: float = RunOptions().conf


class VideoCrops:
    """Finds and follows the people of videos, one video after the other.

    Args:
        engine: runs the detector.
        options: what is wanted.
        name: of the detector, for the error.

    Raises:
        UsageError: the detector finds no people.
    """

    def __init__(self, engine: Engine, options: VideoOptions, name: str) -> None:
        if not set(PEOPLE) & set(engine.card.labels):
            shown = ", ".join(engine.card.labels[:5])
            raise UsageError(f"--detector {name}: finds {shown}, and no person; name one that does, such as yolov8n")
        self._options = options
        faint = min(options.conf, _FAINTEST)
        self._detector = NetworkDetector(engine, DetectorOptions(faint, engine.card.iou, classes=PEOPLE))
        self._workers = usable_cpus() + engine.info.own_threads
        self._batch = 1 if engine.info.device == "cpu" else _GPU_BATCH

    def run(
        self,
        source: Source,
        spec: str,
        embedder: BodyEmbedder,
        found: FeatureRows,
        problems: Problems,
        stop: threading.Event,
        on_progress: Callable[[Progress], None],
        *,
        query: bool = False,
    ) -> str:
        """Describes the people of one video.

        Args:
            source: opened; closed by the caller.
            spec: the video as the user named it.
            embedder: describes pictures.
            found: takes what came of it.
            problems: takes what is damaged in the video, and what ended it early after its first frame.
            stop: set it to end early.
            on_progress: called after each processed frame.
            query: mark the pictures as asked for.

        Returns:
            What a user should know of tracks that no picture is good enough of; "" for nothing.

        Raises:
            WatchlineError: what ended it before its first frame; or more than a file may hold.
        """
        options, interval_s = self._options, Sampling(fps=self._options.fps).interval_s(source.info.fps)
        self._detector.warm_up(source.info.height, source.info.width, self._workers, self._batch)
        rows = _Rows(spec, embedder, found, query)
        sink = _BestSink(source.camera, self._detector.labels, options.best, rows) if options.best else _AllSink(rows)
        report = Road(
            source,
            self._detector,
            build_tracker(TrackerChoice(), interval_s, options.conf),
            [sink],
            sampling=Sampling(fps=options.fps),
            workers=self._workers,
            batch=self._batch,
            stop=stop,
            on_progress=on_progress,
            watch=Stopwatch(),
        ).run()
        if isinstance(report.error, UsageError) or (report.error and not report.processed):
            raise report.error
        for line in source.report().damage:
            problems.add(f"{spec}: {line}")
        if report.error:
            reason = report.error if isinstance(report.error, WatchlineError) else repr(report.error)
            problems.add(f"{spec}: stopped after {report.processed} frames: {reason}")
        return sink.note()


class _Rows:
    """Pictures of a video on their way into features, several together."""

    def __init__(self, spec: str, embedder: BodyEmbedder, found: FeatureRows, query: bool) -> None:
        self._spec = spec
        self._embedder = embedder
        self._found = found
        self._query = query
        self._rows: list[Row] = []
        self._crops: list[U8] = []

    def add(self, camera: str, track_id: int, crop: Crop) -> None:
        """Takes a picture."""
        left, top, right, bottom = (float(side) for side in crop.xyxy)
        self._rows.append(
            Row(
                name=f"{Path(self._spec).name} {clock_text(crop.pts_s)} #{track_id}",
                file=self._spec,
                camera=camera,
                box=(left, top, right, bottom),
                time_s=crop.pts_s,
                track_id=track_id,
                quality=crop.quality,
                query=self._query,
            )
        )
        self._crops.append(crop.rgb)
        if len(self._crops) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Describes what waits."""
        self._found.add(self._rows, self._embedder.embed(self._crops))
        self._rows, self._crops = [], []


class _BestSink:
    """A `Sink` that gathers the best pictures of each track."""

    name = "crops"

    def __init__(self, camera: str, labels: Sequence[str], best: int, rows: _Rows) -> None:
        self._collector = Collector(camera, labels, CollectorSettings(people=PEOPLE, crops=best, faces=0))
        self._rows = rows

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:  # noqa: ARG002 - a `Sink`'s
        """Looks at one frame."""
        self._take(self._collector.look(frame, tracks))

    def close(self) -> None:
        """Describes the tracks that are still open."""
        self._take(self._collector.finish())
        self._rows.flush()

    def note(self) -> str:
        """Returns what a user should know; "" for nothing."""
        gathered, told = self._collector.gathered, []
        if without := gathered.without_crop:
            reasons = ", ".join(f"{count} {reason}" for reason, count in without.most_common())
            told.append(f"no picture of {without.total()} of {gathered.tracklets} tracks is good enough: {reasons}")
        if gathered.given_up:
            told.append(f"left out for want of memory: {gathered.given_up} pictures")
        if crowded := gathered.refused + gathered.ended_early:
            told.append(f"left out, or ended early, for there were too many at once: tracks, {crowded} times")
        return "; ".join(told)

    def _take(self, ended: Sequence[Tracklet]) -> None:
        for tracklet in ended:
            for crop in tracklet.crops:
                self._rows.add(tracklet.camera, tracklet.track_id, crop)


class _AllSink:
    """A `Sink` that takes every picture of everybody, good or not."""

    name = "crops"

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows
        self._gate = Gate(0.0, 0.0, least_score=0.0, most_covered=1.0, least_sharpness=0.0, cut_shape=(0.0, math.inf))

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:  # noqa: ARG002 - a `Sink`'s
        """Takes what is seen in one frame."""
        seen = tracks[tracks.seen]
        judged = judge(seen.xyxy, seen.score, frame.height, frame.width, self._gate)
        for i in range(len(seen)):
            part = Cut.of(seen.xyxy[i], frame.height, frame.width)
            if min(part.width, part.height) < LEAST_SIDE_PX:
                continue
            rgb = part.view(frame.rgb()).copy()
            quality = float(judged.bound[i]) * sharpness(rgb)
            points = np.empty((0, 2), np.float32)
            crop = Crop(rgb, seen.xyxy[i], points, float(seen.score[i]), quality, frame.pts_s, frame.captured_at)
            self._rows.add(frame.camera, int(seen.track_id[i]), crop)

    def close(self) -> None:
        """Describes what waits."""
        self._rows.flush()

    def note(self) -> str:
        """Nothing is left out."""
        return ""
