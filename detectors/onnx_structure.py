"""Whether an ONNX model is sound enough to hand it to a runtime: its parts, their number, their sizes, their order.

Nothing is computed here and no shape is inferred. What is refused is what no exporter writes for a detector, and what
would make a runtime allocate, recurse or read files at the word of the model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from onnx import (
        AttributeProto,
        FunctionProto,
        GraphProto,
        ModelProto,
        NodeProto,
        SparseTensorProto,
        TensorProto,
    )

_MAX_NODES: Final = 50_000  # with all that its functions stand for; the largest detectors have some thousand
_MAX_DEPTH: Final = 8  # graphs within the nodes of graphs
_MAX_DIMENSIONS: Final = 32
_MAX_ELEMENTS: Final = 1 << 28  # of an array that is announced by its shape alone: 1 GiB of float32
_MAX_METADATA: Final = 16 << 20  # characters; class names take some thousand
_MAX_SHOWN: Final = 60

# Those of ONNX and those that ONNX Runtime brings; whoever uses another one must bring a library of code for it.
_DOMAINS: Final = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.microsoft.dml"))
_FOREIGN: Final = frozenset(("EPContext", "PythonOp", "PythonOpGrad", "ATen"))  # they stand for code or files elsewhere

# Bits an element, by the type's name in ONNX. The last nine are packed where they stand in a list of numbers.
_BITS: Final = {
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    **dict.fromkeys(("FLOAT16", "BFLOAT16", "INT16", "UINT16"), 16),
    **dict.fromkeys(("INT8", "UINT8", "BOOL"), 8),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"), 8),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("INT2", "UINT2"), 2),
    "COMPLEX128": 128,
}
_NUMBERS: Final = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
# Which input of an operator is the shape of its output.
_SHAPE_INPUT: Final = {"ConstantOfShape": 0, "Expand": 1, "Resize": 3}


def check_structure(model: ModelProto) -> None:
    """Checks a model as it was parsed.

    Raises:
        ModelError: what is wrong with it, without the name of the file.
    """
    functions = {(function.domain, function.name): function for function in model.functions}
    graphs = list(_graphs(model.graph, 0))
    bodies = list(chain.from_iterable(_bodies(function) for function in model.functions))
    nodes = [node for part in (*graphs, *bodies) for node in part.node]
    if not model.graph.node:
        raise ModelError("not an ONNX model, or one without a graph")
    if not model.graph.output:
        raise ModelError("its graph has no output")
    metadata = sum(len(entry.key) + len(entry.value) for entry in model.metadata_props)
    if metadata > _MAX_METADATA:
        raise ModelError(f"its metadata takes {metadata:,} characters; at most {_MAX_METADATA:,} are read")
    _check_operators(nodes, functions.keys())
    _check_size(model, functions)
    for tensor in _tensors(graphs, nodes):
        _check_tensor(tensor)
    for sparse in chain(
        (sparse for graph in graphs for sparse in graph.sparse_initializer),
        (sparse for _, attribute in _attributes(nodes) for sparse in _sparse(attribute)),
    ):
        _check_announced(sparse.dims, f"sparse array {_shown(sparse.values.name)}")
    _check_shapes(nodes, graphs)
    _check_order(model.graph, (), "the graph")
    for function in model.functions:
        _check_order(function, (), f"function {_shown(function.name)}")


def _graphs(graph: GraphProto, depth: int) -> Iterator[GraphProto]:
    """Yields `graph` and all graphs within it."""
    if depth > _MAX_DEPTH:
        raise ModelError(f"its graphs lie more than {_MAX_DEPTH} deep within each other")
    yield graph
    for node in graph.node:
        for inner in _inner(node):
            yield from _graphs(inner, depth + 1)


def _bodies(function: FunctionProto) -> Iterator[FunctionProto | GraphProto]:
    """Yields `function` and all graphs within it."""
    yield function
    for node in function.node:
        for inner in _inner(node):
            yield from _graphs(inner, 1)


def _inner(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _attributes(nodes: Iterable[NodeProto]) -> Iterator[tuple[NodeProto, AttributeProto]]:
    return ((node, attribute) for node in nodes for attribute in node.attribute)


def _sparse(attribute: AttributeProto) -> list[SparseTensorProto]:
    own = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    return [*own, *attribute.sparse_tensors]


def _tensors(graphs: Sequence[GraphProto], nodes: Sequence[NodeProto]) -> Iterator[TensorProto]:
    """Yields every array of numbers in the model."""
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for _, attribute in _attributes(nodes):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in _sparse(attribute):
            yield from (sparse.values, sparse.indices)


def _check_operators(nodes: Iterable[NodeProto], own: Iterable[tuple[str, str]]) -> None:
    """Checks that every operator is one of ONNX, of ONNX Runtime or of the model's own functions."""
    own = set(own)
    for node in nodes:
        known = node.domain in _DOMAINS and node.op_type not in _FOREIGN
        if not known and (node.domain, node.op_type) not in own:
            raise ModelError(
                f"uses the operator {_shown(node.op_type)} of {_shown(node.domain)}, which ONNX Runtime does not have; "
                "export the model without it"
            )


def _check_size(model: ModelProto, functions: dict[tuple[str, str], FunctionProto]) -> None:
    """Checks how many nodes the model has once each call of a function is replaced by what that holds."""
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()

    def size_of(parts: Iterable[FunctionProto | GraphProto]) -> int:
        return sum(1 + called(node) for part in parts for node in part.node)

    def called(node: NodeProto) -> int:
        key = (node.domain, node.op_type)
        if key not in functions:
            return 0
        if key not in sizes:
            if key in open_calls or len(open_calls) > _MAX_DEPTH:
                raise ModelError(f"its function {_shown(node.op_type)} calls itself, or too deeply")
            open_calls.add(key)
            sizes[key] = size_of(_bodies(functions[key]))
            open_calls.remove(key)
        return sizes[key]

    size = max(size_of(_graphs(model.graph, 0)), len(model.graph.initializer), len(functions))
    if size > _MAX_NODES:
        raise ModelError(f"has {size:,} parts; at most {_MAX_NODES:,} are read")


def _check_tensor(tensor: TensorProto) -> None:
    """Checks that the numbers of an array are here, and as many as its shape says."""
    from onnx import TensorProto

    name = _shown(tensor.name)
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise ModelError(
            f"keeps its numbers in another file ({_shown(where)}), which is never read; save it in one file: "
            "onnx.save(onnx.load(OLD), NEW)"
        )
    kinds = TensorProto.DataType
    kind = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else ""
    if (kind not in _BITS and kind != "STRING") or tensor.HasField("segment"):
        raise ModelError(f"array {name} is of an unknown type, {tensor.data_type}")
    count = _elements(tensor.dims, f"array {name}")
    numbers = sum(len(getattr(tensor, field)) for field in _NUMBERS)
    if tensor.HasField("raw_data"):
        expected, found = -(-count * _BITS.get(kind, 0) // 8), len(tensor.raw_data)
        found = -1 if numbers or kind == "STRING" else found
    else:
        packed = -(-count * _BITS[kind] // 8) if _BITS.get(kind, 8) < 8 else count
        expected, found = 2 * count if kind.startswith("COMPLEX") else packed, numbers
    if found != expected:
        raise ModelError(f"array {name} does not hold the {count:,} elements of its shape; it is damaged")


def _elements(dimensions: Sequence[int], what: str) -> int:
    if len(dimensions) > _MAX_DIMENSIONS or any(not 0 <= side < 1 << 40 for side in dimensions):
        raise ModelError(f"{what} has an impossible shape; it is damaged")
    return math.prod(dimensions)


def _check_announced(dimensions: Sequence[int], what: str) -> None:
    """Checks the shape of an array whose numbers are not in the file."""
    if _elements(dimensions, what) > _MAX_ELEMENTS:
        raise ModelError(f"{what} is too large: {'x'.join(map(str, dimensions))}")


def _check_shapes(nodes: Iterable[NodeProto], graphs: Iterable[GraphProto]) -> None:
    """Checks shapes that stand in the file as numbers, for operators that make arrays of any size out of nothing."""
    from onnx import numpy_helper

    nodes = list(nodes)
    constants = {tensor.name: tensor for graph in graphs for tensor in graph.initializer}
    for node, attribute in _attributes(nodes):
        if node.op_type == "Constant" and attribute.name == "value" and node.output:
            constants[node.output[0]] = attribute.t
    for node in nodes:
        at = _SHAPE_INPUT.get(node.op_type, len(node.input))
        shape = constants.get(node.input[at]) if at < len(node.input) else None
        if shape is not None and len(shape.dims) == 1 and shape.dims[0] <= _MAX_DIMENSIONS:
            sides = [int(side) for side in numpy_helper.to_array(shape)]
            _check_announced([max(side, 0) for side in sides], f"the output of {node.op_type} {_shown(node.name)}")


def _check_order(graph: GraphProto | FunctionProto, outer: tuple[frozenset[str], ...], what: str) -> set[str]:
    """Checks that every value of a graph is made once, and that none waits for itself.

    Args:
        graph: what is checked, with the graphs within it.
        outer: names that graphs around it have.
        what: to name it in errors.

    Returns:
        The names that it takes from around it.
    """
    given = _given(graph)
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    made = Counter(name for node in graph.node for name in node.output if name)
    twice = next((name for name in chain(made, given) if made[name] > (name not in given)), None)
    if twice is not None:
        raise ModelError(f"{what} makes {_shown(twice)} twice")
    own = frozenset((*given, *makers))
    taken: set[str] = set()
    needs: list[set[int]] = []
    for node in graph.node:
        names = {name for name in node.input if name}
        for inner in _inner(node):
            names |= _check_order(inner, (*outer, own), f"a graph within {_shown(node.name or node.op_type)}")
        missing = next((name for name in names - own if not any(name in around for around in outer)), None)
        if missing is not None:
            raise ModelError(f"{what} uses {_shown(missing)}, which nothing makes")
        taken |= names - own
        needs.append({makers[name] for name in names if name in makers})
    results = _results(graph)
    lost = next((name for name in results - own if not any(name in around for around in outer)), None)
    if lost is not None:
        raise ModelError(f"{what} has the output {_shown(lost)}, which nothing makes")
    _check_acyclic(needs, what)
    return taken | (results - own)


def _given(graph: GraphProto | FunctionProto) -> set[str]:
    """Returns the names of what a graph has before its first node."""
    if not hasattr(graph, "initializer"):  # a function
        return set(graph.input)
    arrays = [tensor.name for tensor in graph.initializer] + [s.values.name for s in graph.sparse_initializer]
    inputs = [value.name for value in graph.input]
    for names in (arrays, inputs):
        name, count = (Counter(names).most_common(1) or [("", 0)])[0]
        if count > 1:
            raise ModelError(f"has two arrays or inputs named {_shown(name)}")
    return {*arrays, *inputs}


def _results(graph: GraphProto | FunctionProto) -> set[str]:
    return {value if isinstance(value, str) else value.name for value in graph.output}


def _check_acyclic(needs: Sequence[set[int]], what: str) -> None:
    """Checks that nodes can be put in an order in which each comes after those that it needs."""
    waiting = [len(need) for need in needs]
    users: list[list[int]] = [[] for _ in needs]
    for user, need in enumerate(needs):
        for maker in need:
            users[maker].append(user)
    ready = [node for node, count in enumerate(waiting) if not count]
    done = 0
    while ready:
        done += 1
        for user in users[ready.pop()]:
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    if done < len(needs):
        raise ModelError(f"{what} goes in a circle: {len(needs) - done} of its nodes wait for each other")


def _shown(name: str) -> str:
    """Returns a name out of a model as text that a terminal can show, cut where it is long."""
    return ascii(name if len(name) <= _MAX_SHOWN else name[:_MAX_SHOWN] + "...")
