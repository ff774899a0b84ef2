from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.fakes import LABELS, OneTrackTracker, make_detections, make_frame
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.pipeline.tables import Tables
from watchline.trackers.tracks import Tracks


def write(folder: Path, save_detections: bool = True) -> None:
    tables = Tables(folder, LABELS, save_detections=save_detections, least_score=0.25)
    tracker = OneTrackTracker()
    for sequence, score in ((0, 0.9), (4, 0.2)):
        detections = make_detections((1.0004, 2, 11.25, 22), score=score)
        tables.write(make_frame(sequence), detections, tracker.update(detections, 0.0))
    tables.write(make_frame(5), Detections.empty(), Tracks.empty())
    tables.close()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_processed_frame_is_a_line_and_an_empty_one_too(tmp_path: Path) -> None:
    write(tmp_path)
    first, second, third = lines(tmp_path / "tracks.jsonl")
    track = {"track_id": 1, "class": "person", "score": 0.9, "xyxy": [1.0, 2.0, 11.25, 22.0], "state": "confirmed"}
    assert first == {"frame": 0, "pts_s": 0.0, "tracks": [track]}
    assert (second["frame"], second["pts_s"]) == (4, 0.16)
    assert third == {"frame": 5, "pts_s": 0.2, "tracks": []}


def test_mot_counts_frames_from_one_and_gives_left_top_width_height(tmp_path: Path) -> None:
    write(tmp_path)
    rows = np.loadtxt(tmp_path / "tracks.mot.txt", delimiter=",")
    assert rows[0].tolist() == [1, 1, 1.0, 2.0, 10.25, 20.0, 0.9, -1, -1, -1]
    assert rows[:, 0].tolist() == [1, 5]


def test_detections_below_the_asked_score_serve_the_tracker_alone(tmp_path: Path) -> None:
    write(tmp_path)
    found = [line["detections"] for line in lines(tmp_path / "detections.jsonl")]
    box = {"class_id": 0, "class": "person", "score": 0.9, "xyxy": [1.0, 2.0, 11.25, 22.0]}
    assert found == [[box], [], []]


def test_detections_are_saved_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path, save_detections=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tracks.jsonl", "tracks.mot.txt"]


def written(folder: Path, found: Detections) -> dict[str, object]:
    """The one track and the one detection of a frame, which must say the same."""
    tables = Tables(folder, LABELS, save_detections=True, least_score=0.25)
    tables.write(make_frame(0), found, OneTrackTracker().update(found, 0.0))
    tables.close()
    (track,), (detection,) = (json.loads((folder / name).read_text())[key] for name, key in OUTPUTS)
    shape = {key: track[key] for key in ("keypoints", "landmarks", "mask") if key in track}
    assert shape == {key: detection[key] for key in shape}
    return shape


OUTPUTS = (("tracks.jsonl", "tracks"), ("detections.jsonl", "detections"))
PLAIN = make_detections((10, 20, 30, 40))


def test_keypoints_are_written_with_their_scores(tmp_path: Path) -> None:
    points = np.array([[[11.25, 22, 0.5], [-3, 40.0004, 1]]], np.float32)
    found = PoseDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, points)
    assert written(tmp_path, found) == {"keypoints": [[11.25, 22.0, 0.5], [-3.0, 40.0, 1.0]]}


def test_landmarks_are_written(tmp_path: Path) -> None:
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    found = FaceDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, points)
    assert written(tmp_path, found) == {"landmarks": points[0].tolist()}


def test_a_mask_is_written_as_runs_down_the_columns_of_the_frame(tmp_path: Path) -> None:
    found = MaskDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, np.full((1, 64, 64), 255, np.uint8))
    mask = written(tmp_path, found)["mask"]
    frame = make_frame(0)
    counts = [10 * frame.height + 20, *[20, frame.height - 20] * 19, 20]
    assert mask == {
        "size": [frame.height, frame.width],
        "counts": [*counts, frame.height * frame.width - sum(counts)],
    }
