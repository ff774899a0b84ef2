"""What both sides of the embedding benchmark do: a turn whenever a line is read from stdin, told by a line of JSON.

A line names a file for the vectors of the turn. This knows nothing of watchline: it runs in the peers' venv too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

BATCH: Final = 8  # at which both sides are at their best on a CPU
_LEAST_PX: Final = 24
_PERSON: Final = 0

Picture: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
Vectors: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
Boxes: TypeAlias = dict[int, list[list[int]]]


def people_of(detections: Path) -> Boxes:
    """Returns the people of a file of reference detections: boxes in whole pixels, frame by frame."""
    frames = json.loads(detections.read_text())["frames"]
    return {int(number): [_whole(row[2:]) for row in rows if row[0] == _PERSON] for number, rows in frames.items()}


def serve(frames: Callable[[], Iterator[Picture]], embed: Callable[[list[Picture]], Vectors], people: Boxes) -> None:
    """Answers every line of stdin by a turn: all people of the clip, from decoded frames to vectors.

    Decoding is no part of the time that is told.

    Args:
        frames: gives the clip's frames, (H, W, 3) uint8 RGB.
        embed: gives a vector, (D,) float32 of length 1, for each of at most `BATCH` pictures.
        people: boxes, frame by frame.
    """
    for line in sys.stdin:
        vectors, cpu_s, wall_s = _turn(frames(), embed, people)
        np.save(line.strip(), vectors)
        said = {"crops": len(vectors), "cpu_s": cpu_s, "wall_s": wall_s, "peak_bytes": _peak_bytes()}
        print(json.dumps(said), flush=True)


def _turn(
    frames: Iterator[Picture], embed: Callable[[list[Picture]], Vectors], people: Boxes
) -> tuple[Vectors, float, float]:
    """Returns the vectors of everybody, and the processor and wall seconds that they took."""
    waiting: list[Picture] = []
    found: list[Vectors] = []
    cpu_s = wall_s = 0.0
    last = max(people)
    for number, rgb in enumerate(frames):
        cpu_before_s, before_s = time.process_time(), time.perf_counter()
        for left, top, right, bottom in people.get(number, []):
            cut = rgb[max(top, 0) : bottom, max(left, 0) : right]
            if min(cut.shape[:2]) >= _LEAST_PX:
                waiting.append(cut.copy())
        while len(waiting) >= BATCH or (waiting and number == last):
            found.append(embed(waiting[:BATCH]))
            del waiting[:BATCH]
        cpu_s += time.process_time() - cpu_before_s
        wall_s += time.perf_counter() - before_s
        if number == last:
            break
    return np.concatenate(found), cpu_s, wall_s


def _whole(xyxy: list[float]) -> list[int]:
    return [round(number) for number in xyxy]


def _peak_bytes() -> int:
    """Returns the most memory that this process ever held; Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
