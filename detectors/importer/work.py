"""How much arithmetic an ONNX network takes for one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_SMALL: Final = 1000  # numbers of a constant that may say a shape
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

    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    try:
        inferred = onnx.shape_inference.infer_shapes(_without_weights(model, size), data_prop=True)
    except onnx.shape_inference.InferenceError:
        return {}
    found = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    }
    return found | constants


def _without_weights(model: ModelProto, size: tuple[int, int]) -> ModelProto:
    """Returns the network for one picture of `size`; of large constants only the shape, or it would be copied twice."""
    import onnx

    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = "shapes"
    bare.graph.node.extend(model.graph.node)
    constants = {tensor.name for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in model.graph.input:
        if value.name not in constants:
            bare.graph.input.append(value)
            dimensions = bare.graph.input[-1].type.tensor_type.shape.dim
            for axis, side in ((0, 1), (2, size[0]), (3, size[1])) if len(dimensions) == 4 else ():
                dimensions[axis].dim_value = side
    for value in model.graph.output:
        bare.graph.output.append(onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, None))
    return bare


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
