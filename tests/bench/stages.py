"""Where each processor millisecond of a frame goes: the parts of `watchline run`, one after the other, in one thread.

`python -m tests.bench.stages CLIP NETWORK [--device DEVICE] [--json FILE]`; FILE of an earlier run, of other code, is
shown beside with `--before FILE`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.table import table
from watchline.detectors.boxes import F32
from watchline.detectors.engine import Engine
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.opening import open_engine
from watchline.pipeline.album import Album
from watchline.pipeline.findings import Findings
from watchline.pipeline.machine import return_memory_early
from watchline.pipeline.sinks import VideoSink
from watchline.pipeline.tables import Tables
from watchline.streams.opening import open_source
from watchline.trackers.build import build_tracker

DECODE: Final = "decode the stream"
CONVERT: Final = "convert to RGB"
PACK: Final = "resize, pack"
INFER: Final = "inference"
BOXES: Final = "boxes, suppression"
TRACK: Final = "track"
TABLES: Final = "write tables"
CROPS: Final = "look for crops"
VIDEO: Final = "draw, encode the video"
PARTS: Final = (DECODE, CONVERT, PACK, INFER, BOXES, TRACK, TABLES, CROPS, VIDEO)
_WARM: Final = 20  # frames that do not count
_CLASSES: Final = ("person",)
_LEAST_SCORE: Final = 0.1


class _Costs:
    """Sums processor time a part."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Counts the time of its block."""
        before_s = time.process_time()
        yield
        self.cpu_s[part] += time.process_time() - before_s


class _Timed:
    """An engine whose inference is counted apart from what its caller does before and after."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.info, self.card, self.fixed_size = engine.info, engine.card, engine.fixed_size
        self.began_s = self.ended_s = 0.0

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns what the engine does."""
        self.began_s = time.process_time()
        outputs = self._engine.run(batch)
        self.ended_s = time.process_time()
        return outputs


def measure(clip: Path, network: Path, device: str) -> tuple[str, dict[str, float]]:
    """Returns what ran, and the processor milliseconds a frame of each of `PARTS`."""
    engine = _Timed(open_engine(network, device))
    detector = NetworkDetector(engine, DetectorOptions(_LEAST_SCORE, engine.card.iou, classes=_CLASSES))
    costs, frames = _Costs(), 0
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(str(clip))
        interval_s = 1 / source.info.fps
        album, tracker = Album(detector.labels, interval_s), build_tracker(interval_s=interval_s)
        tables = Tables(Path(folder), detector.labels, save_detections=False, least_score=0.25)
        video = VideoSink(Path(folder) / "annotated.mp4", detector.labels, 1 / interval_s)
        while True:
            with costs.of(DECODE):
                frame = source.read()
            if frame is None:
                break
            with costs.of(CONVERT):
                frame.rgb()
            before_s = time.process_time()
            found = Findings(detector.detect([frame])[0])
            costs.cpu_s[PACK] += engine.began_s - before_s
            costs.cpu_s[INFER] += engine.ended_s - engine.began_s
            costs.cpu_s[BOXES] += time.process_time() - engine.ended_s
            with costs.of(TRACK):
                tracks = tracker.update(found.detections, frame.pts_s)
            with costs.of(TABLES):
                tables.write(frame, found, tracks)
            with costs.of(CROPS):
                album.add(frame, tracks, found)
            with costs.of(VIDEO):
                video.write(frame, found, tracks)
            frames += 1
            if frames == _WARM:
                costs.cpu_s.clear()
        with costs.of(VIDEO):
            video.close()
        tables.close()
        source.close()
    assert frames > _WARM, f"{clip} has {frames} frames; the first {_WARM} do not count"
    assert album.track_count, "nothing was found: what would the times be worth?"
    return engine.info.provider, {part: 1e3 * costs.cpu_s[part] / (frames - _WARM) for part in PARTS}


def main() -> None:
    """Measures, prints a table, and keeps the figures where asked."""
    parser = argparse.ArgumentParser(prog="tests.bench.stages", description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("network", type=Path, help="an .onnx file")
    parser.add_argument("--device", action="append", help="several, too; else cpu")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many counts")
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    parser.add_argument("--before", type=Path, help="figures of other code, to be shown beside")
    arguments = parser.parse_args()
    return_memory_early()  # as the command does
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    rounds: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(arguments.rounds):
        for device in arguments.device or ["cpu"]:
            provider, costs = measure(arguments.clip, arguments.network, device)
            rounds[provider].append(costs)
    now = {name: {part: statistics.median(c[part] for c in each) for part in PARTS} for name, each in rounds.items()}
    if arguments.json:
        arguments.json.write_text(json.dumps(now, indent=2))
    before = json.loads(arguments.before.read_text()) if arguments.before else {}
    columns = [(name, figures) for name in now for figures in ([before[name]] if name in before else []) + [now[name]]]
    rows = [(part, *(f"{figures[part]:.2f}" for _, figures in columns)) for part in PARTS]
    rows += [
        ("all", *(f"{sum(figures.values()):.2f}" for _, figures in columns)),
        ("all but the video", *(f"{sum(figures.values()) - figures[VIDEO]:.2f}" for _, figures in columns)),
    ]
    print(table(("CPU ms a frame", *(name for name, _ in columns)), rows))


if __name__ == "__main__":
    main()
