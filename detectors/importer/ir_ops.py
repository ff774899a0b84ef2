"""What each known operation of an OpenVINO network is in ONNX.

Source: the OpenVINO documentation, "Operation Sets"; the ONNX operator specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.importer.graph import Graph
from watchline.detectors.importer.ir import Layer
from watchline.detectors.importer.ir_fold import FoldError, expect_plain, number

Array: TypeAlias = NDArray[Any]
Operand: TypeAlias = str | Array  # the name of a value in the graph, or a constant


@dataclass(frozen=True, slots=True)
class Call:
    """One layer at the moment when it is written.

    Attributes:
        graph: what it is written into.
        layer: the layer.
        operands: its inputs.
        shapes: of its inputs, each known.
        name: for its node; its further nodes add to it.
    """

    graph: Graph
    layer: Layer
    operands: Sequence[Operand]
    shapes: Sequence[tuple[int, ...]]
    name: str

    def value(self, index: int = 0) -> str:
        """Returns the name of input `index`, put into the graph where it is a constant."""
        operand = self.operands[index]
        if isinstance(operand, str):
            return operand
        kind = np.float32 if operand.dtype.kind == "f" else np.int64
        return self.graph.constant(operand.astype(kind), f"{self.name}.input{index}")

    def array(self, index: int) -> Array:
        """Returns input `index`, which must be a constant.

        Raises:
            FoldError: it is not.
        """
        if index >= len(self.operands) or isinstance(operand := self.operands[index], str):
            raise FoldError(f"its input {index} is not a constant")
        return operand

    def whole(self, index: int) -> list[int]:
        """Returns input `index`, a constant list of whole numbers."""
        return [number(np.asarray(n)) for n in self.array(index).reshape(-1)]

    def numbers(self, name: str) -> list[int]:
        """Returns attribute `name`, a list of whole numbers.

        Raises:
            FoldError: it is anything else.
        """
        try:
            return [int(part) for part in self.layer.attributes[name].split(",")]
        except (KeyError, ValueError):
            raise FoldError(f"its {name} is not a list of whole numbers") from None

    def require(self, **values: str) -> None:
        """Checks that each of these attributes is one of the words given, or absent.

        Raises:
            FoldError: it is anything else.
        """
        for name, words in values.items():
            found = self.layer.attributes.get(name)
            if found is not None and found.lower() not in words.split(" "):
                raise FoldError(f"its {name} is {found[:40]!a}; only {words} is known")

    def node(self, operation: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None = None) -> list[Operand]:
        """Adds the layer's node and returns its output."""
        return [self.graph.node(operation, inputs, self.name, attributes)]


Emit: TypeAlias = Callable[[Call], list[Operand]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A known operation.

    Attributes:
        emit: writes it.
        versions: its operation sets.
        attributes: names of the attributes that it may have.
    """

    emit: Emit
    versions: str = "opset1"
    attributes: str = ""


def _simple(operation: str) -> Emit:
    return lambda call: call.node(operation, [call.value()])


def _elementwise(operation: str) -> Emit:
    def emit(call: Call) -> list[Operand]:
        expect_plain(call.layer)
        return call.node(operation, [call.value(0), call.value(1)])

    return emit


def _of_constants(_call: Call) -> list[Operand]:
    """What detectors do with the sizes of their maps alone."""
    raise FoldError("its inputs are not constants")


def _convert(call: Call) -> list[Operand]:
    """All that is not folded is float32."""
    call.require(destination_type="f32")
    return [call.operands[0]]


def _fake_quantize(call: Call) -> list[Operand]:
    """Maps lose their levels: as floats, they need none. Levels that also scale would change the answer."""
    expect_plain(call.layer)
    low, high, to_low, to_high = (call.array(i).astype(np.float64) for i in range(1, 5))
    step = (high - low).max() / 1000
    if not np.allclose(low, to_low, rtol=0, atol=step) or not np.allclose(high, to_high, rtol=0, atol=step):
        raise FoldError("it scales while it quantises")
    return [call.operands[0]]


def _moves(call: Call) -> dict[str, Any]:
    """Returns the ONNX attributes of how a window moves over a map."""
    call.require(auto_pad="explicit notset valid same_upper same_lower")
    moves: dict[str, Any] = {"strides": call.numbers("strides")}
    if "dilations" in call.layer.attributes:
        moves["dilations"] = call.numbers("dilations")
    auto = call.layer.attributes.get("auto_pad", "explicit").lower()
    if auto in ("same_upper", "same_lower"):
        return moves | {"auto_pad": auto.upper()}
    pads = call.numbers("pads_begin") + call.numbers("pads_end")
    return moves | {"pads": [0] * len(pads) if auto == "valid" else pads}


def _weighted(call: Call, operation: str, weight: Array, attributes: Mapping[str, Any]) -> list[Operand]:
    weights = call.graph.constant(weight.astype(np.float32), f"{call.name}.weight")
    sides = {"kernel_shape": list(weight.shape[2:])}
    return call.node(operation, [call.value(), weights], {**sides, **_moves(call), **attributes})


def _convolution(call: Call) -> list[Operand]:
    return _weighted(call, "Conv", call.array(1), {})


def _group_convolution(call: Call) -> list[Operand]:
    weight = call.array(1)  # (groups, out / groups, in / groups, ...)
    groups, outputs, *rest = weight.shape
    return _weighted(call, "Conv", weight.reshape(groups * outputs, *rest), {"group": groups})


def _transposed_convolution(call: Call) -> list[Operand]:
    if len(call.operands) != 2:
        raise FoldError("it is told the shape of its output")
    more = call.numbers("output_padding") if "output_padding" in call.layer.attributes else []
    return _weighted(call, "ConvTranspose", call.array(1), {"output_padding": more} if any(more) else {})


def _matmul(call: Call) -> list[Operand]:
    inputs = []
    for index, name in enumerate(("transpose_a", "transpose_b")):
        call.require(**{name: "true false"})
        value, rank = call.value(index), len(call.shapes[index])
        if call.layer.attributes.get(name, "false").lower() == "true":
            if rank < 2:
                raise FoldError("it turns a vector")
            order = [*range(rank - 2), rank - 1, rank - 2]
            value = call.graph.node("Transpose", [value], f"{call.name}.turned{index}", {"perm": order})
        inputs.append(value)
    return call.node("MatMul", inputs)


def _max_pool(call: Call) -> list[Operand]:
    call.require(rounding_type="floor ceil")
    ceil = call.layer.attributes.get("rounding_type", "floor").lower() == "ceil"
    return call.node(
        "MaxPool", [call.value()], {"kernel_shape": call.numbers("kernel"), **_moves(call), "ceil_mode": int(ceil)}
    )


def _prelu(call: Call) -> list[Operand]:
    slope = call.array(1).astype(np.float32)
    if slope.ndim == 1 and slope.size > 1:  # one for each channel
        slope = slope.reshape(-1, *[1] * (len(call.shapes[0]) - 2))
    return call.node("PRelu", [call.value(), call.graph.constant(slope, f"{call.name}.slope")])


def _swish(call: Call) -> list[Operand]:
    if len(call.operands) > 1 and not (call.array(1) == 1).all():
        raise FoldError("its slope is not 1")
    gate = call.graph.node("Sigmoid", [call.value()], f"{call.name}.sigmoid")
    return call.node("Mul", [call.value(), gate])


def _softmax(call: Call) -> list[Operand]:
    return call.node("Softmax", [call.value()], {"axis": call.numbers("axis")[0]})


def _concat(call: Call) -> list[Operand]:
    return call.node("Concat", [call.value(i) for i in range(len(call.operands))], {"axis": call.numbers("axis")[0]})


def _split(call: Call) -> list[Operand]:
    """Split cuts into equal parts, VariadicSplit into parts of the lengths given."""
    axis, rank = number(call.array(1)), len(call.shapes[0])
    side = call.shapes[0][axis] if -rank <= axis < rank else 0
    if call.layer.type == "Split":
        count = max(call.numbers("num_splits")[0], 1)
        lengths = [side // count] * count
    else:
        lengths = call.whole(2)
    if lengths.count(-1) == 1:
        lengths[lengths.index(-1)] = side - sum(lengths) - 1
    if sum(lengths) != side or min(lengths, default=0) < 1 or len(lengths) != len(call.layer.outputs):
        raise FoldError(f"it cuts {side} into {lengths[:8]}")
    ends = np.cumsum(lengths).tolist()
    return [
        call.graph.cut(call.value(), end - length, end, axis % rank, f"{call.name}.part{index}")
        for index, (end, length) in enumerate(zip(ends, lengths, strict=True))
    ]


def _reshape(call: Call) -> list[Operand]:
    call.require(special_zero="true false")
    sides = call.whole(1)
    if 0 in sides and call.layer.attributes.get("special_zero") != "true":
        raise FoldError("it makes something empty")
    return call.node("Reshape", [call.value(), call.graph.integers(sides)])


def _one_axes(operation: str) -> Emit:
    return lambda call: call.node(operation, [call.value(), call.graph.integers(call.whole(1))])


def _transpose(call: Call) -> list[Operand]:
    return call.node("Transpose", [call.value()], {"perm": call.whole(1)})


def _gather(call: Call) -> list[Operand]:
    call.require(batch_dims="0")
    places = call.array(1).astype(np.int64)
    axis = number(call.array(2))
    return call.node("Gather", [call.value(), call.graph.constant(places, f"{call.name}.places")], {"axis": axis})


def _slice(call: Call) -> list[Operand]:
    starts, ends, steps = (call.whole(i) for i in (1, 2, 3))
    axes = call.whole(4) if len(call.operands) > 4 else list(range(len(starts)))
    return call.node("Slice", [call.value(), *(call.graph.integers(n) for n in (starts, ends, axes, steps))])


def _strided_slice(call: Call) -> list[Operand]:
    for mask in ("new_axis_mask", "shrink_axis_mask", "ellipsis_mask"):
        if call.layer.attributes.get(mask) and any(call.numbers(mask)):
            raise FoldError(f"it has a {mask}")
    starts, ends = call.whole(1), call.whole(2)
    steps = call.whole(3) if len(call.operands) > 3 else [1] * len(starts)
    kept = {name: call.numbers(name) if call.layer.attributes.get(name) else [] for name in ("begin_mask", "end_mask")}
    if min(steps, default=1) < 1:
        raise FoldError("it steps backwards")
    starts = [0 if i < len(kept["begin_mask"]) and kept["begin_mask"][i] else n for i, n in enumerate(starts)]
    ends = [1 << 62 if i < len(kept["end_mask"]) and kept["end_mask"][i] else n for i, n in enumerate(ends)]
    axes = list(range(len(starts)))
    return call.node("Slice", [call.value(), *(call.graph.integers(n) for n in (starts, ends, axes, steps))])


def _interpolate(call: Call) -> list[Operand]:
    """Nearest neighbour by a whole factor is all that detectors use."""
    call.require(mode="nearest", antialias="false 0", coordinate_transformation_mode="asymmetric half_pixel")
    whole = "floor simple" if call.layer.attributes.get("coordinate_transformation_mode") == "asymmetric" else ""
    call.require(nearest_mode=whole or "round_prefer_floor round_prefer_ceil")
    if any(any(call.numbers(pads)) for pads in ("pads_begin", "pads_end") if pads in call.layer.attributes):
        raise FoldError("it pads")
    before, after = call.shapes[0], call.layer.outputs[0].shape
    factors = [big // small if small else 0 for small, big in zip(before, after, strict=False)]
    exact = len(before) == len(after) == 4 and [n * f for n, f in zip(before, factors, strict=True)] == list(after)
    if not exact or factors[:2] != [1, 1] or min(factors) < 1:
        raise FoldError(f"it resizes {before} to {after}")
    scales = call.graph.constant(np.array(factors, np.float32), f"{call.name}.scales")
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return call.node("Resize", [call.value(), "", scales], modes)


_BROADCAST: Final = "auto_broadcast"
_WINDOW: Final = "strides dilations pads_begin pads_end auto_pad"
OPERATIONS: Final[Mapping[str, Operation]] = {
    "Add": Operation(_elementwise("Add"), attributes=_BROADCAST),
    "Concat": Operation(_concat, attributes="axis"),
    "Convert": Operation(_convert, attributes="destination_type"),
    "Convolution": Operation(_convolution, attributes=_WINDOW),
    "ConvolutionBackpropData": Operation(_transposed_convolution, attributes=_WINDOW + " output_padding"),
    "Divide": Operation(_elementwise("Div"), attributes=_BROADCAST + " m_pythondiv"),
    "Exp": Operation(_simple("Exp")),
    "FakeQuantize": Operation(_fake_quantize, attributes=_BROADCAST + " levels"),
    "Gather": Operation(_gather, "opset1 opset7 opset8", "batch_dims"),
    "Greater": Operation(_of_constants, attributes=_BROADCAST),
    "GroupConvolution": Operation(_group_convolution, attributes=_WINDOW),
    "Interpolate": Operation(
        _interpolate,
        "opset4 opset11",
        "mode shape_calculation_mode coordinate_transformation_mode nearest_mode antialias pads_begin pads_end "
        "cube_coeff",
    ),
    "MatMul": Operation(_matmul, attributes="transpose_a transpose_b"),
    "MaxPool": Operation(_max_pool, "opset1 opset8 opset14", _WINDOW + " kernel rounding_type index_element_type axis"),
    "Mod": Operation(_of_constants, attributes=_BROADCAST),
    "Multiply": Operation(_elementwise("Mul"), attributes=_BROADCAST),
    "PReLU": Operation(_prelu),
    "ReLU": Operation(_simple("Relu")),
    "Reshape": Operation(_reshape, attributes="special_zero"),
    "Sigmoid": Operation(_simple("Sigmoid")),
    "Slice": Operation(_slice, "opset8"),
    "SoftMax": Operation(_softmax, "opset1 opset8", "axis"),
    "Split": Operation(_split, attributes="num_splits"),
    "Squeeze": Operation(_one_axes("Squeeze"), "opset1 opset15", "allow_axis_skip"),
    "StridedSlice": Operation(
        _strided_slice, attributes="begin_mask end_mask new_axis_mask shrink_axis_mask ellipsis_mask"
    ),
    "Subtract": Operation(_elementwise("Sub"), attributes=_BROADCAST),
    "Swish": Operation(_swish, "opset4"),
    "Transpose": Operation(_transpose),
    "Unsqueeze": Operation(_one_axes("Unsqueeze")),
    "VariadicSplit": Operation(_split),
}
