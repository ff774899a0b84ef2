"""A network small enough to write by hand: two convolutions, then what works boxes and scores out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from watchline.detectors.card import ModelCard

CARD = ModelCard("yolov8", "detect", ("person", "car"), (8, 16, 32), licence="MIT", source_name="small.pt")


def write_small_network(
    path: Path, *, named: bool = True, opset: int = 17, outlier: float = 1.0, listed: bool = False
) -> Path:
    """Writes a network that sees a person wherever 8x8 pixels are bright; its boxes are 16x16 pixels.

    Input (batch, 3, height, width), output (batch, 6, cells) as YOLOv8's: cx, cy, w, h in pixels of a 32x32 input, and
    two scores. The first convolution takes the mean of a cell, the second makes the numbers; all that follows must
    stay float. One of its four cells' channels is `outlier` times as large, and means nothing. Where its constants are
    `listed` as inputs, too, as the format once wanted it, a normalization that changes nothing follows the first one.
    """
    mean = np.concatenate([np.full((1, 3, 8, 8), 1 / 192), np.full((3, 3, 8, 8), -1 / 192)]).astype(np.float32)
    mean[1] *= outlier
    mix = np.zeros((6, 4, 1, 1), np.float32)
    mix[4, 0] = 8.0  # the person's score grows with brightness
    bias = np.array([0.5, 0.5, 0.5, 0.5, -2.0, -6.0], np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "mean", "none"], ["cells"], strides=[8, 8], kernel_shape=[8, 8]),
        helper.make_node("Sigmoid", ["cells"], ["gate"]),
        helper.make_node("Mul", ["cells", "gate"], ["active"]),
        helper.make_node("Conv", ["active", "mix", "bias"], ["numbers"], kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["numbers", "flat"], ["rows"]),
        helper.make_node("Split", ["rows", "parts"], ["places", "logits"], axis=1),
        helper.make_node("Mul", ["places", "pixels"], ["boxes"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    if listed:
        nodes[0].output[0] = "raw"
        nodes.insert(1, helper.make_node("BatchNormalization", ["raw", "one", "none", "none", "one"], ["cells"]))
    if named:
        for node in nodes:
            node.name = f"{node.op_type}.{node.output[0]}"
    arrays: dict[str, NDArray[np.generic]] = {
        "mean": mean,
        "none": np.zeros(4, np.float32),
        "mix": mix,
        "bias": bias,
        "flat": np.array([0, 6, -1], np.int64),
        "parts": np.array([4, 2], np.int64),
        "pixels": np.array(32, np.float32),
    }
    arrays |= {"one": np.ones(4, np.float32)} if listed else {}
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    also_inputs = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in constants if listed]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"]), *also_inputs],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 6, "cells"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if listed else 8)
    helper.set_model_props(model, CARD.to_metadata())
    onnx.save(model, path)
    return path
