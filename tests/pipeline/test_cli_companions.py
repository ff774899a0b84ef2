"""`watchline run` with several models: people, and whose face, pose and mask it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.command import json_lines, summary_of, watchline, write_constant_model, write_tiny_face_model
from watchline.detectors.card import ModelCard

HEAD, WINDOW = (0.5, 0.3, 0.056, 0.056), (0.85, 0.35, 0.06, 0.06)  # of the one person; far from everybody


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds the face of the one person and another, in every picture."""
    return write_tiny_face_model(tmp_path_factory.mktemp("faces") / "faces.onnx", HEAD, WINDOW)


@pytest.fixture(scope="module")
def out(tiny: Path, faces: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    done = watchline("run", clip, "--model", tiny, "--model", faces, "--out", out, "--save-detections")
    assert done.returncode == 0, done.stderr
    return out / "yard"


def test_every_line_ties_one_face_to_the_person_and_keeps_the_other(out: Path) -> None:
    for name, key in (("tracks.jsonl", "tracks"), ("detections.jsonl", "detections")):
        lines = json_lines(out / name)
        assert len(lines) == 40
        for line in lines:
            (one,), (free,) = line[key], line["faces"]
            assert set(one["face"]) == set(free) == {"score", "xyxy", "landmarks"}
            assert one["xyxy"][0] < one["face"]["xyxy"][0] < one["face"]["xyxy"][2] < one["xyxy"][2]
            assert free["xyxy"][0] > one["xyxy"][2]
            assert len(free["landmarks"]) == 5


def test_the_summary_lists_both_models_with_what_each_found_and_cost(out: Path, tiny: Path, faces: Path) -> None:
    summary = summary_of(out)
    first, second = summary["models"]
    assert first == summary["model"]
    assert (first["name"], first["task"], first["stage"], first["found"]) == (tiny.name, "detect", "detect", 40)
    assert (second["name"], second["task"], second["stage"]) == (faces.name, "face", "face")
    assert (second["found"], second["without_track"]) == (80, 40)
    assert second["device"] == "cpu"
    assert second["cpu_s"] > 0
    assert summary["tracks_with_face"] == 1
    assert summary["options"]["companions"] == [{"model": str(faces), "family": "", "conf": None}]
    assert {stage["name"] for stage in summary["stages"]} >= {"detect", "face"}


def test_the_report_shows_the_face(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert "face in 40 of 40 frames" in page
    assert 'class="face" src="data:image/jpeg;base64,' in page


def test_results_are_the_same_bytes_for_any_threads(tiny: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
    seen = set()
    for threads in ("1", "3"):
        out = tmp_path / threads
        models = ("--model", tiny, "--model", faces)
        done = watchline("run", clip, *models, "--out", out, "--threads", threads, "--no-video", "--save-detections")
        assert done.returncode == 0, done.stderr
        seen.add(tuple((out / "yard" / name).read_bytes() for name in ("tracks.jsonl", "detections.jsonl")))
    assert len(seen) == 1


def test_where_there_are_no_faces_every_line_says_so(tiny: Path, clip: Path, tmp_path: Path) -> None:
    faint = write_tiny_face_model(tmp_path / "faint.onnx", HEAD, score=0.2)
    done = watchline("run", clip, "--model", tiny, "--model", faint, "--out", tmp_path / "out", "--no-video")
    assert done.returncode == 0, done.stderr
    lines = json_lines(tmp_path / "out" / "yard" / "tracks.jsonl")
    assert all(line["faces"] == [] and "face" not in line["tracks"][0] for line in lines)
    summary = summary_of(tmp_path / "out" / "yard")
    assert (summary["tracks_with_face"], summary["models"][1]["found"]) == (0, 0)


def test_faces_have_a_least_score_of_their_own(tiny: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
    models = ("--model", tiny, "--model", faces, "--conf", "faces.onnx=0.85", "--conf", "0.5")
    done = watchline("run", clip, *models, "--out", tmp_path / "out", "--no-video", "--max-frames", "3")
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path / "out" / "yard")
    assert [model["found"] for model in summary["models"]] == [3, 0]  # people of 0.9, faces of 0.8
    assert (summary["options"]["conf"], summary["options"]["companions"][0]["conf"]) == (0.5, 0.85)


def test_a_pose_model_gives_the_people_of_the_first_their_keypoints(tiny: Path, clip: Path, tmp_path: Path) -> None:
    points = [value for i in range(17) for value in (10 + i / 4, 10 + i / 2, 0.9)]
    card = ModelCard("yolov8", "pose", ("person",), (8, 16, 32), keypoints=(17, 3))
    poses = write_constant_model(tmp_path / "poses.onnx", card, [(16, 16, 8, 15, 0.7, *points)])
    done = watchline("run", clip, "--model", tiny, "--model", poses, "--out", tmp_path / "out", "--max-frames", "5")
    assert done.returncode == 0, done.stderr
    for line in json_lines(tmp_path / "out" / "yard" / "tracks.jsonl"):
        assert len(line["tracks"][0]["keypoints"]) == 17
        assert "faces" not in line
    assert "draw skeletons" in (tmp_path / "out" / "yard" / "report.html").read_text()


class TestRefusals:
    """One line, before anything is written."""

    def refused(self, clip: Path, out: Path, *arguments: str | Path) -> tuple[int, str]:
        done = watchline("run", clip, "--out", out, *arguments)
        assert not out.exists() or not any(out.rglob("*.*"))
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.returncode, done.stderr

    def test_the_same_model_twice(self, tiny: Path, clip: Path, tmp_path: Path) -> None:
        code, said = self.refused(clip, tmp_path / "out", "--model", tiny, "--model", tiny)
        assert (code, "is given twice" in said) == (2, True)

    def test_a_second_model_that_only_finds_objects(self, tiny: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
        code, said = self.refused(clip, tmp_path / "out", "--model", faces, "--model", tiny)
        assert (code, "name it first" in said) == (2, True)

    def test_a_companion_that_is_not_there(self, tiny: Path, clip: Path, tmp_path: Path) -> None:
        gone = tmp_path / "gone.onnx"
        code, said = self.refused(clip, tmp_path / "out", "--model", tiny, "--model", gone)
        assert (code, f"no such file: {gone}" in said) == (1, True)

    def test_a_companion_that_is_no_network(self, tiny: Path, clip: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken.onnx"
        broken.write_bytes(b"not a network")
        code, said = self.refused(clip, tmp_path / "out", "--model", tiny, "--model", broken)
        assert (code, broken.name in said) == (1, True)

    def test_a_family_without_its_model(self, tiny: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
        models = ("--model", tiny, "--model", faces)
        code, said = self.refused(clip, tmp_path / "out", *models, "--family", "yolov8-face")
        assert (code, "give --family MODEL=NAME" in said) == (2, True)

    def test_an_input_size_that_no_model_takes(self, tiny: Path, faces: Path, clip: Path, tmp_path: Path) -> None:
        code, said = self.refused(clip, tmp_path / "out", "--model", tiny, "--model", faces, "--imgsz", "640")
        assert (code, "these models take 32x32 alone" in said) == (2, True)


FACE_MODELS = ("yolov8-lite-t-face.onnx", "face_detection_yunet_2026may.onnx", "scrfd_500m_bnkps.onnx")


def street(data_dir: Path, out: Path, *models: str, frames: int = 20, every: int = 8) -> list[dict[str, Any]]:
    """The lines of a run on the shopping street."""
    done = watchline(
        "run", data_dir / "clips" / "people-walking.mp4", "--out", out, "--no-video", "--cache", out / "cache",
        *(argument for model in models for argument in ("--model", data_dir / "models" / model)),
        *(("--family", f"{FACE_MODELS[0]}=yolov8-face") if FACE_MODELS[0] in models else ()),
        "--max-frames", str(frames), "--every", str(every),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json_lines(out / "people-walking" / "tracks.jsonl")


@pytest.mark.data
@pytest.mark.parametrize("model", FACE_MODELS)
def test_on_a_street_the_two_who_come_near_keep_their_own_faces(data_dir: Path, tmp_path: Path, model: str) -> None:
    lines = street(data_dir, tmp_path, "yolov8n.pt", model, frames=13)
    near = [track for line in lines for track in line["tracks"] if track["track_id"] in (1, 2)]
    assert len(near) >= 24
    with_face = [track for track in near if "face" in track]
    assert len(with_face) >= 0.9 * len(near)
    for track in with_face:
        (left, top, right, bottom), (x0, y0, x1, y1) = track["xyxy"], track["face"]["xyxy"]
        assert left < (x0 + x1) / 2 < right
        assert (y0 + y1) / 2 < top + 0.25 * (bottom - top)


@pytest.mark.data
def test_boxes_alone_tie_faces_as_noses_do(data_dir: Path, tmp_path: Path) -> None:
    by_box = street(data_dir, tmp_path / "boxes", "yolov8n.pt", FACE_MODELS[0])
    by_nose = street(data_dir, tmp_path / "noses", "yolov8n.pt", "yolov8n-pose_640.onnx", FACE_MODELS[0])
    agreed = other = 0
    for boxes, noses in zip(by_box, by_nose, strict=True):
        owners = {tuple(track["face"]["xyxy"]): track["track_id"] for track in boxes["tracks"] if "face" in track}
        for track in noses["tracks"]:
            if "face" in track and _sees_a_face(track):
                agreed += owners.get(tuple(track["face"]["xyxy"])) == track["track_id"]
                other += owners.get(tuple(track["face"]["xyxy"])) != track["track_id"]
    assert agreed >= 25
    assert other <= 0.05 * agreed


def _sees_a_face(track: dict[str, Any]) -> bool:
    """Whether the pose is sure of nose and eyes."""
    return all(point[2] > 0.5 for point in track.get("keypoints", [[0, 0, 0]])[:3])


@pytest.mark.data
def test_masks_and_poses_of_companions_lie_on_the_people(data_dir: Path, tmp_path: Path) -> None:
    lines = street(
        data_dir, tmp_path, "yolov8n.pt", "yolov8n-pose_640.onnx", "yolov8n-seg_int8_dyn.onnx", frames=3, every=20
    )
    sure = [track for line in lines for track in line["tracks"] if track["class"] == "person" and track["score"] > 0.7]
    assert len(sure) >= 9
    assert sum("keypoints" in track for track in sure) >= 0.8 * len(sure)
    assert sum("mask" in track for track in sure) >= 0.8 * len(sure)


def test_where_people_are_not_looked_for_all_faces_are_nobodys(
    tiny: Path, faces: Path, clip: Path, tmp_path: Path
) -> None:
    models = ("--model", tiny, "--model", faces)
    done = watchline("run", clip, *models, "--out", tmp_path / "out", "--classes", "car", "--no-video")
    assert done.returncode == 0, done.stderr
    for line in json_lines(tmp_path / "out" / "yard" / "tracks.jsonl"):
        assert line["tracks"] == []
        assert len(line["faces"]) == 2
