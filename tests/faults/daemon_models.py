"""Networks that make a daemon's life hard: one that is slow, one that fails on bright pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from watchline.detectors.card import ModelCard

_ROW = (16.0, 16.0, 8.0, 16.0, 0.9, 0.05)  # one person in the middle of 32x32, as YOLOv8's heads say it
_SIDE = 1024  # of the matrices that the slow one multiplies


def write_slow_model(path: Path) -> Path:
    """Writes a network that finds one person, and multiplies large matrices meanwhile: some tens of milliseconds."""
    ones = numpy_helper.from_array(np.full((_SIDE, _SIDE), 1e-3, np.float32), "ones")
    nodes = [
        helper.make_node("Reshape", ["mean", "scalar"], ["level"]),
        helper.make_node("Mul", ["level", "ones"], ["left"]),
        helper.make_node("MatMul", ["left", "ones"], ["half"]),
        helper.make_node("MatMul", ["half", "ones"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["weight"], keepdims=0),
    ]
    return _write(path, nodes, [ones, numpy_helper.from_array(np.array([1, 1], np.int64), "scalar")])


def write_touchy_model(path: Path, brightest: float = 0.75) -> Path:
    """Writes a network that finds one person, and fails as it runs on pictures that are brighter than so much of 1."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["all"], keepdims=0),
        helper.make_node("Greater", ["all", "bright"], ["is_bright"]),
        helper.make_node("Cast", ["is_bright"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["only", "place"], ["weight"]),  # there is no place 1
    ]
    bright = numpy_helper.from_array(np.array(brightest, np.float32), "bright")
    return _write(path, nodes, [bright, numpy_helper.from_array(np.array([1.0], np.float32), "only")])


def _write(path: Path, nodes: list[NodeProto], constants: list[TensorProto]) -> Path:
    """Writes a network that says `_ROW`, once `nodes` have made "weight" of the picture's "mean"."""
    ends = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=1),
        *nodes,
        helper.make_node("Mul", ["mean", "weight"], ["weighed"]),
        helper.make_node("Squeeze", ["weighed", "axis"], ["flat"]),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "row"], ["output0"]),
    ]
    graph = helper.make_graph(
        ends,
        "hard",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", len(_ROW), 1])],
        [
            helper.make_tensor("row", TensorProto.FLOAT, [1, len(_ROW), 1], _ROW),
            helper.make_tensor("axis", TensorProto.INT64, [1], [3]),
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
            *constants,
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, ModelCard("yolov8", "detect", ("person", "car"), (8, 16, 32)).to_metadata())
    onnx.save(model, path)
    return path
