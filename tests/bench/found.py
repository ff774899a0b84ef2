"""What both sides of the road benchmark found and tracked, in one form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from watchline.detectors.agreement import pairs
from watchline.detectors.detections import Detections
from watchline.pipeline.track_agreement import TrackAgreement, agreement_of_tracks
from watchline.trackers.tracks import Tracks, TrackState


@dataclass(frozen=True, slots=True)
class Found:
    """What one run found and tracked, a record a frame of the clip.

    Attributes:
        boxes: of a score of at least 0.25.
        tracks: as shown.
    """

    boxes: list[Detections]
    tracks: list[Tracks]


def of_watchline(folder: Path, class_ids: dict[str, int]) -> Found:
    """Returns what `watchline run --save-detections` wrote into `folder`."""
    boxes = [
        _detections([[*d["xyxy"], d["score"], d["class_id"]] for d in line["detections"]])
        for line in _lines(folder / "detections.jsonl")
    ]
    tracks = [
        _tracks([[*t["xyxy"], t["track_id"], t["score"], class_ids[t["class"]]] for t in line["tracks"]])
        for line in _lines(folder / "tracks.jsonl")
    ]
    return Found(boxes, tracks)


def of_ultralytics(file: Path) -> Found:
    """Returns what `ultralytics_track.py` wrote."""
    lines = _lines(file)
    return Found([_detections(line["boxes"]) for line in lines], [_tracks(line["tracks"]) for line in lines])


def reference_of(file: Path, class_ids: Sequence[int] = ()) -> list[Detections]:
    """Returns the original's own boxes, of some classes or all, as the test data holds them."""
    frames = json.loads(file.read_text())["frames"]
    rows = [
        [row for row in frames.get(str(i), []) if not class_ids or row[0] in class_ids] for i in range(_end(frames))
    ]
    return [_detections([[*row[2:], row[1], row[0]] for row in each]) for each in rows]


def recall(reference: Sequence[Detections], found: Sequence[Detections], least_iou: float) -> float:
    """Returns the share of the reference's boxes that were found: of the same class, overlapping by `least_iou`."""
    hits = sum(len(pairs(want, got, least_iou)[0]) for want, got in zip(reference, found, strict=False))
    return hits / max(1, sum(map(len, reference)))


def agreed(a: Sequence[Tracks], b: Sequence[Tracks]) -> TrackAgreement:
    """Returns what tracks `b` have of tracks `a`; a run that ended early has none in what is left."""
    frames = max(len(a), len(b))
    more = [[*each, *[Tracks.empty()] * (frames - len(each))] for each in (a, b)]
    return agreement_of_tracks(*more)


def _end(frames: dict[str, Any]) -> int:
    return max(map(int, frames), default=-1) + 1


def _lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _detections(rows: Sequence[Sequence[float]]) -> Detections:
    """Returns rows of x1, y1, x2, y2, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int32))


def _tracks(rows: Sequence[Sequence[float]]) -> Tracks:
    """Returns rows of x1, y1, x2, y2, track, score, class."""
    table, n = np.array(rows, np.float32).reshape(-1, 7), len(rows)
    return Tracks(
        track_id=table[:, 4].astype(np.int64),
        xyxy=table[:, :4].copy(),
        score=table[:, 5].copy(),
        class_id=table[:, 6].astype(np.int32),
        state=np.full(n, TrackState.CONFIRMED, np.uint8),
        age_s=np.zeros(n, np.float32),
        detection=np.arange(n, dtype=np.int32),
    )
