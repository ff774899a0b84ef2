"""Walks an OpenVINO network and writes it as a float ONNX.

Maps that it rounds to few levels stay floats, and its weights are unpacked: what it computes is then what the network
computed before it was quantised, but for the rounding of its weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchline.detectors.importer.graph import Graph
from watchline.detectors.importer.ir import Ir, Layer
from watchline.detectors.importer.ir_fold import FOLDS, FoldError
from watchline.detectors.importer.ir_ops import OPERATIONS, Call, Operand
from watchline.streams.errors import ModelError

_EDGES: Final = ("Parameter", "Const", "Result", "ShapeOf")  # what is not an operation on numbers


@dataclass(frozen=True, slots=True)
class Translated:
    """An OpenVINO network as ONNX graph, not serialised yet.

    Attributes:
        graph: all its nodes; input "images" (1, 3, height, width).
        outputs: shape of each output, by name.
        metadata: what its maker says about it, as `Ir.metadata`.
    """

    graph: Graph
    outputs: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def translate(ir: Ir) -> Translated:
    """Returns the network as ONNX graph, its input of the size that it is in `ir`.

    Raises:
        ModelError: it is not a network for pictures of a fixed size, or it holds an operation that is not known.
    """
    graph = Graph(input_size(ir), batch=1)
    values: dict[tuple[str, int], Operand] = {}
    readers = Counter(source for layer in ir.layers.values() for source in layer.sources if layer.type != "Result")
    for layer in ir.layers.values():
        try:
            for number, value in enumerate(_outputs(ir, layer, graph, values)):
                values[layer.id, number] = value
            _forget(layer, values, readers)
        # NumPy's answers to layers that do not fit each other.
        except (FoldError, ValueError, LookupError, TypeError) as error:
            raise ir.refusal(f"layer {layer.name} ({layer.type}): {error}") from error
    outputs = ir.outputs()
    for name, result in zip(outputs, ir.of_type("Result"), strict=True):
        answer = values.get(result.sources[0])
        if not isinstance(answer, str) or name == "images":
            raise ir.refusal(f"its output {name} does not depend on its input")
        graph.node("Identity", [answer], name)
        graph.output(name, outputs[name])
    return Translated(graph, outputs, ir.metadata)


def input_size(ir: Ir) -> tuple[int, int]:
    """Returns height and width of the network's input, in pixels.

    Raises:
        ModelError: it has none for pictures of three channels, one at a time and of a fixed size.
    """
    inputs = ir.of_type("Parameter")
    shapes = [layer.outputs[0].shape if layer.outputs else () for layer in inputs]
    if len(inputs) != 1 or len(shapes[0]) != 4 or inputs[0].attributes.get("element_type") != "f32":
        asks = ", ".join(
            f"{layer.name} {layer.attributes.get('element_type', '')[:10]} {shape}"
            for layer, shape in zip(inputs[:4], shapes, strict=False)
        )
        raise ir.refusal(f"not a picture network: want one f32 input (1, 3, H, W), it has {asks or 'none'}")
    batch, channels, height, width = shapes[0]
    if (batch, channels) != (1, 3) or min(height, width) < 1:
        raise ir.refusal(f"its input is {shapes[0]}; want (1, 3, H, W), all fixed: export it with a fixed size")
    return height, width


def _outputs(ir: Ir, layer: Layer, graph: Graph, values: Mapping[tuple[str, int], Operand]) -> list[Operand]:
    """Returns what `layer` gives: constants where it can be worked out now, else names of values in the graph."""
    operands = [values[source] for source in layer.sources]
    shapes = [ir.layers[source].outputs[number].shape for source, number in layer.sources]
    if layer.type == "Parameter":
        return [graph.image().name]
    if layer.type == "Const":
        return [ir.constant(layer)]
    if layer.type == "Result":
        return []
    _expect_known(ir, layer)
    if any(min(shape, default=0) < 0 for shape in shapes):
        raise ir.refusal(f"layer {layer.name} ({layer.type}) is of an open size; export it with a fixed size")
    if layer.type == "ShapeOf":
        return [np.array(shapes[0], np.int64)]
    arrays = [operand for operand in operands if not isinstance(operand, str)]
    fold = FOLDS.get(layer.type)
    if fold and len(arrays) == len(operands):
        folded = fold(layer, arrays)
        if folded.shape != layer.outputs[0].shape:
            raise FoldError(f"it gives {folded.shape} and says {layer.outputs[0].shape}")
        return [folded]
    return OPERATIONS[layer.type].emit(Call(graph, layer, operands, shapes, f"{layer.type}_{layer.id}"))


def _forget(layer: Layer, values: dict[tuple[str, int], Operand], readers: Counter[tuple[str, int]]) -> None:
    """Drops the constants that `layer` was the last to read: weights are unpacked in steps, each a full copy."""
    for source in layer.sources:
        readers[source] -= 1
        if not readers[source] and not isinstance(values[source], str):
            del values[source]


def _expect_known(ir: Ir, layer: Layer) -> None:
    """Checks that the operation is known, in this version, with no other attributes.

    Raises:
        ModelError: it is not.
    """
    if layer.type == "ShapeOf":
        return
    known = OPERATIONS.get(layer.type)
    if known is None or layer.version not in known.versions.split():
        names = ", ".join(sorted({*OPERATIONS, *_EDGES}))
        raise _unknown(ir, layer, f"supported: {names}")
    unknown = set(layer.attributes) - set(known.attributes.split())
    if unknown:
        raise _unknown(ir, layer, f"unknown attribute {min(unknown)[:40]!a}")


def _unknown(ir: Ir, layer: Layer, reason: str) -> ModelError:
    return ir.refusal(f"operation {layer.type} ({layer.version}) at {layer.name} is not supported; {reason}")
