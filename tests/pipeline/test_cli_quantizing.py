"""`watchline models quantize`, as a user runs it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
import onnx
import pytest

from tests.command import watchline
from tests.detectors.small_network import CARD, write_small_network
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import OnnxEngine
from watchline.pipeline.compare_sample import chosen, spread
from watchline.pipeline.quantizing import Attempt, Fed, best_of

if TYPE_CHECKING:
    from watchline.pipeline.compare import Comparison

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
    first, second, *_ = done.stderr.splitlines()
    assert first == "watchline: calibrating with 20 frames of 1 input, comparing on 20 frames of 1 input"
    assert second.startswith("minmax: recall 0.000")
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
    assert said[1] == "watchline: choosing from 24 frames of 1 input"
    assert said[2].startswith("percentile: recall 1.000")
    assert said[3].startswith("percentile, 2 clusters: recall 1.000")
    assert "watchline: 2 clusters do not pay: recall 1.000, precision 1.000; without 1.000, 1.000" in said
    record = json.loads(done.stdout)
    assert (record["clusters"], record["rival"]["clusters"]) == (0, 2)


def test_a_model_for_openvino_is_compared_on_openvino_with_float32(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    small = write_small_network(tmp_path / "small.onnx")
    done = watchline(
        *("models", "quantize", small, "--calibrate", clip, "--cache", tmp_path, "--imgsz", "64", "--json"),
        *("--runtime", "openvino", "--frames", "8", "--keep", "0"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["out"] == "small-int8-openvino.onnx"
    assert (tmp_path / record["out"]).is_file()
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
    *under_way, last = done.stderr.splitlines()
    assert words in last
    assert all(line.startswith("watchline: calibrating with") for line in under_way)


def test_a_result_where_none_can_be_is_refused_before_any_work(clip: Path, tmp_path: Path) -> None:
    small = write_small_network(tmp_path / "small.onnx")
    before = small.read_bytes()
    for out, words in (
        (small, "is the model itself; choose another name"),
        (tmp_path, "is a folder; name a file, such as"),
        (tmp_path / "nowhere" / "made.onnx", "there is no folder"),
    ):
        done = watchline(*quantizing(small, clip, out, tmp_path))
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert f"--out {out}: {words}" in done.stderr
    assert small.read_bytes() == before


def test_a_quantized_model_is_not_quantized_again(clip: Path, tmp_path: Path) -> None:
    small, made = write_small_network(tmp_path / "small.onnx"), tmp_path / "made.onnx"
    assert watchline(*quantizing(small, clip, made, tmp_path), "--keep", "0", "--frames", "8").returncode == 0
    for to in ("int8", "fp16"):
        done = watchline(*quantizing(made, clip, tmp_path / "again.onnx", tmp_path), "--to", to)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert "made.onnx: is quantized already (int8: percentile); give the float model" in done.stderr


def test_one_image_is_too_few(tmp_path: Path) -> None:
    small, (image,) = write_small_network(tmp_path / "small.onnx"), _images(tmp_path / "one", 1)
    done = watchline(*quantizing(small, image, tmp_path / "made.onnx", tmp_path))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "too few frames" in done.stderr
    assert "give a folder or a clip of at least 2 frames" in done.stderr


def _images(folder: Path, count: int) -> list[Path]:
    """Writes pictures that differ."""
    folder.mkdir()
    paths = [folder / f"{number:02}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((64, 64, 3), 255 * number // count, np.uint8))
    return paths


def test_clusters_choose_from_what_inputs_give_not_from_what_they_announce(tmp_path: Path) -> None:
    small, images = write_small_network(tmp_path / "small.onnx"), _images(tmp_path / "first", 20)
    for path in images[2:12]:
        path.write_bytes(b"no image")
    _images(tmp_path / "second", 20)
    folders = [str(tmp_path / "first"), str(tmp_path / "second")]
    samples = spread(folders, 40)
    fed = Fed(OnnxEngine(small, "cpu"), samples, 64)
    pictures = [float(picture.mean()) for picture in fed()]
    assert len(pictures) == len(fed.came) == 30
    again = Fed(OnnxEngine(small, "cpu"), chosen(samples, [fed.came[i] for i in (3, 10, 29)]), 64)
    assert [float(picture.mean()) for picture in again()] == [pictures[3], pictures[10], pictures[29]]


def _attempt(how: str, recall: float, precision: float) -> Attempt:
    boxes = SimpleNamespace(recall=recall, precision=precision)
    return Attempt(how, b"", cast("Comparison", SimpleNamespace(boxes=boxes)))


@pytest.mark.parametrize(
    ("plain", "clustered", "best"),
    [
        ((0.985, 0.90), (0.970, 0.99), "plain"),  # one alone loses little enough, though both together are less
        ((0.970, 0.99), (0.985, 0.90), "clustered"),
        ((0.985, 0.90), (0.981, 0.95), "clustered"),  # both do: recall and precision count
        ((0.90, 0.99), (0.95, 0.80), "clustered"),  # neither does: the one that loses least
        ((0.99, 0.99), (0.99, 0.99), "plain"),
    ],
)
def test_of_two_attempts_that_which_loses_too_much_is_never_the_better(
    plain: tuple[float, float], clustered: tuple[float, float], best: str
) -> None:
    found = best_of([_attempt("plain", *plain), _attempt("clustered", *clustered)], 0.02)
    assert found.how == best
    assert found.rival is not None
    assert found.rival.how != best


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
