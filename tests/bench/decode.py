"""From a network's output to its detections: the native functions beside their NumPy twins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.bench.table import table
from watchline.detectors.boxes import F32, cxcywh_to_xyxy
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.heads.best_class import best_classes_native, best_classes_numpy
from watchline.detectors.heads.yolov8 import candidates
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.nms import nms_native, nms_numpy
from watchline.streams.frame import U8
from watchline.streams.opening import open_source

Found: TypeAlias = tuple[F32, NDArray[np.float32], NDArray[np.int32], NDArray[np.intp]]
Decode: TypeAlias = Callable[[F32, float], Found]

_IOU, _LIMIT = 0.7, 300


def compare(rounds: int, network: Path, clips: list[Path]) -> None:
    """Prints the processor time of both sides from output to kept rows; asserts equality first."""
    if best_classes_native is None or nms_native is None:
        print("  the native module is not built here")
        return
    rows = []
    for name, output, least_score in _scenes(network, clips):
        ours, twin = _ours(output, least_score), _twin(output, least_score)
        assert [column.tobytes() for column in ours] == [column.tobytes() for column in twin], name
        native, numpy = (_best_ms(decode, output, least_score, rounds) for decode in (_ours, _twin))
        counts = f"{len(ours[1])}", f"{len(ours[3])}"
        rows.append((name, f"{least_score}", *counts, f"{native:.3f}", f"{numpy:.3f}", f"{numpy / native:.0f}"))
    head = ("one (84, 8400) output", "score", "candidates", "kept", "native ms CPU", "numpy ms CPU", "ratio")
    print(table(head, rows))


def _ours(output: F32, least_score: float) -> Found:
    assert nms_native is not None
    found = candidates(output, least_score)
    return *found, nms_native(*found, _IOU, _LIMIT)


def _twin(output: F32, least_score: float) -> Found:
    anchor, score, class_id = best_classes_numpy(output[4:], least_score)
    xyxy = cxcywh_to_xyxy(output[:4].take(anchor, axis=1).T)
    return xyxy, score, class_id, nms_numpy(xyxy, score, class_id, _IOU, _LIMIT)


def _scenes(network: Path, clips: list[Path]) -> Iterator[tuple[str, F32, float]]:
    """Yields real outputs: a frame of each clip, nine frames of the first in one picture, and its every anchor."""
    engine = OnnxEngine(network, "cpu")
    frames = [_frames(clip, 9) for clip in clips]
    for clip, pictures in zip(clips, frames, strict=True):
        output = _run(engine, pictures[4])
        for least_score in (0.25, 0.1, 0.001):
            yield clip.stem, output, least_score
    crowd = np.concatenate([np.concatenate(frames[0][i : i + 3], axis=1) for i in (0, 3, 6)])
    yield f"{clips[0].stem}, nine frames in one", _run(engine, crowd), 0.1
    output = _run(engine, frames[0][4])
    anchors, best = np.arange(output.shape[1]), output[4:].argmax(axis=0)
    # The network's own order of anchors, lifted above the threshold.
    output[4 + best, anchors] = 0.001 + 0.9 * output[4 + best, anchors] ** np.float32(0.25)
    yield f"{clips[0].stem}, every anchor", output, 0.001


def _frames(clip: Path, count: int) -> list[U8]:
    """Returns pictures from all over the first 180 frames."""
    source = open_source(str(clip))
    try:
        read = [frame.rgb() for frame in islice(iter(source.read, None), 0, 180, 10)]
    finally:
        source.close()
    return [read[i * len(read) // count] for i in range(count)]


def _run(engine: OnnxEngine, picture: U8) -> F32:
    height, width = picture.shape[:2]
    box = Letterbox.fit(height, width, 640, 640, rectangular=False)
    batch = np.empty((1, 3, 640, 640), np.float32)
    box.apply(picture, batch[0], engine.card.pad)
    output: F32 = engine.run(batch)[0]
    return output


def _best_ms(decode: Decode, output: F32, least_score: float, rounds: int) -> float:
    """Returns the best mean of a round; many calls a round, so that the clock's own cost does not count."""
    spent = []
    for _ in range(5 * rounds):
        calls, started = 0, time.thread_time()
        while calls == 0 or time.thread_time() - started < 0.02:
            decode(output, least_score)
            calls += 1
        spent.append((time.thread_time() - started) / calls)
    return min(spent) * 1e3
