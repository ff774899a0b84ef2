"""`watchline models quantize`, as a user runs it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests.command import watchline
from tests.detectors.small_network import CARD, write_small_network
from watchline.detectors.card import ModelCard

OUTLIER = 1e5  # in the same tensor as what matters: 256 steps over both leave nothing of it


def test_an_int8_model_is_written_after_it_was_compared(clip: Path, tmp_path: Path) -> None:
    small, out = write_small_network(tmp_path / "small.onnx"), tmp_path / "made.onnx"
    done = watchline(
        "models", "quantize", small, "--calibrate", clip, "--out", out, "--cache", tmp_path, "--imgsz", "64"
    )
    assert done.returncode == 0, done.stderr
    assert "recall 1.000" in done.stderr
    assert "only 20 boxes to compare" in done.stderr
    assert f"{out}: int8" in done.stdout
    metadata = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert replace(ModelCard.from_metadata(metadata), outputs=()) == CARD
    used = watchline("models", "info", out, "--cache", tmp_path, "--json")
    assert json.loads(used.stdout)["supported"] is True


def quantizing(model: Path, clip: Path, out: Path, cache: Path) -> list[str | Path]:
    """The command that quantizes `model` at 64x64, to which options may be added."""
    return ["models", "quantize", model, "--calibrate", clip, "--out", out, "--cache", cache, "--imgsz", "64"]


def test_a_model_that_lost_too_much_is_not_written(clip: Path, tmp_path: Path) -> None:
    small, out = write_small_network(tmp_path / "small.onnx", outlier=OUTLIER), tmp_path / "made.onnx"
    command = quantizing(small, clip, out, tmp_path)
    refused = watchline(*command, "--keep", "0", "--method", "minmax")
    assert refused.returncode == 1
    assert "int8 lost 100.0% of its boxes, more than --max-loss 0.02; nothing is written" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(tmp_path.glob("made*")) == []
    forced = watchline(*command, "--keep", "0", "--method", "minmax", "--force")
    assert forced.returncode == 0, forced.stderr
    assert out.is_file()


def test_more_is_kept_in_float_until_the_loss_is_small_enough(clip: Path, tmp_path: Path) -> None:
    small, out = write_small_network(tmp_path / "small.onnx", outlier=OUTLIER), tmp_path / "made.onnx"
    command = quantizing(small, clip, out, tmp_path)
    done = watchline(*command, "--method", "minmax", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("minmax: recall 0.000")
    assert json.loads(done.stdout)["recipe"]["keep"] > 0
    assert out.is_file()


def test_a_model_for_openvino_needs_openvino(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError")
    small = write_small_network(tmp_path / "small.onnx")
    command = [*quantizing(small, clip, tmp_path / "made.onnx", tmp_path), "--runtime", "openvino"]
    done = watchline(*command, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "OpenVINO is not installed; `pip install 'watchline[openvino]'`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("to", ["fp16", "bf16"])
def test_weights_of_16_bits_need_no_calibration_and_are_compared_on_all_frames(
    clip: Path, tmp_path: Path, to: str
) -> None:
    small = write_small_network(tmp_path / "small.onnx")
    command = ("models", "quantize", small, "--calibrate", clip, "--cache", tmp_path, "--imgsz", "64", "--to", to)
    done = watchline(*command, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["to"], record["frames"], record["recipe"]) == (to, 40, None)
    assert record["boxes"]["recall"] == record["boxes"]["precision"] == 1.0
    assert (tmp_path / f"small-{to}.onnx").is_file()


def test_clusters_are_tried_beside_plain_calibration_and_what_they_brought_is_said(clip: Path, tmp_path: Path) -> None:
    small, out = write_small_network(tmp_path / "small.onnx"), tmp_path / "made.onnx"
    done = watchline(*quantizing(small, clip, out, tmp_path), "--clusters", "2", "--frames", "12", "--json")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0].startswith("percentile: recall 1.000")
    assert said[1].startswith("percentile, 2 clusters: recall 1.000")
    assert "watchline: 2 clusters do not pay: recall 1.000, precision 1.000; without 1.000, 1.000" in said
    record = json.loads(done.stdout)
    assert (record["clusters"], record["rival"]["clusters"]) == (0, 2)


def test_a_model_for_openvino_is_compared_on_openvino_with_float32(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    small, out = write_small_network(tmp_path / "small.onnx"), tmp_path / "made.onnx"
    done = watchline(
        *quantizing(small, clip, out, tmp_path), "--runtime", "openvino", "--frames", "8", "--keep", "0", "--json"
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["a"]["provider"] == "OpenVINO CPU f32"
    assert record["b"]["provider"].startswith("OpenVINO CPU")
    assert record["recipe"]["runtime"] == "openvino"


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--to", "int4"], "--to int4: want one of int8, fp16, bf16", 2),
        (["--runtime", "ncnn"], "--runtime ncnn: want one of onnxruntime, openvino", 2),
        (
            ["--to", "fp16", "--method", "ema", "--clusters", "4"],
            "--to fp16: nothing is calibrated, so --method and --clusters would do nothing; leave it out",
            2,
        ),
        (["--method", "best"], "method best: want one of minmax, ema, percentile, entropy", 2),
        (["--imgsz", "wide"], "--imgsz wide: want a longest side", 2),
        (["--imgsz", "64x64"], "only a checkpoint can be fixed to a size", 2),
        (["--calibrate", "nowhere"], "nowhere: no such file or folder", 1),
        (["--conf", "1"], "finds nothing in the frames to compare on", 1),
    ],
)
def test_what_cannot_be_quantized_is_said_on_one_line(
    clip: Path, tmp_path: Path, options: list[str], words: str, code: int
) -> None:
    small = write_small_network(tmp_path / "small.onnx")
    done = watchline("models", "quantize", small, "--calibrate", clip, "--cache", tmp_path, *options, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_of_clips_is_all_its_clips(clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(clip.read_bytes())
    small = write_small_network(tmp_path / "small.onnx")
    done = watchline(
        *("models", "quantize", small, "--calibrate", folder, "--cache", tmp_path, "--imgsz", "64", "--frames", "8"),
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 4
    assert (tmp_path / "small-int8.onnx").is_file()


@pytest.mark.data
def test_yolov8n_in_int8_finds_nearly_what_it_found(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    done = watchline(
        *("models", "quantize", data_dir / "models" / "yolov8n.pt", "--out", out, "--cache", tmp_path, "--json"),
        *("--calibrate", data_dir / "clips" / "pedestrians.mp4", "--frames", "24", "--keep", "1", "--max-loss", "0.05"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["boxes"]["recall"] >= 0.95
    assert found["boxes"]["precision"] >= 0.93
    assert found["b"]["file_bytes"] <= 0.27 * found["a"]["file_bytes"]
    assert found["b"]["peak_bytes"] < found["a"]["peak_bytes"]
