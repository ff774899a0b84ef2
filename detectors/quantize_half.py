"""A network with weights of 16 bits: half the file, and the computing is left to what runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np

from watchline.detectors.card import ModelCard
from watchline.detectors.quantize_graph import shorten_names, tail
from watchline.detectors.quantize_network import prepared, signed
from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, TensorProto

Half: TypeAlias = Literal["fp16", "bf16"]
HALVES: Final[tuple[str, ...]] = get_args(Half)

_WEIGHTED: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_LARGEST_FP16: Final = 65504.0


def halved(path: Path, to: Half, card: ModelCard) -> bytes:
    """Returns the network with 16-bit weights as the bytes of an ONNX file that says itself what `card` says.

    A Cast to float32 stands behind each weight, so that it runs wherever the float network does; runtimes work the
    casts out when they load it. Biases and what works boxes out stay float32: they are small, and hold pixels.

    Args:
        path: an ONNX file that has been vetted.
        to: the kind of numbers; "bf16" has the range of float32 and 8 bits of precision, "fp16" has 11 bits, to 65504.
        card: what the network is.

    Raises:
        ModelError: the network cannot be read, has no weights, or has one that is too large for fp16.
    """
    from onnx import TensorProto, helper

    model = prepared(path)
    graph = model.graph
    wanted = _weights(graph)
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in wanted or tensor.data_type != TensorProto.FLOAT:
            continue
        whole, name = tensor.name, f"{tensor.name}.{to}"
        tensor.CopyFrom(_rounded(tensor, to, path))
        tensor.name = name
        casts.append(helper.make_node("Cast", [name], [whole], f"{whole}.cast", to=TensorProto.FLOAT))
    if not casts:
        raise ModelError(f"{path.name}: has no weights to store in 16 bits")
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    shorten_names(graph)
    return signed(model, card, f"{to}: weights")


def _weights(graph: GraphProto) -> set[str]:
    """Returns the names of the weights of all that comes before the tail, and that the tail has no use for."""
    after = tail(graph)
    weighted = [node for node in graph.node if node.op_type in _WEIGHTED and len(node.input) > 1]
    whole = {name for node in graph.node if node.name in after for name in node.input}
    return {node.input[1] for node in weighted} - whole


def _rounded(tensor: TensorProto, to: Half, path: Path) -> TensorProto:
    """Returns the weight in 16 bits, each number the nearest that there is."""
    from onnx import TensorProto, numpy_helper

    values = numpy_helper.to_array(tensor)
    if to == "fp16":
        largest = float(np.abs(values).max(initial=0))
        if not largest <= _LARGEST_FP16:
            raise ModelError(f"{path.name}: a weight of {largest:.3g} is too large for fp16; use --to bf16")
        return numpy_helper.from_array(values.astype(np.float16))
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # To the nearest, of two the even one; a number with all bits set would carry over, and is none anyway.
    upper = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    half = TensorProto(data_type=TensorProto.BFLOAT16, dims=values.shape)
    half.raw_data = upper.astype("<u2").tobytes()
    return half
