"""How much arithmetic an ONNX network takes for one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_COUNTED: Final = ("Conv", "ConvTranspose", "MatMul", "Gemm", "ConvInteger", "MatMulInteger", "QLinearConv")


def gflops(model: ModelProto, size: tuple[int, int]) -> float:
    """Returns the work for one picture of `size` (height, width) in pixels, in 10^9 multiplications and additions.

    Only convolutions and products of matrices count, a multiplication and its addition as two, as is usual where
    networks are compared. 0.0 where the shapes inside cannot be told.
    """
    shapes = _shapes(model, size)
    return round(sum(_products(node, shapes) for node in model.graph.node if node.op_type in _COUNTED) * 2 / 1e9, 3)


def _shapes(model: ModelProto, size: tuple[int, int]) -> Mapping[str, Sequence[int]]:
    """Returns the shape of every value of which it can be told, for one picture of `size`."""
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    constants = {tensor.name: tuple(tensor.dims) for tensor in fixed.graph.initializer}
    for value in fixed.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if value.name not in constants and len(dimensions) == 4:
            for axis, side in ((0, 1), (2, size[0]), (3, size[1])):
                dimensions[axis].dim_value = side
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return {}
    found = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    }
    return found | constants


def _products(node: NodeProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Returns how many multiplications a node takes; 0 where a shape is not known."""
    weight = shapes.get(node.input[3 if node.op_type == "QLinearConv" else 1], ())
    before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    if not weight or not before or not after:
        return 0
    if node.op_type == "ConvTranspose":
        return math.prod(before) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return math.prod(after) * math.prod(weight[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(after) * before[-2 if transposed else -1]
