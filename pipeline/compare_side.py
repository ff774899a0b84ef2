"""One side of a comparison: `python -m watchline.pipeline.compare_side JOB`, a process that runs one model alone.

Only so is its memory its own. It holds nothing but the network and one picture: frames come decoded, on stdin, each as
a line of JSON and its RGB bytes; for each an answer goes out, a line of JSON and the bytes of what was found.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, TypedDict, cast

import numpy as np

from watchline.detectors.detections import Detections
from watchline.detectors.engine import Engine, EngineInfo
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.opening import open_engine
from watchline.pipeline.machine import peak_memory_bytes, return_memory_early
from watchline.streams.errors import UsageError, WatchlineError
from watchline.streams.frame import ClockSource, Frame, Picture


class Job(TypedDict):
    """What to run: a `network` on a `device`, found with at least `least_score`, of `classes` or all."""

    network: str
    family: str
    device: str
    least_score: float
    size: int
    classes: list[str]


class Hello(TypedDict, total=False):
    """The first answer: what the network is, or the `error` for which nothing runs, the user's mistake if `usage`."""

    error: str
    usage: bool
    labels: list[str]
    task: str
    fixed_size: list[int]


class Ran(TypedDict):
    """What runs, as it is after a frame: engines may change in flight. `fallbacks`: left, taken, reason of each."""

    runtime: str
    device: str
    provider: str
    fallbacks: list[tuple[str, str, str]]


class Asked(TypedDict):
    """A frame that comes; (height, width, 3) bytes follow."""

    sequence: int
    pts_s: float
    height: int
    width: int


class Answered(TypedDict, total=False):
    """What was found: N boxes, whose xyxy (float32), scores (float32) and classes (int32) follow; or an `error`."""

    error: str
    ran: Ran
    boxes: int
    wall_s: float
    cpu_s: float
    peak_bytes: int


def main(text: str) -> int:
    """Answers until stdin ends."""
    return_memory_early()
    job: Job = json.loads(text)
    source, sink = cast("BufferedReader", sys.stdin.buffer), sys.stdout.buffer
    try:
        engine = _engine(job)
        detector, hello = _detector(engine, job)
    except WatchlineError as error:
        _say(sink, Hello(error=str(error), usage=error.exit_code == 2))
        return 1
    _say(sink, hello)
    warm = False
    while line := source.readline():
        frame = _frame(json.loads(line), source)
        try:
            if not warm:  # the first call allocates, and is nobody's usual one
                detector.detect([frame])
                warm = True
            wall, cpu = time.perf_counter(), time.process_time()
            (found,) = detector.detect([frame])
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        except WatchlineError as error:
            _say(sink, Answered(error=str(error)))
            return 1
        ran = _ran(engine.info)
        answer = Answered(ran=ran, boxes=len(found), wall_s=wall, cpu_s=cpu, peak_bytes=peak_memory_bytes())
        _say(sink, answer, found.xyxy.tobytes() + found.score.tobytes() + found.class_id.tobytes())
    return 0


def read_found(answer: Answered, source: IO[bytes]) -> Detections:
    """Returns the boxes that follow an answer."""
    n = answer["boxes"]
    return Detections(
        np.frombuffer(source.read(16 * n), np.float32).reshape(n, 4),
        np.frombuffer(source.read(4 * n), np.float32),
        np.frombuffer(source.read(4 * n), np.int32),
    )


def _engine(job: Job) -> Engine:
    """Returns what runs the network; of one that says itself what it is the family is not asked."""
    network = Path(job["network"])
    if job["family"]:
        with suppress(UsageError):
            return open_engine(network, job["device"], job["family"])
    return open_engine(network, job["device"])


def _ran(info: EngineInfo) -> Ran:
    fallbacks = [(fallback.left, fallback.taken, fallback.reason) for fallback in info.fallbacks]
    return Ran(runtime=info.runtime, device=info.device, provider=info.provider, fallbacks=fallbacks)


def _detector(engine: Engine, job: Job) -> tuple[NetworkDetector, Hello]:
    options = DetectorOptions(job["least_score"], engine.card.iou, job["size"], tuple(job["classes"]))
    hello = Hello(
        labels=list(engine.card.labels),
        task=engine.card.task,
        fixed_size=list(engine.fixed_size or ()),
    )
    return NetworkDetector(engine, options), hello


def _frame(asked: Asked, source: BufferedReader) -> Frame:
    rgb = np.empty((asked["height"], asked["width"], 3), np.uint8)
    left = rgb.data.cast("B")
    while left:  # into its place: read as bytes, a picture would be held twice
        left = left[source.readinto(left) or _ended() :]
    return Frame("compared", asked["sequence"], asked["pts_s"], asked["pts_s"], ClockSource.FILE, Picture.from_rgb(rgb))


def _ended() -> int:
    raise EOFError("the picture ends early")


def _say(sink: IO[bytes], words: Hello | Answered, data: bytes = b"") -> None:
    sink.write(json.dumps(words).encode("ascii") + b"\n" + data)
    sink.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
