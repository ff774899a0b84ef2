from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import LABELS, OneTrackTracker, make_detections, make_faces, make_frame
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.pipeline.findings import Findings, Tied
from watchline.pipeline.tables import Tables
from watchline.trackers.tracks import Tracks


def write(folder: Path, save_detections: bool = True) -> None:
    tables = Tables(folder, LABELS, save_detections=save_detections, least_score=0.25)
    tracker = OneTrackTracker()
    for sequence, score in ((0, 0.9), (4, 0.2)):
        detections = make_detections((1.0004, 2, 11.25, 22), score=score)
        tables.write(make_frame(sequence), Findings(detections), tracker.update(detections, 0.0))
    tables.write(make_frame(5), Findings(Detections.empty()), Tracks.empty())
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
    tables.write(make_frame(0), Findings(found), OneTrackTracker().update(found, 0.0))
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


def faces_written(folder: Path, first: Detections, owner: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The lines of tracks.jsonl and detections.jsonl of a frame with one face."""
    tables = Tables(folder, LABELS, save_detections=True, least_score=0.25, companions=[0.25])
    findings = Findings(first, (Tied(make_faces((14, 21, 18, 25)), np.array([owner], np.int32)),))
    tables.write(make_frame(0), findings, OneTrackTracker().update(first, 0.0))
    tables.close()
    assert (tables.tallies[1].found, tables.tallies[1].without_track) == (1, owner != 0)
    tracks, detections = (json.loads((folder / name).read_text()) for name, _ in OUTPUTS)
    return tracks, detections


FACE = {
    "score": 0.8,
    "xyxy": [14.0, 21.0, 18.0, 25.0],
    "landmarks": [[15.2, 22.6], [16.8, 22.6], [16.0, 23.4], [15.4, 24.2], [16.6, 24.2]],
}


def test_a_face_is_written_with_the_person_that_it_belongs_to(tmp_path: Path) -> None:
    for line, key in zip(faces_written(tmp_path, PLAIN, owner=0), ("tracks", "detections"), strict=True):
        assert line[key][0]["face"] == FACE
        assert line["faces"] == []


def test_a_face_that_belongs_to_nobody_is_written_beside_the_tracks(tmp_path: Path) -> None:
    for line, key in zip(faces_written(tmp_path, PLAIN, owner=-1), ("tracks", "detections"), strict=True):
        assert "face" not in line[key][0]
        assert line["faces"] == [FACE]


def test_a_face_whose_person_is_not_written_is_not_lost(tmp_path: Path) -> None:
    faint = make_detections((0, 0, 5, 5), (10, 20, 30, 40), score=0.2)  # the tracker of this test follows the first
    tracks, detections = faces_written(tmp_path, faint, owner=1)
    assert tracks["faces"] == detections["faces"] == [FACE]
    assert detections["detections"] == []


def test_a_pose_of_another_model_is_written_as_the_objects_own(tmp_path: Path) -> None:
    points = np.full((1, 2, 3), 0.5, np.float32)
    tables = Tables(tmp_path, LABELS, save_detections=False, least_score=0.25, companions=[0.25])
    tied = Tied(PoseDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, points), np.array([0], np.int32))
    tables.write(make_frame(0), Findings(PLAIN, (tied,)), OneTrackTracker().update(PLAIN, 0.0))
    tables.close()
    line = json.loads((tmp_path / "tracks.jsonl").read_text())
    assert line["tracks"][0]["keypoints"] == [[0.5, 0.5, 0.5]] * 2
    assert "faces" not in line, "no model looks for faces"
