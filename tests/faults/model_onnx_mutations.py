"""ONNX models spoilt by someone who knows the format."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.faults import model_onnx_metadata as metadata
from tests.faults.model_mutations import Mutation, byte_mutations
from tests.faults.model_onnx_tails import TAILS

Edit: TypeAlias = Callable[[onnx.ModelProto, Random], None]

_UNUSED: Final = "what changed is not needed to run it, or another number in its place; its answers are finite"
_SAME: Final = "ONNX Runtime takes it in this form, too"
_HUGE: Final = (1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1)


def _edited(edit: Edit) -> Callable[[bytes, Random], bytes]:
    """Returns what does `edit` to a serialised model."""

    def change(data: bytes, random: Random) -> bytes:
        model = onnx.load_model_from_string(data)
        edit(model, random)
        spoilt: bytes = model.SerializeToString(deterministic=True)
        return spoilt

    return change


def _array(model: onnx.ModelProto, random: Random) -> TensorProto:
    found: TensorProto = random.choice(model.graph.initializer)
    return found


def _node(model: onnx.ModelProto, random: Random) -> NodeProto:
    found: NodeProto = random.choice(model.graph.node)
    return found


# --- arrays ---


def _array_dimensions(model: onnx.ModelProto, random: Random) -> None:
    array = _array(model, random)
    dims = random.choice(([1 << 40], [1 << 31, 1 << 31], [-1], [0], [1] * 100, [(1 << 63) - 1] * 3, [*array.dims, 2]))
    del array.dims[:]
    array.dims.extend(dims)


def _array_bytes(model: onnx.ModelProto, random: Random) -> None:
    array = random.choice([array for array in model.graph.initializer if array.raw_data])
    data = array.raw_data
    array.raw_data = random.choice((b"", data[:-1], data + b"\0", data * 2, data[: len(data) // 2]))


def _array_type(model: onnx.ModelProto, random: Random) -> None:
    array = _array(model, random)
    array.data_type = random.choice(
        [kind for kind in (0, 2, 7, 8, 10, 11, 14, 16, 22, 25, 99, 1000) if kind != array.data_type]
    )


def _array_numbers(model: onnx.ModelProto, random: Random) -> None:
    arrays = [array for array in model.graph.initializer if array.data_type == TensorProto.FLOAT and array.raw_data]
    array = random.choice(arrays)
    value = random.choice((np.nan, np.inf, -np.inf, 3e38, 0, -1e30, 1e-42))
    numbers = numpy_helper.to_array(array).copy()
    numbers.reshape(-1)[:: random.choice((1, 7))] = value
    array.raw_data = numbers.tobytes()


def _array_integers(model: onnx.ModelProto, random: Random) -> None:
    arrays = [array for array in model.graph.initializer if array.data_type == TensorProto.INT64]
    if not arrays:
        return _array_dimensions(model, random)
    array = random.choice(arrays)
    numbers = numpy_helper.to_array(array).copy()
    numbers.reshape(-1)[: random.choice((1, 9))] = random.choice(
        (-1, 0, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))
    )
    array.raw_data = numbers.tobytes()
    return None


def _array_swap(model: onnx.ModelProto, random: Random) -> None:
    a, b = random.sample(list(model.graph.initializer), 2)
    a.name, b.name = b.name, a.name


def _array_twice(model: onnx.ModelProto, random: Random) -> None:
    model.graph.initializer.append(_array(model, random))


def _array_missing(model: onnx.ModelProto, random: Random) -> None:
    del model.graph.initializer[random.randrange(len(model.graph.initializer))]


def _array_of_texts(model: onnx.ModelProto, random: Random) -> None:
    array = _array(model, random)
    name = array.name
    texts: Any = [b"a" * random.choice((1, 1 << 20)), b"\xff"]
    array.CopyFrom(helper.make_tensor(name, TensorProto.STRING, [2], texts))


def _external(model: onnx.ModelProto, random: Random) -> None:
    array = _array(model, random)
    size = len(array.raw_data)
    array.ClearField("raw_data")
    array.data_location = TensorProto.EXTERNAL
    places = (
        "/etc/passwd",
        "../../../../etc/passwd",
        "weights.bin",
        "/dev/zero",
        "/proc/self/mem",
        "",
        ".",
        "\0",
        "C:\\x",
        "*/_ORT_MEM_ADDR_/*",
    )
    for key, value in (("location", random.choice(places)), ("offset", random.choice(("0", "-1", str(1 << 62), "x")))):
        array.external_data.add(key=key, value=value)
    array.external_data.add(key="length", value=random.choice((str(size), "0", "-1", str(1 << 40))))


def _external_in_a_node(model: onnx.ModelProto, random: Random) -> None:
    array = helper.make_tensor("far", TensorProto.FLOAT, [4], [0.0] * 4)
    array.ClearField("float_data")
    array.data_location = TensorProto.EXTERNAL
    array.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["far"], value=array))


def _sparse(model: onnx.ModelProto, random: Random) -> None:
    values = helper.make_tensor("thin", TensorProto.FLOAT, [2], [1.0, 2.0])
    index = random.choice(([0, 1], [0, 1 << 40], [-1, 0], [1, 0], [5, 5]))
    indices = helper.make_tensor("", TensorProto.INT64, [2], index)
    dims = random.choice(([4], [1 << 40], [1 << 20, 1 << 20], [0], [-4], [4, 4]))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dims))
    model.graph.node.append(helper.make_node("Neg", ["thin"], ["thick"]))
    model.graph.output.append(helper.make_tensor_value_info("thick", TensorProto.FLOAT, None))


# --- the graph ---


def _circle(model: onnx.ModelProto, random: Random) -> None:
    nodes = model.graph.node
    late = random.randrange(1, len(nodes))
    early = nodes[random.randrange(late)]
    if not early.input:
        early = nodes[0]
    nodes[-1].input[0] = nodes[late].output[0]
    early.input[0] = nodes[-1].output[0]


def _own_input(model: onnx.ModelProto, random: Random) -> None:
    node = random.choice([node for node in model.graph.node if node.input])
    node.input[0] = node.output[0]


def _missing_input(model: onnx.ModelProto, random: Random) -> None:
    node = random.choice([node for node in model.graph.node if node.input])
    node.input[random.randrange(len(node.input))] = random.choice(("nowhere", "\x1b[2J\n", "a" * 100_000, "none"))


def _same_output(model: onnx.ModelProto, random: Random) -> None:
    a, b = random.sample(list(model.graph.node), 2)
    a.output[0] = b.output[0]


def _drop_node(model: onnx.ModelProto, random: Random) -> None:
    del model.graph.node[random.randrange(len(model.graph.node))]


def _no_nodes(model: onnx.ModelProto, random: Random) -> None:
    del model.graph.node[:]


def _no_outputs(model: onnx.ModelProto, random: Random) -> None:
    del model.graph.output[:]


def _output(model: onnx.ModelProto, random: Random) -> None:
    kind = random.choice((TensorProto.STRING, TensorProto.INT64, TensorProto.FLOAT16, 0, 77))
    name = random.choice((model.graph.node[0].output[0], "images", "nowhere", ""))
    model.graph.output.insert(0, helper.make_tensor_value_info(name, kind, random.choice((None, [], [-3], [1 << 62]))))


def _output_shape(model: onnx.ModelProto, random: Random) -> None:
    shape: Any = random.choice(([1, 84, 8400], [1 << 62] * 3, [0, 0], [1], ["\x1b[2J", "n"], [-1, -1, -1]))
    name = model.graph.output[0].name
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _input_shape(model: onnx.ModelProto, random: Random) -> None:
    sides = [*_HUGE, 0, -1, 1, 33, 100_000]
    shape: Any = random.choice(
        (
            [1, 3, random.choice(sides), random.choice(sides)],
            [random.choice(sides), 3, 64, 64],
            [1, random.choice(sides), 64, 64],
            [3, 64, 64],
            [1, 3, 64, 64] + [1] * 60,
            [1, 3, "\x1b[2J\n", "w" * 100_000],
        )
    )
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.FLOAT, shape))


def _input_type(model: onnx.ModelProto, random: Random) -> None:
    name, picture = "images", [1, 3, 64, 64]
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, picture)
    kinds = (
        helper.make_tensor_type_proto(random.choice((2, 3, 8, 10, 11, 99)), picture),
        helper.make_sequence_type_proto(tensor),
        helper.make_optional_type_proto(tensor),
        helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, picture),
        helper.make_map_type_proto(TensorProto.INT64, tensor),
        onnx.TypeProto(),
    )
    model.graph.input[0].CopyFrom(helper.make_value_info(name, random.choice(kinds)))


def _more_inputs(model: onnx.ModelProto, random: Random) -> None:
    for number in range(random.choice((1, 1000))):
        model.graph.input.append(helper.make_tensor_value_info(f"more{number}", TensorProto.FLOAT, [1]))


def _attribute(model: onnx.ModelProto, random: Random) -> None:
    node = random.choice([node for node in model.graph.node if node.attribute])
    attribute = random.choice(node.attribute)
    value = random.choice(
        (
            *(
                0,
                -1,
                *_HUGE,
                [0, 0],
                [-1, -1],
                [1 << 40] * 2,
                [1 << 31] * 4,
                [],
                [1] * 1000,
                0.5,
                float("nan"),
                "same",
                "x" * 10_000,
            ),
            *(helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]), helper.make_graph([], "g", [], [])),
        )
    )
    name = attribute.name
    attribute.CopyFrom(helper.make_attribute(name, value) if value != [] else onnx.AttributeProto(name=name))


def _own_attribute_reference(model: onnx.ModelProto, random: Random) -> None:
    node = _node(model, random)
    node.attribute.append(onnx.AttributeProto(name="axis", ref_attr_name="axis", type=onnx.AttributeProto.INT))


def _operator(model: onnx.ModelProto, random: Random) -> None:
    node = _node(model, random)
    node.op_type = random.choice(
        ("Nothing", "Conv", "Loop", "If", "Reshape", "Concat", "\x1b[2J", "", "a" * 100_000, "NonMaxSuppression")
    )


def _domain(model: onnx.ModelProto, random: Random) -> None:
    node = _node(model, random)
    node.domain = random.choice(
        ("evil.org", "TRT", "ai.onnx.contrib", "com.microsoft", "ai.onnx.ml", "\x1b[2J", "a" * 100_000)
    )
    node.op_type = random.choice((node.op_type, "PythonOp", "EPContext", "EfficientNMS_TRT", "ATen"))


def _opset(model: onnx.ModelProto, random: Random) -> None:
    del model.opset_import[:]
    for version in random.choice(((), (0,), (9999,), (-1,), (1,), (6,), (17, 17), (13, 18))):
        model.opset_import.append(helper.make_opsetid("", version))


def _ir_version(model: onnx.ModelProto, random: Random) -> None:
    model.ir_version = random.choice((0, -1, 1, 3, 99, 1 << 60))


def _deep(model: onnx.ModelProto, random: Random) -> None:
    shape = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    body = leaf = helper.make_graph([helper.make_node("Identity", ["images"], ["y"])], "g", [], [shape])
    for _ in range(random.choice((9, 20, 30))):
        node = helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=leaf)
        body = helper.make_graph([node], "g", [], [shape])
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.extend(body.node)
    model.graph.output.append(shape)


def _functions(model: onnx.ModelProto, random: Random) -> None:
    """Functions that call themselves, each other, or the next one ten times."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    how = random.choice(("self", "each other", "ten times", "wide"))
    count = {"self": 1, "each other": 2, "ten times": 8, "wide": 1}[how]
    for i in range(count):
        next_name = {"self": "f0", "each other": f"f{1 - i}"}.get(how, f"f{i + 1}")
        calls = [
            helper.make_node(next_name, ["x"], [f"y{k}"], domain="own") for k in range(10 if how == "ten times" else 1)
        ]
        if how == "wide" or (how == "ten times" and i == count - 1):
            calls = [helper.make_node("Identity", ["x"], [f"y{k}"]) for k in range(60_000 if how == "wide" else 1)]
        model.functions.append(helper.make_function("own", f"f{i}", ["x"], ["y0"], calls, opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("f0", ["images"], ["called"], domain="own"))
    model.graph.output.append(helper.make_tensor_value_info("called", TensorProto.FLOAT, None))


def _many_nodes(model: onnx.ModelProto, random: Random) -> None:
    name = "images"
    for i in range(random.choice((20_000, 60_000))):
        model.graph.node.append(helper.make_node("Neg", [name], [f"n{i}"]))
        name = f"n{i}"
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _training(model: onnx.ModelProto, random: Random) -> None:
    info = model.training_info.add()
    info.algorithm.CopyFrom(model.graph)
    info.initialization.CopyFrom(model.graph)


def _order(model: onnx.ModelProto, random: Random) -> None:
    nodes = list(model.graph.node)
    random.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _mutation(kind: str, name: str, edit: Edit, passes: str = "") -> Mutation:
    return Mutation(kind, name, _edited(edit), passes)


def _tail(name: str, build: Any) -> Mutation:
    return Mutation("operators", name, _edited(lambda model, random: build(model)), TAILS[name][1])


def onnx_mutations() -> list[Mutation]:
    """Returns all ways to spoil an ONNX model."""
    arrays: tuple[tuple[str, Edit, str], ...] = (
        ("dimensions", _array_dimensions, ""),
        ("bytes cut or added", _array_bytes, ""),
        ("another type", _array_type, _UNUSED),
        ("numbers of nonsense", _array_numbers, _UNUSED),
        ("integers of nonsense", _array_integers, _UNUSED),
        ("swapped", _array_swap, _UNUSED),
        ("twice", _array_twice, ""),
        ("missing", _array_missing, ""),
        ("of texts", _array_of_texts, ""),
        ("in another file", _external, ""),
        ("in another file, in a node", _external_in_a_node, ""),
        ("sparse", _sparse, _SAME),
    )
    graph: tuple[tuple[str, Edit, str], ...] = (
        ("a circle", _circle, ""),
        ("its own input", _own_input, ""),
        ("a missing input", _missing_input, ""),
        ("one output of two nodes", _same_output, ""),
        ("a node missing", _drop_node, ""),
        ("no nodes", _no_nodes, ""),
        ("no outputs", _no_outputs, ""),
        ("a strange output", _output, _UNUSED),
        ("a strange shape of the output", _output_shape, _UNUSED),
        ("a strange shape of the input", _input_shape, _SAME),
        ("a strange type of the input", _input_type, _SAME),
        ("more inputs", _more_inputs, "it loads; the engine refuses it, as it is no picture network"),
        ("an attribute of nonsense", _attribute, _UNUSED),
        ("a reference to no attribute", _own_attribute_reference, _SAME),
        ("another operator", _operator, _SAME),
        ("another domain", _domain, _SAME),
        ("opset", _opset, _SAME),
        ("version of the format", _ir_version, _SAME),
        ("graphs in graphs", _deep, ""),
        ("functions", _functions, ""),
        ("many nodes", _many_nodes, _SAME),
        ("training", _training, _UNUSED),
        ("another order of nodes", _order, "what counts is who needs whom"),
    )
    words: tuple[tuple[str, Edit, str], ...] = (
        ("our card", metadata.card, _UNUSED),
        ("the exporter's words", metadata.exporter, _UNUSED),
        ("none", metadata.no_card, _SAME),
        ("of megabytes", metadata.bomb, _SAME),
        ("of fifty thousand entries", metadata.many, _SAME),
        ("texts", metadata.texts, _SAME),
    )
    return [
        *byte_mutations(_UNUSED),
        *(_mutation("arrays", *row) for row in arrays),
        *(_mutation("graph", *row) for row in graph),
        *(_mutation("metadata", *row) for row in words),
        *(_tail(name, build) for name, (build, _) in TAILS.items()),
    ]
