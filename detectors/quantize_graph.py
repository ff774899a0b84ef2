"""Which parts of a network may be quantized: all up to its last convolutions, and nothing after them.

What comes after them works boxes out, in pixels from 0 to 640, and scores from 0 to 1. One scale for both, as at the
last concatenation, leaves of the scores nothing but zeros, so of the detections none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_CONVOLUTIONS: Final = ("Conv", "ConvTranspose")
_SHAPES: Final = ("Shape", "Size")  # pass on no values


def tail(graph: GraphProto) -> frozenset[str]:
    """Returns the names of the nodes after the last convolution on each path to an output.

    A convolution that only works out what a softmax has made of others, as the expectation over distances in YOLOv8
    does, is no last one: it belongs to what comes after.

    Args:
        graph: every node has a name of its own.
    """
    makers = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    waiting = deque(_makers_of((output.name for output in graph.output), makers))
    while waiting:
        node = waiting.popleft()
        if node.name in found or (node.op_type in _CONVOLUTIONS and not _is_expectation(node, makers)):
            continue
        found.add(node.name)
        if node.op_type not in _SHAPES:
            waiting.extend(_makers_of(node.input, makers))
    return frozenset(found)


def last_convolutions(graph: GraphProto) -> frozenset[str]:
    """Returns the names of the convolutions right before the tail."""
    after = tail(graph)
    inputs = {name for node in graph.node if node.name in after and node.op_type not in _SHAPES for name in node.input}
    inputs |= {output.name for output in graph.output}
    return frozenset(
        node.name
        for node in graph.node
        if node.op_type in _CONVOLUTIONS and node.name not in after and inputs.intersection(node.output)
    )


def name_nodes(graph: GraphProto) -> None:
    """Gives every node a name of its own."""
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        while node.name in taken:
            node.name += "_"
        taken.add(node.name)


def shorten_names(graph: GraphProto) -> None:
    """Gives every tensor but inputs and outputs a short name: three for each of them make 3 % of a small int8 file."""
    outer = {value.name for value in (*graph.input, *graph.output)} | {""}
    short: dict[str, str] = {}

    def rename(name: str) -> str:
        return name if name in outer else short.setdefault(name, f"_{len(short):x}")

    for node in graph.node:
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
        node.ClearField("doc_string")
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.ClearField("name")
    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)


def drop_zeros(graph: GraphProto) -> None:
    """Leaves out the zero points of weights and biases, which are zero, as they are where none is given."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 3 and node.input[0] in weights:
            zero = weights.get(node.input[2])
            if zero is not None and not numpy_helper.to_array(zero).any():
                del node.input[2]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _makers_of(names: Iterable[str], makers: dict[str, NodeProto]) -> list[NodeProto]:
    return [makers[name] for name in names if name in makers]


def _is_expectation(node: NodeProto, makers: dict[str, NodeProto]) -> bool:
    """Returns whether a softmax stands between this convolution and those before it."""
    waiting = deque(_makers_of(node.input[:1], makers))
    seen: set[str] = set()
    while waiting:
        before = waiting.popleft()
        if before.op_type == "Softmax":
            return True
        if before.name not in seen and before.op_type in ("Transpose", "Reshape", "Identity", "Split", "Slice"):
            seen.add(before.name)
            waiting.extend(_makers_of(before.input[:1], makers))
    return False
