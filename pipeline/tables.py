"""The results that programs read: tracks.jsonl, tracks.mot.txt, detections.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from watchline.detectors.boxes import F32, xyxy_to_tlwh
from watchline.detectors.detections import I32, Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.detectors.masks import paint, run_lengths
from watchline.pipeline.files import LineFile
from watchline.pipeline.findings import Findings
from watchline.streams.frame import Frame
from watchline.trackers.tracks import Tracks, TrackState

TRACKS = "tracks.jsonl"
MOT = "tracks.mot.txt"
DETECTIONS = "detections.jsonl"

_STATES = {int(state): state.name.lower() for state in TrackState}


@dataclass(slots=True)
class Tally:
    """How much one model found, as far as it counts.

    Attributes:
        least_score: what is below does not count.
        found: in all frames.
        without_track: of these, what no track of its frame has.
    """

    least_score: float
    found: int = 0
    without_track: int = 0

    def add(self, found: Detections, owner: I32, tracked: I32) -> None:
        """Counts one frame; `owner` says whose each of `found` is, `tracked` which of these are tracked."""
        counts = found.score >= self.least_score
        self.found += int(counts.sum())
        self.without_track += int((counts & ~np.isin(owner, tracked[tracked >= 0])).sum())


def track_rows(tracks: Tracks, labels: Sequence[str]) -> list[dict[str, object]]:
    """Returns each track as programs read it: boxes to a thousandth of a pixel, scores to a millionth.

    Args:
        tracks: of one frame; may be empty.
        labels: class names; `tracks.class_id` indexes them.
    """
    # Numbers out of arrays one by one, a dozen a track, would take longer than all the rest.
    columns = (a.tolist() for a in (tracks.track_id, tracks.class_id, tracks.state, tracks.score, tracks.xyxy))
    return [
        {
            "track_id": track_id,
            "class": labels[class_id],
            "score": round(score, 6),
            "xyxy": [round(value, 3) for value in box],
            "state": _STATES[state],
        }
        for track_id, class_id, state, score, box in zip(*columns, strict=True)
    ]


class Tables:
    """A `Sink` that writes a line a processed frame.

    Boxes are written to a thousandth of a pixel, scores and times to a millionth.

    Args:
        folder: exists already.
        labels: class names.
        save_detections: write detections.jsonl too.
        least_score: detections below, found only to keep tracks alive, are not written there.
        companions: least score of what counts, of each further model.

    Attributes:
        tallies: what each model found, the first's first.

    Raises:
        OutputError: a file cannot be written.
    """

    name = "write"

    def __init__(
        self,
        folder: Path,
        labels: Sequence[str],
        *,
        save_detections: bool,
        least_score: float,
        companions: Sequence[float] = (),
    ) -> None:
        self.tallies = [Tally(score) for score in (least_score, *companions)]
        self._labels = labels
        self._least_score = least_score
        self._tracks = LineFile(folder / TRACKS)
        self._mot = LineFile(folder / MOT)
        self._detections = LineFile(folder / DETECTIONS) if save_detections else None

    def write(self, frame: Frame, findings: Findings, tracks: Tracks) -> None:
        """Writes one frame's lines."""
        self._count(findings, tracks)
        head = {"frame": frame.sequence, "pts_s": round(frame.pts_s, 6)}
        rows = [
            {**row, **_shapes(findings, detection, frame)}
            for row, detection in zip(track_rows(tracks, self._labels), tracks.detection.tolist(), strict=True)
        ]
        self._tracks.write(json_line({**head, "tracks": rows, **_free_faces(findings, tracks.detection)}))
        boxes = xyxy_to_tlwh(tracks.xyxy).tolist()
        self._mot.write(
            *(
                f"{frame.sequence + 1},{track_id},{x:.3f},{y:.3f},{w:.3f},{h:.3f},{score:.6f},-1,-1,-1"
                for track_id, score, (x, y, w, h) in zip(
                    tracks.track_id.tolist(), tracks.score.tolist(), boxes, strict=True
                )
            )
        )
        if self._detections:
            kept = np.flatnonzero(findings.detections.score >= self._least_score).astype(np.int32)
            found = self._found(findings, kept, frame)
            self._detections.write(json_line({**head, "detections": found, **_free_faces(findings, kept)}))

    def _count(self, findings: Findings, tracks: Tracks) -> None:
        first = findings.detections
        each = [(first, np.arange(len(first), dtype=np.int32)), *((tied.found, tied.owner) for tied in findings.tied)]
        for tally, (found, owner) in zip(self.tallies, each, strict=True):
            tally.add(found, owner, tracks.detection)

    def _found(self, findings: Findings, rows: I32, frame: Frame) -> list[dict[str, object]]:
        detections = findings.detections
        return [
            {
                "class_id": int(detections.class_id[i]),
                "class": self._labels[detections.class_id[i]],
                "score": _score(detections.score[i]),
                "xyxy": _box(detections.xyxy[i]),
                **_shapes(findings, i, frame),
            }
            for i in rows.tolist()
        ]

    def close(self) -> None:
        """Closes the files."""
        for file in (self._tracks, self._mot, self._detections):
            if file:
                file.close()


def _shapes(findings: Findings, row: int, frame: Frame) -> dict[str, object]:
    """Returns what a detection has beside its box, by whichever model; nothing of row -1, which coasts."""
    if row < 0:
        return {}
    shapes: dict[str, object] = {}
    for found, i in findings.shapes_of(row):
        shapes |= _shape(found, i, frame)
    for face in _faces(findings.face_of(row)):
        shapes["face"] = face
    return shapes


def _free_faces(findings: Findings, rows: I32) -> dict[str, object]:
    """Returns the faces that belong to none of `rows`; where a model looks for faces, also that there are none."""
    return {"faces": _faces(findings.free_faces(rows))} if findings.looks_for_faces else {}


def _faces(faces: FaceDetections) -> list[dict[str, object]]:
    return [
        {
            "score": _score(faces.score[i]),
            "xyxy": _box(faces.xyxy[i]),
            "landmarks": [_box(point) for point in faces.landmarks[i]],
        }
        for i in range(len(faces))
    ]


def _shape(detections: Detections, row: int, frame: Frame) -> dict[str, object]:
    """Returns what a detection has beside its box: keypoints [x, y, score], landmarks [x, y], a mask as COCO has it."""
    if isinstance(detections, PoseDetections):
        return {"keypoints": [[*_box(point[:2]), _score(point[2])] for point in detections.keypoints[row]]}
    if isinstance(detections, FaceDetections):
        return {"landmarks": [_box(point) for point in detections.landmarks[row]]}
    if isinstance(detections, MaskDetections):
        left, top, inside = paint(detections.masks[row], detections.xyxy[row], frame.height, frame.width)
        counts = run_lengths(left, top, inside, frame.height, frame.width)
        return {"mask": {"size": [frame.height, frame.width], "counts": counts}}
    return {}


def json_line(record: dict[str, object]) -> str:
    """Returns `record` as one line, without a line end."""
    return json.dumps(record, separators=(",", ":"))


def _box(xyxy: F32) -> list[float]:
    return [round(value, 3) for value in xyxy.tolist()]


def _score(score: float) -> float:
    return round(float(score), 6)
