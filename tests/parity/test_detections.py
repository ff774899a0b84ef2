"""The whole road against the original program, on real clips: same boxes, same classes, same scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.command import json_lines, watchline
from watchline.detectors.boxes import iou_matrix

pytestmark = pytest.mark.data

CLIPS = ("bikes", "car-detection", "pedestrians", "people-walking")


@pytest.mark.parametrize("clip", CLIPS)
def test_every_box_of_the_original_is_found_and_no_other(data_dir: Path, tmp_path: Path, clip: str) -> None:
    done = watchline(
        "run", data_dir / "clips" / f"{clip}.mp4", "--model", data_dir / "models" / "yolov8n.pt",
        "--cache", tmp_path / "cache", "--out", tmp_path, "--every", "10", "--no-video", "--save-detections",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = {line["frame"]: line["detections"] for line in json_lines(tmp_path / clip / "detections.jsonl")}
    reference = json.loads((data_dir / "detections" / f"{clip}.yolov8n.json").read_text())["frames"]
    assert sorted(ours) == sorted(map(int, reference))
    for frame, boxes in reference.items():
        want = np.array(boxes, np.float64).reshape(-1, 6)
        found = ours[int(frame)]
        assert len(found) == len(want), f"frame {frame}"
        if not found:
            continue
        overlap = iou_matrix(want[:, 2:], np.array([d["xyxy"] for d in found], np.float64))
        match = overlap.argmax(axis=1)
        assert sorted(match) == list(range(len(found))), f"frame {frame}"
        for row, column in enumerate(match):
            assert found[column]["class_id"] == want[row, 0]
            assert found[column]["score"] == pytest.approx(want[row, 1], abs=1e-4)
            # The original's figures are rounded to a thousandth of a pixel.
            assert found[column]["xyxy"] == pytest.approx(want[row, 2:], abs=0.01)


def test_real_results_are_the_same_bytes_for_any_batch_and_threads(data_dir: Path, tmp_path: Path) -> None:
    seen = set()
    for batch, threads in ((1, 1), (4, 2), (7, 5)):
        out = tmp_path / f"{batch}-{threads}"
        done = watchline(
            "run", data_dir / "clips" / "people-walking.mp4", "--model", data_dir / "models" / "yolov8n.pt",
            "--cache", tmp_path / "cache", "--out", out, "--max-frames", "24", "--no-video", "--save-detections",
            "--batch", str(batch), "--threads", str(threads),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        folder = out / "people-walking"
        seen.add(tuple((folder / name).read_bytes() for name in ("tracks.jsonl", "detections.jsonl", "tracks.mot.txt")))
    assert len(seen) == 1


def test_an_onnx_export_of_the_same_weights_runs_as_it_is(data_dir: Path, tmp_path: Path) -> None:
    made = watchline(
        "models", "import", data_dir / "models" / "yolov8n.pt", "--cache", tmp_path, "--out", tmp_path / "mine.onnx"
    )
    assert made.returncode == 0, made.stderr
    done = watchline(
        "run", data_dir / "clips" / "bikes.mp4", "--model", tmp_path / "mine.onnx", "--out", tmp_path / "out",
        "--max-frames", "3", "--no-video",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
