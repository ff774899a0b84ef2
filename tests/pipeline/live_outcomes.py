"""Outcomes of frames that were never taken, for what is told of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import LABELS
from watchline.detectors.detections import Detections
from watchline.pipeline.live.outcome import Outcome
from watchline.streams.frame import ClockSource, Frame, Picture
from watchline.trackers.tracks import Tracks

AT = 1795269600.0  # 2026-11-21, 14:00 UTC


def make_tracks(*ids: int) -> Tracks:
    """Tracks side by side, each seen."""
    n = len(ids)
    left = 10 * np.arange(n, dtype=np.float32)
    return Tracks(
        np.array(ids, np.int64).reshape(n),
        np.stack([left, left * 0 + 5, left + 8, left * 0 + 30], axis=1).reshape(n, 4),
        np.full(n, 0.875, np.float32),
        np.zeros(n, np.int32),
        np.ones(n, np.uint8),
        np.ones(n, np.float32),
        np.arange(n, dtype=np.int32),
    )


def make_outcome(
    sequence: int = 0,
    *ids: int,
    camera: str = "cam",
    at: float | None = None,
    pts_s: float | None = None,
    size: tuple[int, int] = (48, 64),
    picture: Picture | None = None,
) -> Outcome:
    """The outcome of a grey frame, five of which come a second."""
    picture = picture or Picture.from_rgb(np.full((*size, 3), 90, np.uint8))
    pts_s = sequence / 5 if pts_s is None else pts_s
    at = AT + sequence / 5 if at is None else at
    frame = Frame(camera, sequence, pts_s, at, ClockSource.ARRIVAL, picture, 0.05)
    tracks = make_tracks(*ids)
    detections = Detections(tracks.xyxy, tracks.score, tracks.class_id)
    return Outcome(frame, detections, tracks, LABELS, 0.1)


def wait_until(true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Waits until it is so; fails after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def lines_of(folder: Path, camera: str = "cam") -> list[dict[str, Any]]:
    """All lines of a camera, in the order of the files' names."""
    paths = sorted((folder / "tracks" / camera).glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


class Hands:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = AT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
