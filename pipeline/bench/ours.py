"""Our side of a benchmark: `python -m watchline.pipeline.bench.ours JOB`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo
from watchline.detectors.feeding import feed
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.opening import open_engine
from watchline.pipeline.bench.turns import Call, claim_stdout, serve
from watchline.pipeline.machine import return_memory_early
from watchline.streams.frame import U8, ClockSource, Frame, Picture


@dataclass(frozen=True, slots=True)
class SizedEngine:
    """An engine that is always fed pictures of one size, whatever the network would take."""

    engine: Engine
    fixed_size: tuple[int, int]

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self.engine.info

    @property
    def card(self) -> ModelCard:
        """What the network is and how it wants to be fed."""
        return self.engine.card

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns what the network says to `batch` (N, 3, H, W) float32."""
        return self.engine.run(batch)


class Watchline:
    """Our engine and our detector, with as many calls at once as there are threads: as `watchline run` works."""

    def __init__(self, job: dict[str, Any]) -> None:
        engine = open_engine(Path(job["network"]), job["device"], job["family"], job["threads"])
        height, width = job["size"]
        self._engine = engine = SizedEngine(engine, (height, width))
        self._batch, self._threads = job["batch"], job["threads"]
        self._stored = np.load(job["frames"], mmap_mode="r")
        self._held = [np.array(self._stored[i]) for i in job["held"]]
        self._detector: NetworkDetector | None = None
        if engine.card.task != "embed":
            self._detector = NetworkDetector(engine, DetectorOptions(iou=job["iou"]))

    def facts(self) -> dict[str, object]:
        """Returns what really runs."""
        card = self._engine.card
        facts = {"threads": self._threads, "task": card.task, "labels": list(card.labels)}
        return asdict(self._engine.info) | facts

    def calls(self, part: str, turn: int) -> list[Call]:
        """Returns one call for each thread, each of its own frames."""
        pictures = [
            [self._held[(turn + worker + i) % len(self._held)] for i in range(self._batch)]
            for worker in range(self._threads)
        ]
        if part == "detector":
            return [partial(self._detect, [_frame(rgb) for rgb in own]) for own in pictures]
        return [partial(self._infer, self._fed(own)) for own in pictures]

    def find(self) -> list[list[list[float]]]:
        """Returns what is found in each frame: rows of x1, y1, x2, y2 in pixels, score and class."""
        assert self._detector is not None
        found = []
        for rgb in self._stored:
            (one,) = self._detector.detect([_frame(np.array(rgb))])
            rows = np.column_stack([one.xyxy, one.score, one.class_id]).astype(np.float64)
            found.append(rows.tolist())
        return found

    def _detect(self, frames: list[Frame]) -> int:
        assert self._detector is not None
        return len(self._detector.detect(frames))

    def _infer(self, batch: F32) -> int:
        if self._engine.card.batched:
            self._engine.run(batch)
        else:
            for i in range(len(batch)):
                self._engine.run(batch[i : i + 1])
        return len(batch)

    def _fed(self, pictures: list[U8]) -> F32:
        """Returns the network's input (N, 3, H, W) float32 for N pictures."""
        (height, width), card = self._engine.fixed_size, self._engine.card
        batch = np.empty((len(pictures), 3, height, width), np.float32)
        for rgb, item in zip(pictures, batch, strict=True):
            rows, columns = rgb.shape[:2]
            if card.placement == "stretch":
                box = Letterbox.stretch(rows, columns, height, width)
            else:
                centred = card.placement == "centre"
                box = Letterbox.fit(rows, columns, height, width, rectangular=False, centred=centred)
            feed(rgb, box, card, item)
        return batch


def _frame(rgb: U8) -> Frame:
    return Frame("bench", 0, 0.0, 0.0, ClockSource.FILE, Picture.from_rgb(rgb))


def main() -> int:
    """Serves until there are no more requests; returns the exit status."""
    job = json.loads(sys.argv[1])
    return_memory_early()
    return serve(claim_stdout(), lambda: Watchline(job))


if __name__ == "__main__":
    sys.exit(main())
