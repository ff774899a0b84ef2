"""`watchline models bench`, run in this process as the command line runs it; its sides are processes of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.clips import Clip, write_clip
from tests.command import watchline, write_constant_model
from watchline.detectors.card import ModelCard
from watchline.pipeline.cli import models
from watchline.streams.errors import ModelError, OutputError, StreamError, UsageError, WatchlineError

QUICK = ("--seconds", "0.01")

# A stand-in for the original: what it finds in every picture stands in its "checkpoint", as JSON.
TORCH = """
from contextlib import nullcontext
__version__ = "2.0"
inference_mode = nullcontext
def set_num_threads(count): globals().update(threads=count)
def get_num_threads(): return threads
"""
ULTRALYTICS = """
import json
import numpy as np
import torch
print("a greeting on stdout")
class Data:
    def __init__(self, rows): self.rows = rows
    def cpu(self): return self
    def numpy(self): return np.array(self.rows, np.float32).reshape(-1, 6)
class Result:
    def __init__(self, rows): self.boxes = type("Boxes", (), {"data": Data(rows)})
class Predictor:
    device = "cpu"
    def preprocess(self, frames): return frames
    def inference(self, frames): return frames
class YOLO:
    task, names, predictor = "detect", {0: "person", 1: "car"}, Predictor()
    def __init__(self, path): self.rows, self.fresh = json.loads(open(path).read()), True
    def predict(self, frames, imgsz, rect, **how):
        assert imgsz == [32, 32] and not rect and how["device"] == "cpu"
        if self.fresh: torch.set_num_threads(7)  # as the original does when it chooses its device
        self.fresh = False
        assert all(frame.dtype == np.uint8 and frame.shape[2] == 3 for frame in frames)
        return [Result(self.rows) for _ in frames]
"""


def run(*arguments: str | Path, cache: Path) -> Result:
    line = ["bench", "--cache", str(cache), *map(str, arguments)]
    return CliRunner().invoke(models.app, line, env={"COLUMNS": "120"}, catch_exceptions=False)


def refusal(*arguments: str | Path, cache: Path) -> WatchlineError:
    with pytest.raises(WatchlineError) as caught:
        run(*arguments, cache=cache)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "yard.mp4", Clip(frames=6, width=64, height=64))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python that has the stand-in for ultralytics."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is started by a shell script")
    packages = tmp_path / "packages"
    for name, source in (("torch", TORCH), ("ultralytics", ULTRALYTICS)):
        (packages / f"{name}-1.0.dist-info").mkdir(parents=True)
        (packages / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (packages / f"{name}.py").write_text(source)
    return script(tmp_path / "python", packages)


def script(path: Path, packages: Path) -> Path:
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


def checkpoint(path: Path, *rows: tuple[float, ...]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_a_model_is_measured_alone_on_made_pictures(tiny: Path, tmp_path: Path) -> None:
    done = run(tiny, "--batch", "1,3", "--json", *QUICK, cache=tmp_path)
    found = json.loads(done.stdout)
    assert [(row["side"], row["part"], row["batch"]) for row in found["rows"]] == [
        ("watchline", part, batch) for batch in (1, 3) for part in ("network", "detector")
    ]
    for row in found["rows"]:
        assert row["fps"] > 0
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert row["peak_memory_bytes"] > 20_000_000
    assert (found["size"], found["device"], found["threads"]) == ([32, 32], "cpu", 1)
    assert found["provider"] == "CPUExecutionProvider"
    assert found["machine"]["cores"] >= 1
    assert {"python", "numpy", "onnxruntime", "watchline"} <= set(found["versions"]["watchline"])
    assert (found["consistency"], found["ratios"]) == (None, [])
    assert "The pictures were made" in found["remarks"][0]


def test_the_original_takes_turns_and_its_boxes_are_compared(
    tiny: Path, yard: Path, python: Path, tmp_path: Path
) -> None:
    # Ours finds 24..40 by 16..48 with 0.9; another box and one of another class stand beside it.
    boxes = [(25, 16, 40, 48, 0.8, 0), (0, 0, 9, 9, 0.7, 0), (24, 16, 40, 48, 0.6, 1)]
    original = checkpoint(tmp_path / "yard.pt", *boxes)
    plot = tmp_path / "yard.svg"
    options = ("--against", original, "--against-python", python, "--input", yard, "--threads", "2", "--plot", plot)
    found = json.loads(run(tiny, "--json", *options, *QUICK, cache=tmp_path).stdout)
    sides = [(row["side"], row["runtime"].split()[0], row["part"]) for row in found["rows"]]
    both = (("watchline", "onnxruntime"), ("ultralytics", "torch"))
    assert sides == [(*side, part) for part in ("network", "detector") for side in both]
    assert [(ratio["part"], ratio["batch"]) for ratio in found["ratios"]] == [("network", 1), ("detector", 1)]
    assert all(ratio["fps"] > 0 and ratio["memory"] > 0 for ratio in found["ratios"])
    agreed = found["consistency"]
    counts = [agreed[name] for name in ("frames", "theirs", "ours", "matched", "matched_tightly")]
    assert counts == [6, 18, 6, 6, 6]
    assert agreed["max_px"] == pytest.approx(1, abs=1e-3)
    assert agreed["mean_px"] == pytest.approx(0.25, abs=1e-3)
    assert agreed["max_score"] == pytest.approx(0.1, abs=1e-3)
    assert found["versions"]["ultralytics"]["torch"] == "1.0"
    assert found["against"] == "yard.pt"
    assert not any("threads, ours on" in remark for remark in found["remarks"])  # both as asked
    assert plot.read_text().startswith("<svg")


def test_the_original_may_fail_on_a_checkpoint_in_one_line(tiny: Path, python: Path, tmp_path: Path) -> None:
    original = tmp_path / "broken.pt"
    original.write_text("no JSON")
    error = refusal(tiny, "--against", original, "--against-python", python, *QUICK, cache=tmp_path)
    assert isinstance(error, ModelError)
    assert "JSONDecodeError" in str(error)
    assert "it must be a checkpoint that ultralytics loads" in str(error)


def test_a_python_without_ultralytics_is_refused_with_how_to_make_one(tiny: Path, python: Path, tmp_path: Path) -> None:
    (tmp_path / "packages" / "ultralytics.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torchvision'\")"
    )
    original = checkpoint(tmp_path / "yard.pt")
    error = refusal(tiny, "--against", original, "--against-python", python, *QUICK, cache=tmp_path)
    assert isinstance(error, UsageError)
    assert "No module named 'torchvision'" in str(error)
    assert "original/bin/pip install ultralytics" in str(error)


def test_a_network_that_compares_pictures_is_measured_without_a_detector(tmp_path: Path) -> None:
    card = ModelCard("osnet", "embed", (), (16,), placement="stretch")
    network = write_constant_model(tmp_path / "people.onnx", card, [(0.5, 0.25)])
    found = json.loads(run(network, "--json", *QUICK, cache=tmp_path).stdout)
    assert [row["part"] for row in found["rows"]] == ["network"]
    error = refusal(network, "--against", network, "--against-python", sys.executable, *QUICK, cache=tmp_path)
    assert "compares pictures and finds nothing" in str(error)


def test_a_network_of_any_size_is_measured_at_the_size_asked_for_or_that_of_a_run(yard: Path, tmp_path: Path) -> None:
    network = open_network(tmp_path / "any.onnx")
    for asked, size in ((("--imgsz", "64x96"), [64, 96]), (("--imgsz", "64"), [64, 64]), ((), [640, 640])):
        found = json.loads(run(network, "--json", "--input", yard, *asked, *QUICK, cache=tmp_path).stdout)
        assert found["size"] == size
        assert found["pictures"] == "yard.mp4, 64x64"
    assert "multiples of 32" in str(refusal(network, "--imgsz", "50", *QUICK, cache=tmp_path))


def open_network(path: Path) -> Path:
    """Writes a network that takes any size and finds one thing."""
    import onnx

    card = ModelCard("yolov8", "detect", ("person",), (8, 16, 32))
    model = onnx.load(write_constant_model(path, card, [(16.0, 16.0, 8.0, 8.0, 0.9)]))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
    onnx.save(model, path)
    return path


def test_the_table_and_markdown_say_the_same(tiny: Path, yard: Path, tmp_path: Path) -> None:
    table = run(tiny, "--input", yard, *QUICK, cache=tmp_path)
    text = run(tiny, "--input", yard, "--markdown", *QUICK, cache=tmp_path)
    assert " ".join(table.stdout.splitlines()[0].split()) == "measured batch side fps p50 ms p95 ms CPU ms MB"
    assert text.stdout.startswith("| measured | batch | side")
    for said in (table.stdout, text.stdout):
        assert "model: tiny.onnx (yolov8 detect, sha256 " in said
        assert "threads: 1 of each side" in said
    assert "batch 1: network" in table.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--batch", "0"], "--batch 0: want whole numbers from 1 to 256"),
        (["--batch", "1,x"], "--batch 1,x: want whole numbers"),
        (["--batch", "257"], "--batch 257: want whole numbers"),
        (["--seconds", "0"], "--seconds 0: want more than 0"),
        (["--seconds", "nan"], "--seconds nan: want more than 0"),
        (["--seconds", "1e9"], "--seconds 1e+09: want more than 0 and at most 600"),
        (["--device", "tpu"], "--device tpu: want one or more of auto, cpu"),
        (["--imgsz", "big"], "--imgsz big: want height x width"),
        (["--imgsz", "64"], "--imgsz: this network takes 32x32 alone"),
        (["--json", "--markdown"], "--json and --markdown exclude each other"),
        (["--plot", "a.png"], "--plot a.png: want a file that ends in .svg"),
        (["--against", "a.pt"], "--against needs --against-python, a Python that has ultralytics; make one: "),
        (["--against-python", sys.executable], "give --against too"),
        (["--against", "gone.pt", "--against-python", sys.executable], "--against gone.pt: no such file"),
        (["--against", __file__, "--against-python", "no/python"], "--against-python no/python: no such file"),
    ],
)
def test_a_request_that_makes_no_sense_is_wrong_usage(
    arguments: list[str], reason: str, tiny: Path, tmp_path: Path
) -> None:
    error = refusal(tiny, *arguments, cache=tmp_path)
    assert isinstance(error, UsageError)
    assert reason in str(error)


def test_what_is_not_there_is_named(tiny: Path, tmp_path: Path) -> None:
    assert "no such file: gone.onnx" in str(refusal("gone.onnx", cache=tmp_path))
    assert isinstance(refusal(tiny, "--input", tmp_path / "gone.mp4", cache=tmp_path), StreamError)
    error = refusal(tiny, "--plot", tmp_path / "no" / "a.svg", *QUICK, cache=tmp_path)
    assert isinstance(error, OutputError)


def test_the_command_leaves_no_traceback_and_nothing_behind(tiny: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = watchline("models", "bench", tiny, "--cache", tmp_path, *QUICK, "--markdown", TMPDIR=str(temporary))
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert not list(temporary.iterdir())
    assert done.stdout.count("| detector |") == 1


@pytest.mark.data
def test_ours_finds_what_the_model_finds_on_a_real_clip(data_dir: Path, tmp_path: Path) -> None:
    model, clip = data_dir / "models" / "yolov8n.pt", data_dir / "clips" / "people-walking.mp4"
    done = run(model, "--input", clip, "--imgsz", "384x640", "--json", "--seconds", "0.1", cache=tmp_path)
    found = json.loads(done.stdout)
    assert (found["size"], found["pictures"]) == ([384, 640], "people-walking.mp4, 1280x720")
    assert len(found["rows"]) == 2
