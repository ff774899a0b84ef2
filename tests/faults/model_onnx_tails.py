"""Operators that make a network take memory, time or a wrong turn, each added to a sound model as one more output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, TypeProto, helper, numpy_helper

Build: TypeAlias = Callable[[onnx.ModelProto], None]

_FLOAT: Final = TensorProto.FLOAT
_MAX: Final = (1 << 63) - 1
_BOUNDED: Final = "it stays within the bounds of time and memory, and runs on the output alone that is asked for"


def _value(name: str, kind: int = _FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)


def _ints(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


def _floats(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


def tail(
    nodes: Sequence[NodeProto],
    kind: int | TypeProto = _FLOAT,
    domain: str = "",
    **constants: np.ndarray[Any, Any],
) -> Build:
    """Returns what adds `nodes`, whose last output is `tail`, and the constants that they read."""

    def build(model: onnx.ModelProto) -> None:
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
        output = _value("tail", kind) if isinstance(kind, int) else helper.make_value_info("tail", kind)
        model.graph.output.append(output)
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return build


def _one(
    operator: str,
    *inputs: str,
    kind: int = _FLOAT,
    domain: str = "",
    attributes: dict[str, Any] | None = None,
    **constants: np.ndarray[Any, Any],
) -> Build:
    """Returns what adds one node that reads constants, or the picture as "images"."""
    node = helper.make_node(operator, list(inputs), ["tail"], domain=domain, **(attributes or {}))
    return tail([node], kind, domain, **constants)


def _loop(trips: int, body: Sequence[NodeProto], scan: bool = False) -> Build:
    """Returns a loop of at most `trips` turns that never says stop; `body` makes `next` of `before`."""
    keep = helper.make_node("Identity", ["go"], ["on"])
    outputs = [_value("on", TensorProto.BOOL), _value("next")] + [_value("seen")] * scan
    nodes = [keep, *body, *([helper.make_node("Identity", ["next"], ["seen"])] if scan else [])]
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    inputs = [turn, helper.make_tensor_value_info("go", TensorProto.BOOL, []), _value("before")]
    graph = helper.make_graph(nodes, "body", inputs, outputs)
    names = ["end", "tail"] if scan else ["tail"]
    node = helper.make_node("Loop", ["trips", "yes", "start"], names, body=graph)
    return tail([node], trips=np.array(trips, np.int64), yes=np.array(True), start=_floats(1))


def _computed_shape(operator: str) -> Build:
    """Returns an array whose giant shape is known only when the network runs."""
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Mul", ["shape", "shape"], ["square"]),
        helper.make_node("Mul", ["square", "square"], ["giant"]),
        helper.make_node(operator, ["giant"] if operator == "ConstantOfShape" else ["one", "giant"], ["tail"]),
    ]
    return tail(nodes, one=_floats(1).reshape(1, 1, 1, 1))


def _sequence() -> Build:
    node = helper.make_node("SequenceConstruct", ["images", "images"], ["tail"])
    return tail([node], helper.make_sequence_type_proto(helper.make_tensor_type_proto(_FLOAT, None)))


def _optional() -> Build:
    node = helper.make_node("Optional", ["images"], ["tail"])
    return tail([node], helper.make_optional_type_proto(helper.make_tensor_type_proto(_FLOAT, None)))


def _scan() -> Build:
    body = helper.make_graph(
        [helper.make_node("Expand", ["part", "wide"], ["out"])], "body", [_value("part")], [_value("out")]
    )
    node = helper.make_node("Scan", ["rows"], ["tail"], body=body, num_scan_inputs=1)
    return tail([node], rows=np.zeros((100_000, 1), np.float32), wide=_ints(100_000))


def _quantised(scale: np.ndarray[Any, Any], zero: np.ndarray[Any, Any]) -> Build:
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["tail"]),
    ]
    return tail(nodes, scale=scale, zero=zero)


_BOXES: Final = np.zeros((1, 50_000, 4), np.float32)
_MICROSOFT: Final = "com.microsoft"
_ZERO: Final = np.array(0, np.uint8)

# Name: what builds it, and why it may pass ("": it must not).
TAILS: Final[dict[str, tuple[Build, str]]] = {
    "a loop of negative turns": (_loop(-1, [helper.make_node("Identity", ["before"], ["next"])]), _BOUNDED),
    "a scan that widens": (_scan(), ""),
    "ConstantOfShape": (_one("ConstantOfShape", "shape", shape=_ints(1 << 20, 1 << 20)), ""),
    "ConstantOfShape of overflow": (_one("ConstantOfShape", "shape", shape=_ints(1 << 32, 1 << 32)), ""),
    "ConstantOfShape of less than nothing": (_one("ConstantOfShape", "shape", shape=_ints(-5)), ""),
    "ConstantOfShape, computed": (_computed_shape("ConstantOfShape"), ""),
    "Expand": (_one("Expand", "one", "shape", one=_floats(1), shape=_ints(1 << 40)), ""),
    "Expand, computed": (_computed_shape("Expand"), ""),
    "Tile": (_one("Tile", "images", "times", times=_ints(1, 1, 1 << 20, 1 << 20)), ""),
    "Tile of less than nothing": (_one("Tile", "images", "times", times=_ints(1, 1, -1, 1)), ""),
    "Range": (_one("Range", "a", "b", "c", kind=TensorProto.INT64, a=np.array(0), b=np.array(_MAX), c=np.array(1)), ""),
    "Range that stands still": (
        _one("Range", "a", "b", "c", kind=TensorProto.INT64, a=np.array(0), b=np.array(9), c=np.array(0)),
        "",
    ),
    "Pad": (_one("Pad", "images", "pads", pads=_ints(0, 0, 0, 0, 0, 0, 1 << 31, 1 << 31)), ""),
    "Pad of less than nothing": (_one("Pad", "images", "pads", pads=_ints(0, 0, -(1 << 40), 0, 0, 0, 0, 0)), ""),
    "Resize": (_one("Resize", "images", "", "scales", scales=_floats(1, 1, 1e9, 1e9)), ""),
    "Resize by nothing": (_one("Resize", "images", "", "scales", scales=_floats(1, 1, 0, np.nan)), ""),
    "Reshape": (_one("Reshape", "images", "shape", shape=_ints(-1, -1)), ""),
    "Slice of step nothing": (_one("Slice", "images", "zero", "zero", "zero", "zero", zero=_ints(0)), ""),
    "Slice of giant ends": (
        _one("Slice", "images", "a", "b", "axis", a=_ints(-_MAX), b=_ints(_MAX), axis=_ints(2)),
        _BOUNDED,
    ),
    "Gather beyond": (_one("Gather", "images", "index", index=_ints(1 << 40)), ""),
    "GatherElements beyond": (_one("GatherElements", "images", "index", index=np.full((1, 1, 1, 1), 1 << 40)), ""),
    "GatherND beyond": (_one("GatherND", "images", "index", index=_ints(0, 9, 9)), ""),
    "ScatterND beyond": (
        _one("ScatterND", "to", "index", "new", to=_floats(0, 0), index=_ints(1 << 40).reshape(1, 1), new=_floats(1)),
        "",
    ),
    "ScatterElements beyond": (
        _one("ScatterElements", "to", "index", "new", to=_floats(0, 0), index=_ints(-(1 << 40)), new=_floats(1)),
        "",
    ),
    "OneHot": (
        _one("OneHot", "index", "depth", "values", index=_ints(1, 2), depth=np.array(1 << 50), values=_floats(0, 1)),
        "",
    ),
    "TopK": (tail([helper.make_node("TopK", ["images", "k"], ["tail", "where"])], k=_ints((1 << 40) + 9)), _BOUNDED),
    "MaxUnpool beyond": (
        _one(
            "MaxUnpool",
            "to",
            "index",
            attributes={"kernel_shape": [2, 2], "strides": [2, 2]},
            to=np.ones((1, 1, 2, 2), np.float32),
            index=np.full((1, 1, 2, 2), 1 << 40),
        ),
        "",
    ),
    "RoiAlign beyond": (
        _one(
            "RoiAlign",
            "images",
            "rois",
            "batch",
            attributes={"output_height": 2, "output_width": 2},
            rois=_floats(0, 0, 9, 9).reshape(1, 4),
            batch=_ints(99),
        ),
        "",
    ),
    "RoiAlign of giants": (
        _one(
            "RoiAlign",
            "images",
            "rois",
            "batch",
            attributes={"output_height": 1 << 30, "output_width": 1 << 30},
            rois=_floats(0, 0, 9, 9).reshape(1, 4),
            batch=_ints(0),
        ),
        "",
    ),
    "GridSample": (_one("GridSample", "images", "grid", grid=np.full((1, 8, 8, 2), np.nan, np.float32)), _BOUNDED),
    "NonMaxSuppression": (
        _one(
            "NonMaxSuppression",
            "boxes",
            "scores",
            "most",
            kind=TensorProto.INT64,
            boxes=_BOXES,
            scores=_BOXES[..., 0].reshape(1, 1, -1),
            most=_ints(_MAX),
        ),
        _BOUNDED,
    ),
    "RandomNormal": (_one("RandomNormal", attributes={"shape": [1 << 31, 1 << 31]}), ""),
    "EyeLike": (_one("EyeLike", "wide", wide=np.zeros((1, 1), np.float32), attributes={"k": 1 << 40}), _BOUNDED),
    "CumSum": (_one("CumSum", "images", "axis", axis=np.array(99)), ""),
    "Einsum": (_one("Einsum", "images", attributes={"equation": "abcd->" + "abcd" * 5000}), ""),
    "Split of nothing": (
        tail([helper.make_node("Split", ["images", "parts"], ["tail", "rest"], axis=1)], parts=_ints(-1, 4)),
        "",
    ),
    "Concat of nothing": (_one("Concat", attributes={"axis": 0}), ""),
    "Transpose": (_one("Transpose", "images", attributes={"perm": [0, 0, 9, -1]}), ""),
    "Conv of a giant reach": (
        _one(
            "Conv",
            "images",
            "w",
            attributes={"dilations": [1 << 30, 1 << 30], "pads": [1 << 30] * 4},
            w=np.ones((1, 3, 3, 3), np.float32),
        ),
        _BOUNDED,
    ),
    "Conv of no stride": (
        _one("Conv", "images", "w", attributes={"strides": [0, 0]}, w=np.ones((1, 3, 1, 1), np.float32)),
        "",
    ),
    "Conv of no groups": (
        _one("Conv", "images", "w", attributes={"group": 0}, w=np.ones((1, 3, 1, 1), np.float32)),
        "",
    ),
    "MaxPool of a giant kernel": (_one("MaxPool", "images", attributes={"kernel_shape": [1 << 40, 1]}), ""),
    "ConvTranspose": (
        _one(
            "ConvTranspose",
            "images",
            "w",
            attributes={"strides": [100_000, 100_000]},
            w=np.ones((3, 1, 1, 1), np.float32),
        ),
        "",
    ),
    "texts": (_one("StringNormalizer", "t", kind=TensorProto.STRING, t=np.array([b"a"], object)), ""),
    "a cast to text": (_one("Cast", "images", kind=TensorProto.STRING, attributes={"to": TensorProto.STRING}), ""),
    "a sequence": (_sequence(), ""),
    "an optional": (_optional(), ""),
    "an infinite answer": (_one("Div", "one", "zero", one=_floats(1), zero=_floats(0)), ""),
    "an undefined answer": (_one("Log", "minus", minus=_floats(-1)), ""),
    "division of integers by nothing": (
        _one("Div", "one", "zero", kind=TensorProto.INT64, one=_ints(1), zero=_ints(0)),
        "",
    ),
    "division of the least integer": (
        _one("Div", "least", "minus", kind=TensorProto.INT64, least=_ints(-(1 << 63)), minus=_ints(-1)),
        "",
    ),
    "remainder by nothing": (_one("Mod", "one", "zero", kind=TensorProto.INT64, one=_ints(1), zero=_ints(0)), ""),
    "a scale of nothing": (_quantised(np.array(0, np.float32), _ZERO), _BOUNDED),
    "a scale that is no number": (_quantised(np.array(np.nan, np.float32), _ZERO), ""),
    "a negative scale": (_quantised(np.array(-1, np.float32), _ZERO), _BOUNDED),
    "scales of another shape": (_quantised(_floats(1, 2), np.zeros(2, np.uint8)), ""),
    "a zero point of another type": (_quantised(np.array(1, np.float32), np.array(0, np.int64)), ""),
    "QLinearConv of nonsense": (
        _one(
            "QLinearConv",
            "x",
            "s",
            "z",
            "x",
            "s",
            "z",
            "s",
            "z",
            kind=TensorProto.UINT8,
            x=np.ones((1, 1, 2, 2), np.uint8),
            s=_floats(0),
            z=np.zeros(9, np.uint8),
        ),
        "",
    ),
    "a fused node of another program": (
        _one(
            "FusedConv",
            "images",
            "w",
            domain=_MICROSOFT,
            attributes={"activation": "x" * 5000},
            w=np.ones((1, 3, 1, 1), np.float32),
        ),
        "",
    ),
    "a layout of another program": (
        _one(
            "NhwcMaxPool",
            "x",
            kind=TensorProto.UINT8,
            domain=_MICROSOFT,
            attributes={"kernel_shape": [9, 9]},
            x=np.ones((1, 1, 1, 1), np.uint8),
        ),
        "",
    ),
    "attention of nonsense": (
        _one("Attention", "images", "w", "w", domain=_MICROSOFT, attributes={"num_heads": 0}, w=_floats(1)),
        "",
    ),
    "four-bit weights of nonsense": (
        _one(
            "MatMulNBits",
            "images",
            "w",
            "s",
            domain=_MICROSOFT,
            attributes={"K": 1 << 40, "N": 1 << 40, "bits": 4, "block_size": 16},
            w=np.ones((1, 1, 8), np.uint8),
            s=_floats(1),
        ),
        "",
    ),
    "a giant answer": (_one("Tile", "images", "times", times=_ints(1, 1, 64, 64)), ""),
    "a loop without end": (_loop(_MAX, [helper.make_node("Identity", ["before"], ["next"])]), ""),
    "a loop that grows": (_loop(60, [helper.make_node("Concat", ["before", "before"], ["next"], axis=0)]), ""),
    "a loop that keeps all": (_loop(_MAX, [helper.make_node("Identity", ["before"], ["next"])], scan=True), ""),
}
