"""Runs the real command in a process of its own, as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchline.detectors.card import ModelCard

COMMAND = [sys.executable, "-m", "watchline.pipeline.cli"]


def watchline(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `watchline ARGUMENTS` to its end; never takes longer than two minutes."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        check=False,
    )


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl file; every line must be whole."""
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def summary_of(folder: Path) -> dict[str, Any]:
    """What a run says of itself."""
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def write_tiny_model(path: Path, box: tuple[float, float, float, float] = (0.5, 0.5, 0.25, 0.5)) -> Path:
    """Writes a network that finds one person at `box` (cx, cy, w, h as parts of its 32x32 input) in every picture."""
    from watchline.detectors.card import ModelCard

    card = ModelCard("yolov8", "detect", ("person", "car"), (8, 16, 32))
    return write_constant_model(path, card, [(*(32 * part for part in box), 0.9, 0.05)])


def write_tiny_face_model(path: Path, *boxes: tuple[float, float, float, float], score: float = 0.8) -> Path:
    """Writes a network that finds faces at `boxes` (cx, cy, w, h as parts of its 32x32 input) in every picture."""
    from watchline.detectors.card import ModelCard

    places = ((-0.2, -0.1), (0.2, -0.1), (0, 0.1), (-0.15, 0.3), (0.15, 0.3))
    rows = []
    for cx, cy, w, h in boxes:
        points = [32 * value for x, y in places for value in (cx + x * w, cy + y * h)]
        rows.append((32 * cx, 32 * cy, 32 * w, 32 * h, score, *points))
    card = ModelCard("yolov8", "face", ("face",), (8, 16, 32), keypoints=(5, 2))
    return write_constant_model(path, card, rows)


def write_constant_model(path: Path, card: ModelCard, rows: Sequence[Sequence[float]]) -> Path:
    """Writes a network whose output is the same for every picture of 32x32: `rows`, as YOLOv8's decoded heads do."""
    import onnx
    from onnx import TensorProto, helper

    columns, anchors = len(rows[0]), len(rows)
    values = [row[column] for column in range(columns) for row in rows]
    constant = helper.make_tensor("row", TensorProto.FLOAT, [1, columns, anchors], values)
    nodes = [
        # The mean ties the output to the picture's batch size; its weight of zero keeps the answer constant.
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Squeeze", ["mean", "axis"], ["flat"]),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "row"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", columns, anchors])],
        [
            constant,
            helper.make_tensor("axis", TensorProto.INT64, [1], [3]),
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, card.to_metadata())
    onnx.save(model, path)
    return path
