"""The results that programs read: tracks.jsonl, tracks.mot.txt, detections.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from watchline.detectors.boxes import F32, xyxy_to_tlwh
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.detectors.masks import paint, run_lengths
from watchline.pipeline.files import LineFile
from watchline.streams.frame import Frame
from watchline.trackers.tracks import Tracks, TrackState

TRACKS = "tracks.jsonl"
MOT = "tracks.mot.txt"
DETECTIONS = "detections.jsonl"


class Tables:
    """A `Sink` that writes a line a processed frame.

    Boxes are written to a thousandth of a pixel, scores and times to a millionth.

    Args:
        folder: exists already.
        labels: class names.
        save_detections: write detections.jsonl too.
        least_score: detections below, found only to keep tracks alive, are not written there.

    Raises:
        OutputError: a file cannot be written.
    """

    name = "write"
    found = 0  # detections of at least `least_score`

    def __init__(self, folder: Path, labels: Sequence[str], *, save_detections: bool, least_score: float) -> None:
        self._labels = labels
        self._least_score = least_score
        self._tracks = LineFile(folder / TRACKS)
        self._mot = LineFile(folder / MOT)
        self._detections = LineFile(folder / DETECTIONS) if save_detections else None

    def write(self, frame: Frame, detections: Detections, tracks: Tracks) -> None:
        """Writes one frame's lines."""
        self.found += int((detections.score >= self._least_score).sum())
        head = {"frame": frame.sequence, "pts_s": round(frame.pts_s, 6)}
        rows = [
            {
                "track_id": int(tracks.track_id[i]),
                "class": self._labels[tracks.class_id[i]],
                "score": _score(tracks.score[i]),
                "xyxy": _box(tracks.xyxy[i]),
                "state": TrackState(tracks.state[i]).name.lower(),
                **_shape(detections, int(tracks.detection[i]), frame),
            }
            for i in range(len(tracks))
        ]
        self._tracks.write(_line({**head, "tracks": rows}))
        tlwh = xyxy_to_tlwh(tracks.xyxy)
        for i in range(len(tracks)):
            box = ",".join(f"{value:.3f}" for value in tlwh[i])
            self._mot.write(f"{frame.sequence + 1},{tracks.track_id[i]},{box},{tracks.score[i]:.6f},-1,-1,-1")
        if self._detections:
            self._detections.write(_line({**head, "detections": self._found(detections, frame)}))

    def _found(self, detections: Detections, frame: Frame) -> list[dict[str, object]]:
        return [
            {
                "class_id": int(detections.class_id[i]),
                "class": self._labels[detections.class_id[i]],
                "score": _score(detections.score[i]),
                "xyxy": _box(detections.xyxy[i]),
                **_shape(detections, i, frame),
            }
            for i in range(len(detections))
            if detections.score[i] >= self._least_score
        ]

    def close(self) -> None:
        """Closes the files."""
        for file in (self._tracks, self._mot, self._detections):
            if file:
                file.close()


def _shape(detections: Detections, row: int, frame: Frame) -> dict[str, object]:
    """Returns what a detection has beside its box: keypoints [x, y, score], landmarks [x, y], a mask as COCO has it."""
    if row < 0:  # coasting
        return {}
    if isinstance(detections, PoseDetections):
        return {"keypoints": [[*_box(point[:2]), _score(point[2])] for point in detections.keypoints[row]]}
    if isinstance(detections, FaceDetections):
        return {"landmarks": [_box(point) for point in detections.landmarks[row]]}
    if isinstance(detections, MaskDetections):
        left, top, inside = paint(detections.masks[row], detections.xyxy[row], frame.height, frame.width)
        counts = run_lengths(left, top, inside, frame.height, frame.width)
        return {"mask": {"size": [frame.height, frame.width], "counts": counts}}
    return {}


def _line(record: dict[str, object]) -> str:
    return json.dumps(record, separators=(",", ":"))


def _box(xyxy: F32) -> list[float]:
    return [round(float(value), 3) for value in xyxy]


def _score(score: float) -> float:
    return round(float(score), 6)
