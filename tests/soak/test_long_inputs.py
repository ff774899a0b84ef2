"""Long inputs run in flat memory."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from tests.clips import Clip, write_clip
from tests.fakes import ScriptedEngine
from watchline.detectors.boxes import F32
from watchline.pipeline.graph import Progress
from watchline.pipeline.model import Model
from watchline.pipeline.run import Runner, RunOptions
from watchline.streams.frame import Frame
from watchline.streams.opening import open_source
from watchline.streams.source import SourceInfo, SourceReport

FRAMES = 20_000


class LoopedSource:
    """A real clip over and over, as one long recording."""

    def __init__(self, clip: Path, frames: int) -> None:
        self._clip = clip
        self._frames = frames
        self._source = open_source(str(clip))
        self.camera = self._source.camera
        info = self._source.info
        self.info = SourceInfo(info.kind, info.width, info.height, info.fps, frames, None, info.codec)
        self._given = 0

    def read(self) -> Frame | None:
        if self._given == self._frames:
            return None
        frame = self._source.read()
        if frame is None:
            self._source.close()
            self._source = open_source(str(self._clip))
            frame = self._source.read()
            assert frame is not None
        pts_s = self._given / self.info.fps
        looped = Frame(frame.camera, self._given, pts_s, frame.captured_at, frame.clock, frame.picture)
        self._given += 1
        return looped

    def report(self) -> SourceReport:
        return SourceReport(self._given, 0, 0, ())

    def close(self) -> None:
        self._source.close()


def churning_engine() -> ScriptedEngine:
    """Twelve people; every 40 frames each place is taken by somebody new elsewhere."""
    calls = iter(range(10**9))

    def output(_item: F32) -> F32:
        number = next(calls)
        rng = np.random.default_rng(number // 40)
        rows = np.zeros((6, 12), np.float32)
        rows[0], rows[1] = rng.uniform(10, 150, 12), rng.uniform(10, 100, 12)
        rows[2], rows[3], rows[4] = 14, 30, 0.9
        return rows

    return ScriptedEngine(output)


def memory_every(frames: int, samples: list[int]) -> Iterator[None]:
    """Yields after each frame; notes the resident memory every `frames`."""
    process = psutil.Process()
    count = 0
    while True:
        yield
        count += 1
        if count % frames == 0:
            gc.collect()
            samples.append(process.memory_info().rss)


def test_twenty_thousand_frames_run_in_flat_memory(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "loop.mp4", Clip(frames=100))
    samples: list[int] = []
    ticks = memory_every(1000, samples)
    next(ticks)

    def on_progress(_progress: Progress) -> None:
        next(ticks)

    runner = Runner([Model("tiny", "0" * 64, tmp_path)], RunOptions(imgsz=160, threads=2), [churning_engine()])
    summary = runner.run(LoopedSource(clip, FRAMES), str(clip), tmp_path / "out", threading.Event(), on_progress)
    assert summary.status == "complete"
    assert summary.frames.processed == FRAMES
    assert summary.tracks > 3000, "the scene must churn, or nothing is tried"
    # The first quarter fills what is bounded: the album, the tracker, the encoder.
    settled, end = max(samples[4:8]), max(samples[-4:])
    assert end < settled + 8e6, [round(sample / 1e6) for sample in samples]
    assert (tmp_path / "out" / "report.html").stat().st_size < 10e6
