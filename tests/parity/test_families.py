"""Real models of other families, on real pictures, against other programs and against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.command import json_lines, summary_of, watchline
from watchline.detectors.boxes import iou_matrix
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.masks import paint
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.streams.frame import U8, ClockSource, Frame, Picture

pytestmark = pytest.mark.data

FACES = ("yolov8-lite-t-face", "face_detection_yunet_2026may", "scrfd_500m_bnkps")
PICTURES = ("face_1.jpg", "face_2.jpg")


def detector(data_dir: Path, model: str, least_score: float = 0.25, iou: float = 0.7) -> NetworkDetector:
    engine = OnnxEngine(data_dir / "models" / f"{model}.onnx", "cpu")
    return NetworkDetector(engine, DetectorOptions(least_score, iou))


def frame_of(bgr: U8) -> Frame:
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    return Frame("cam", 0, 0.0, 0.0, ClockSource.FILE, Picture.from_rgb(rgb))


def picture(data_dir: Path, name: str) -> U8:
    return np.asarray(cv2.imread(str(data_dir / "images" / name)), np.uint8)


def every_tenth(data_dir: Path, clip: str, count: int) -> Iterator[tuple[int, U8]]:
    video = cv2.VideoCapture(str(data_dir / "clips" / f"{clip}.mp4"))
    for index in range(10 * count):
        whole, bgr = video.read()
        assert whole
        if index % 10 == 0:
            yield index, np.asarray(bgr, np.uint8)


def found_by_yolov8n(data_dir: Path, clip: str, frame: int) -> np.ndarray:
    """Rows of class, score, x0, y0, x1, y1, by the original program."""
    reference = json.loads((data_dir / "detections" / f"{clip}.yolov8n.json").read_text())["frames"]
    return np.array(reference[str(frame)], np.float32).reshape(-1, 6)


def share_found(ours: Detections, theirs: np.ndarray, class_id: int, iou: float) -> tuple[int, int]:
    """How many of their sure boxes of a class lie on one of ours, and how many there are."""
    want = theirs[(theirs[:, 0] == class_id) & (theirs[:, 1] > 0.7)]
    if not len(want):
        return 0, 0
    mine = ours[ours.class_id == class_id]
    best = iou_matrix(want[:, 2:], mine.xyxy).max(axis=1) if len(mine) else np.zeros(len(want))
    return int((best > iou).sum()), len(want)


@pytest.mark.parametrize("name", PICTURES)
def test_yunet_finds_what_opencv_finds_with_it(data_dir: Path, name: str) -> None:
    bgr = picture(data_dir, name)
    (found,) = detector(data_dir, "face_detection_yunet_2026may", 0.3, 0.3).detect([frame_of(bgr)])
    box = Letterbox.fit(bgr.shape[0], bgr.shape[1], 640, 640, centred=False)
    small = box.resize(bgr)
    model = str(data_dir / "models" / "face_detection_yunet_2026may.onnx")
    opencv = cv2.FaceDetectorYN.create(model, "", (small.shape[1], small.shape[0]), 0.3, 0.3)
    rows = np.asarray(opencv.detect(small)[1])
    rows = rows[np.argsort(-rows[:, 14])]
    assert isinstance(found, FaceDetections)
    assert len(found) == len(rows) > 0
    want = rows[:, :14] / box.gain
    assert np.allclose(found.score, rows[:, 14], atol=1e-5)
    assert np.allclose(found.xyxy, np.c_[want[:, :2], want[:, :2] + want[:, 2:4]], atol=0.01)
    assert np.allclose(found.landmarks.reshape(-1, 10), want[:, 4:14], atol=0.01)


@pytest.mark.parametrize("name", PICTURES)
def test_all_face_families_put_the_same_landmarks_in_the_same_order(data_dir: Path, name: str) -> None:
    frame = frame_of(picture(data_dir, name))
    faces = [detector(data_dir, model, 0.5, 0.4).detect([frame])[0] for model in FACES]
    for found in faces:
        assert isinstance(found, FaceDetections)
        assert len(found) == 1
        left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
        assert left_eye[0] < nose[0] < right_eye[0]
        assert left_mouth[0] < nose[0] < right_mouth[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
        assert iou_matrix(found.xyxy, faces[0].xyxy)[0, 0] > 0.8
        side = found.xyxy[0, 2] - found.xyxy[0, 0]
        assert isinstance(faces[0], FaceDetections)
        assert np.abs(found.landmarks - faces[0].landmarks).max() < 0.1 * side


def test_yolox_sees_the_people_that_yolov8_is_sure_of(data_dir: Path) -> None:
    network, hits, wanted = detector(data_dir, "yolox_nano"), 0, 0
    for index, bgr in every_tenth(data_dir, "people-walking", 8):
        (found,) = network.detect([frame_of(bgr)])
        hit, want = share_found(found, found_by_yolov8n(data_dir, "people-walking", index), 0, iou=0.5)
        hits, wanted = hits + hit, wanted + want
    assert wanted > 40
    assert hits / wanted > 0.85


def test_poses_stand_where_yolov8_sees_people_and_the_right_way_up(data_dir: Path) -> None:
    network, hits, wanted, upright, people = detector(data_dir, "yolov8n-pose_640"), 0, 0, 0, 0
    assert network.labels == ("person",)
    for index, bgr in every_tenth(data_dir, "people-walking", 6):
        (found,) = network.detect([frame_of(bgr)])
        assert isinstance(found, PoseDetections)
        hit, want = share_found(found, found_by_yolov8n(data_dir, "people-walking", index), 0, iou=0.7)
        hits, wanted = hits + hit, wanted + want
        sure = found[(found.score > 0.7) & (found.keypoints[:, [5, 6, 11, 12, 13, 14], 2] > 0.5).all(axis=1)]
        shoulders, hips, knees = (sure.keypoints[:, rows, 1].mean(axis=1) for rows in ([5, 6], [11, 12], [13, 14]))
        upright += int(((shoulders < hips) & (hips < knees)).sum())
        people += len(sure)
    assert wanted > 30
    assert hits / wanted > 0.9
    assert people > 20
    assert upright == people


def test_masks_fill_the_people_and_not_their_boxes(data_dir: Path) -> None:
    network = detector(data_dir, "yolov8n-seg_int8_dyn")
    shares: list[float] = []
    corners: list[bool] = []
    for _, bgr in every_tenth(data_dir, "people-walking", 4):
        (found,) = network.detect([frame_of(bgr)])
        assert isinstance(found, MaskDetections)
        people = found[(found.class_id == 0) & (found.score > 0.6)]
        for mask, box in zip(people.masks, people.xyxy, strict=True):
            _, _, inside = paint(mask, box, *bgr.shape[:2])
            shares.append(inside.mean())
            # A person stands in the middle of the box: its upper corners are street.
            assert inside[len(inside) // 4 : -len(inside) // 4, inside.shape[1] // 2].mean() > 0.5
            corners.extend(inside[0, [0, -1]])
    assert len(shares) > 10
    assert np.mean(corners) < 0.1
    assert 0.4 < float(np.median(shares)) < 0.85


@pytest.mark.parametrize(
    ("model", "family", "task", "label"),
    [
        ("yolov8n-pose_640", "yolov8", "pose", "person"),
        ("yolov8n-seg_int8_dyn", "yolov8", "segment", "person"),
        ("yolov8-lite-t-face", "yolov8", "face", "face"),
        ("face_detection_yunet_2026may", "yunet", "face", "face"),
        ("scrfd_500m_bnkps", "scrfd", "face", "face"),
        ("yolox_nano", "yolox", "detect", "person"),
    ],
)
def test_watchline_run_follows_what_any_of_them_finds(
    data_dir: Path, tmp_path: Path, model: str, family: str, task: str, label: str
) -> None:
    done = watchline(
        "run", data_dir / "clips" / "people-walking.mp4", "--model", data_dir / "models" / f"{model}.onnx",
        "--out", tmp_path, "--max-frames", "12", "--save-detections",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "people-walking"
    assert (summary_of(folder)["model"]["family"], summary_of(folder)["model"]["task"]) == (family, task)
    assert label in {track["class"] for line in json_lines(folder / "tracks.jsonl") for track in line["tracks"]}


def test_a_wrong_family_ends_with_one_line(data_dir: Path, tmp_path: Path) -> None:
    clip, model = data_dir / "clips" / "bikes.mp4", data_dir / "models" / "yolox_nano.onnx"
    done = watchline("run", clip, "--model", model, "--family", "yunet", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "a yunet model's outputs would be cls_8" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_info_says_what_a_bare_onnx_is(data_dir: Path, tmp_path: Path) -> None:
    done = watchline(
        "models", "info", data_dir / "models" / "scrfd_500m_bnkps.onnx", "--json", "--cache", tmp_path / "cache"
    )
    described = json.loads(done.stdout)
    assert (described["family"], described["task"], described["supported"]) == ("scrfd", "face", True)
    done = watchline("models", "info", data_dir / "models" / "osnet_x0_25_msmt17.onnx", "--cache", tmp_path / "cache")
    assert "supported     no" in done.stdout
    assert "it compares pictures" in done.stdout
