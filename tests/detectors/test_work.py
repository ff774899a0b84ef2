"""How much arithmetic a network takes, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from watchline.detectors.importer.convert import import_checkpoint
from watchline.detectors.importer.work import gflops


def network(size: tuple[int | str, int | str]) -> onnx.ModelProto:
    """A convolution to 8 channels at half the size, in two groups; one back to the full size; a product a row."""
    weights = {"a": (8, 2, 3, 3), "b": (8, 4, 2, 2), "c": (1, 4, 16, 16)}
    nodes = [
        helper.make_node("Conv", ["images", "a"], ["half"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        helper.make_node("ConvTranspose", ["half", "b"], ["whole"], strides=[2, 2]),
        helper.make_node("MatMul", ["whole", "c"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 4, *size])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("size", [("height", "width"), (16, 16)])
def test_convolutions_and_products_count_twice_their_multiplications(size: tuple[int | str, int | str]) -> None:
    conv = 8 * 8 * 8 * (2 * 3 * 3)
    back = 8 * 8 * 8 * (4 * 2 * 2)
    product = 4 * 16 * 16 * 16
    assert gflops(network(size), (16, 16)) == round(2 * (conv + back + product) / 1e9, 3)


def test_what_cannot_be_told_does_not_count() -> None:
    model = network(("height", "width"))
    model.graph.node[0].domain = "elsewhere"
    assert gflops(model, (16, 16)) == 0


@pytest.mark.data
def test_a_yolov8n_takes_what_its_authors_say(data_dir: Path, tmp_path: Path) -> None:
    """8.7, by https://docs.ultralytics.com/models/yolov8."""
    model = onnx.load(import_checkpoint(data_dir / "models" / "yolov8n.pt", tmp_path))
    assert gflops(model, (640, 640)) == pytest.approx(8.7, abs=0.05)
