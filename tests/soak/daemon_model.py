"""A network that follows the bright square of the made scenes: cheap, and it begins a new track each few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchline.detectors.card import ModelCard

if TYPE_CHECKING:
    from onnx import NodeProto

_SIDE: Final = 32  # of the input
_BRIGHT: Final = 0.76  # the square is brighter than this, everything else darker, noise included
_BOX: Final = 5.0  # of the square once it is scaled, pixels of the input
_AREA: Final = 0.3  # summed brightness above `_BRIGHT` from which a square counts as seen
_SCORE: Final = 0.9


def write_follower(path: Path) -> Path:
    """Writes the network: one person where the brightness above a threshold has its middle."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    places = np.arange(_SIDE, dtype=np.float32) + 0.5
    constants = {
        "bright": np.float32(_BRIGHT).reshape(1),
        "little": np.float32(1e-6).reshape(1),
        "across": places.reshape(1, 1, 1, _SIDE),
        "down": places.reshape(1, 1, _SIDE, 1),
        "box": np.float32(_BOX).reshape(1),
        "zero": np.float32(0).reshape(1),
        "score": np.float32(_SCORE).reshape(1),
        "area": np.float32(_AREA).reshape(1),
        "channels": np.array([1], np.int64),
        "all": np.array([1, 2, 3], np.int64),
        "last": np.array([2], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("ReduceMin", ["images"], ["grey"], axes=[1], keepdims=1),
        node("Sub", ["grey", "bright"], ["above"]),
        node("Relu", ["above"], ["light"]),
        node("ReduceSum", ["light", "all"], ["sum4"], keepdims=1),
        node("Add", ["sum4", "little"], ["sum"]),
        *_middle("x", "across"),
        *_middle("y", "down"),
        node("Greater", ["sum4", "area"], ["seen_bool"]),
        node("Cast", ["seen_bool"], ["seen"], to=TensorProto.FLOAT),
        node("Mul", ["seen", "score"], ["person"]),
        node("Mul", ["seen", "zero"], ["nothing"]),
        node("Add", ["nothing", "box"], ["side"]),
        node("Concat", ["x", "y", "side", "side", "person", "nothing"], ["rows4"], axis=1),
        node("Squeeze", ["rows4", "last"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "follower",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, _SIDE, _SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 6, 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, ModelCard("yolov8", "detect", ("person", "car"), (8, 16, 32)).to_metadata())
    onnx.save(model, path)
    return path


def _middle(name: str, places: str) -> list[NodeProto]:
    from onnx import helper

    return [
        helper.make_node("Mul", ["light", places], [f"{name}_light"]),
        helper.make_node("ReduceSum", [f"{name}_light", "all"], [f"{name}_sum"], keepdims=1),
        helper.make_node("Div", [f"{name}_sum", "sum"], [name]),
    ]
