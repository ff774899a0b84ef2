"""A model from anywhere is tried elsewhere before it is loaded here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.command import watchline
from watchline.detectors.confined import Bounds, run
from watchline.detectors.importer.description import hash_file
from watchline.detectors.onnx_structure import check_structure
from watchline.detectors.onnx_trial import Job
from watchline.detectors.vetting import vet
from watchline.streams.errors import ModelError

Edit = Callable[[onnx.ModelProto], None]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the system does not bound processes in this way")


def model(shape: list[Any] | None = None) -> onnx.ModelProto:
    """A network that gives the mean of each channel, plus one."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["mean", "one"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape or ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(folder: Path, made: onnx.ModelProto | None = None) -> Path:
    path = folder / "net.onnx"
    path.write_bytes((made or model()).SerializeToString())
    return path


def with_tail(*nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, **constants: Any) -> onnx.ModelProto:
    """The network with `nodes`, whose output "tail" is another of its outputs."""
    made = model()
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(numpy_helper.from_array(np.array(array), name) for name, array in constants.items())
    made.graph.output.append(helper.make_tensor_value_info("tail", kind, None))
    return made


def endless() -> onnx.ModelProto:
    scalar: list[int] = []
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["before"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, scalar),
            helper.make_tensor_value_info("go", TensorProto.BOOL, scalar),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, None),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    node = helper.make_node("Loop", ["", "yes", "one"], ["tail"], body=body)
    return with_tail(node, yes=True)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "imported"


# --- what is remembered ---


@POSIX
def test_a_sound_model_is_tried_once_and_then_remembered(tmp_path: Path, cache: Path) -> None:
    import resource

    def used_s() -> float:
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    path, start = saved(tmp_path), used_s()
    assert vet(path, cache) == hash_file(path)
    first = used_s()
    assert first > start
    assert vet(path.rename(path.with_name("renamed.onnx")), cache)
    assert used_s() == first
    assert [seal.suffix for seal in cache.iterdir()] == [".vetted"]


def test_a_damaged_seal_is_no_seal(tmp_path: Path, cache: Path) -> None:
    path = saved(tmp_path)
    vet(path, cache)
    (seal,) = cache.iterdir()
    words = seal.read_bytes()
    seal.write_bytes(b"anything")
    vet(path, cache)
    assert seal.read_bytes() == words


def test_a_refused_model_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    for _ in range(2):
        with pytest.raises(ModelError, match=r"^net\.onnx: not an ONNX model, or damaged"):
            vet(path, cache)
    assert not cache.exists()


def test_where_nothing_can_be_remembered_the_model_still_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert vet(saved(tmp_path), tmp_path / "file" / "imported")


@pytest.mark.parametrize("shape", [[1, 3, 32, 64], ["n", 3, "h", "w"], [4, 3, 32, 32], [1, 1, 64, 64], [1, 10]])
def test_whatever_runs_passes(shape: list[Any], tmp_path: Path, cache: Path) -> None:
    made = model(shape)
    if len(shape) == 2:  # no picture network: it loads, and the engine says what it is
        made.graph.node[0].attribute[0].CopyFrom(helper.make_attribute("axes", [1]))
    assert vet(saved(tmp_path, made), cache)


def test_a_network_that_takes_640_pixels_only_though_it_says_any_passes(tmp_path: Path, cache: Path) -> None:
    made = with_tail(helper.make_node("Reshape", ["images", "to"], ["tail"]), to=[1, 3, 640, 640])
    assert vet(saved(tmp_path, made), cache)


# --- what is refused ---


def add_external(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="../weights.bin")


def add_circle(made: onnx.ModelProto) -> None:
    made.graph.node[0].input[0] = "output0"


def add_unknown(made: onnx.ModelProto) -> None:
    made.graph.node[0].domain, made.graph.node[0].op_type = "TRT", "EfficientNMS_TRT"


def add_depth(made: onnx.ModelProto) -> None:
    for _ in range(10):
        inner = helper.make_graph(list(made.graph.node), "g", [], list(made.graph.output))
        del made.graph.node[:]
        made.graph.node.append(helper.make_node("If", ["one"], ["output0"], then_branch=inner))


def add_function(*calls: str) -> Edit:
    def add(made: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        for number in range(6):
            names = enumerate(calls if number < 5 else ())
            nodes = [helper.make_node(name.format(number + 1), ["x"], [f"y{i}"], domain="own") for i, name in names]
            nodes = nodes or [helper.make_node("Identity", ["x"], ["y0"])]
            made.functions.append(helper.make_function("own", f"f{number}", ["x"], ["y0"], nodes, opsets))
        made.graph.node.append(helper.make_node("f0", ["images"], ["z"], domain="own"))

    return add


def set_dimensions(*dimensions: int) -> Edit:
    def change(made: onnx.ModelProto) -> None:
        del made.graph.initializer[0].dims[:]
        made.graph.initializer[0].dims.extend(dimensions)

    return change


REFUSED: dict[str, tuple[Edit, str]] = {
    "numbers elsewhere": (add_external, r"another file \('\.\./weights\.bin'\), which is never read; save it in one"),
    "a circle": (add_circle, "the graph goes in a circle: 2 of its nodes"),
    "an operator of another program": (
        add_unknown,
        "operator 'EfficientNMS_TRT' of 'TRT', which ONNX Runtime does not",
    ),
    "too deep": (add_depth, "more than 8 deep"),
    "a function that calls itself": (add_function("f0"), "function 'f[0-9]' calls itself"),
    "functions that multiply": (add_function(*["f{}"] * 20), "at most 50,000 are read"),
    "a shape without its numbers": (set_dimensions(7), "array 'one' does not hold the 7 elements of its shape"),
    "a negative shape": (set_dimensions(-1), "array 'one' has an impossible shape"),
    "a giant shape": (set_dimensions(1 << 40, 1 << 40), "array 'one' has an impossible shape"),
    "an unknown type": (lambda made: setattr(made.graph.initializer[0], "data_type", 99), "of an unknown type, 99"),
    "nothing": (lambda made: made.graph.ClearField("node"), "without a graph"),
    "no answer": (lambda made: made.graph.ClearField("output"), "no output"),
    "a value that nothing makes": (
        lambda made: made.graph.ClearField("initializer"),
        "uses 'one', which nothing makes",
    ),
    "a value made twice": (lambda made: made.graph.node.append(made.graph.node[0]), "makes 'mean' twice"),
    "a lost answer": (
        lambda made: setattr(made.graph.output[0], "name", "\x1b[2J"),
        r"output '\\x1b\[2J', which nothing",
    ),
    "endless words": (lambda made: helper.set_model_props(made, {"a": "b" * 20_000_000}), "metadata takes 20,000,001"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_exporter_writes_is_refused_before_anything_is_loaded(name: str) -> None:
    edit, reason = REFUSED[name]
    made = model()
    edit(made)
    with pytest.raises(ModelError, match=reason):
        check_structure(made)


def test_an_array_that_is_announced_giant_is_refused_before_it_is_made() -> None:
    made = with_tail(helper.make_node("ConstantOfShape", ["to"], ["tail"]), to=[1 << 20, 1 << 20])
    with pytest.raises(ModelError, match="the output of ConstantOfShape '' is too large: 1048576x1048576"):
        check_structure(made)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.FLOAT16, TensorProto.COMPLEX64, TensorProto.STRING])
def test_arrays_of_rare_types_hold_what_their_shape_says(kind: int) -> None:
    made = model()
    values: Any = [b"a"] * 3 if kind == TensorProto.STRING else [1, 2, 3]
    made.graph.initializer.append(helper.make_tensor("rare", kind, [3], values))
    check_structure(made)


def test_nodes_may_stand_in_any_order() -> None:
    made = model()
    nodes = list(made.graph.node)[::-1]
    made.graph.ClearField("node")
    made.graph.node.extend(nodes)
    check_structure(made)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (model([1, 3, 100_000, 100_000]), r"wants pictures of \[1, 3, 100000, 100000\], more than 8192 px"),
        (
            with_tail(helper.make_node("Log", ["minus"], ["tail"]), minus=np.float32(-1)),
            "infinite or undefined numbers",
        ),
        (
            with_tail(
                helper.make_node("SequenceConstruct", ["images"], ["seq"]),
                helper.make_node("SequenceLength", ["seq"], ["tail"]),
                kind=TensorProto.INT64,
            ),
            "",
        ),
        (
            with_tail(helper.make_node("Cast", ["mean"], ["tail"], to=TensorProto.STRING), kind=TensorProto.STRING),
            r"answers with tensor\(string\) instead of numbers",
        ),
        (
            with_tail(helper.make_node("Tile", ["images", "times"], ["tail"]), times=[1, 1, 30, 30]),
            "answers one picture with more than 268,435,456 bytes",
        ),
        (
            with_tail(
                helper.make_node("Shape", ["images"], ["s"]),
                helper.make_node("Mul", ["s", "s"], ["t"]),
                helper.make_node("Mul", ["t", "t"], ["u"]),
                helper.make_node("ConstantOfShape", ["u"], ["tail"]),
            ),
            r"fails on a grey picture of 1x3x256x320: ConstantOfShape: (Integer overflow|Failed to allocate memory)",
        ),
    ],
    ids=["a giant input", "undefined", "sequences within", "texts", "a giant answer", "giants within"],
)
def test_what_does_not_answer_sanely_is_refused(
    made: onnx.ModelProto, reason: str, tmp_path: Path, cache: Path
) -> None:
    path = saved(tmp_path, made)
    if not reason:
        assert vet(path, cache)
        return
    with pytest.raises(ModelError, match=rf"^net\.onnx: .*{reason}"):
        vet(path, cache)


@POSIX
def test_a_crash_of_the_runtime_is_one_line(tmp_path: Path, cache: Path) -> None:
    """The least integer, divided by minus one, ends a process on x86-64; elsewhere it is a number like any other."""
    least = np.array([np.iinfo(np.int64).min])
    made = with_tail(
        helper.make_node("Shape", ["images"], ["s"]),
        helper.make_node("Min", ["s", "least"], ["a"]),
        helper.make_node("Div", ["a", "minus"], ["tail"]),
        kind=TensorProto.INT64,
        least=least,
        minus=[-1],
    )
    try:
        vet(saved(tmp_path, made), cache)
    except ModelError as error:
        assert str(error) == "net.onnx: the process that reads it ended with signal 8: it is damaged or hostile"


@POSIX
def test_a_network_that_never_ends_is_ended(tmp_path: Path) -> None:
    path = saved(tmp_path, endless())
    job = Job(source=str(path), sha256=hash_file(path))
    with pytest.raises(ModelError, match=r"^net\.onnx: not read within 1 s of processor time$"):
        run("watchline.detectors.onnx_trial", dict(job), Bounds(2 << 30, cpu_s=1), path)


def test_a_file_that_changes_under_our_eyes_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    job = Job(source=str(path), sha256="0" * 64)
    with pytest.raises(ModelError, match=r"^net\.onnx: changed while it was read; try again$"):
        run("watchline.detectors.onnx_trial", dict(job), Bounds(2 << 30, cpu_s=60), path)


# --- what a user sees ---


def test_a_hostile_model_is_described_with_the_reason_and_never_run(tmp_path: Path) -> None:
    made = model()
    add_external(made)
    path = saved(tmp_path, made)
    info = watchline("models", "info", path, "--cache", tmp_path / "cache")
    assert info.returncode == 0, info.stderr
    assert "keeps its numbers in another file ('../weights.bin')" in info.stdout
    assert "supported     no" in info.stdout
    run_ = watchline("run", path, "--model", path, "--out", tmp_path / "out", XDG_CACHE_HOME=str(tmp_path / "xdg"))
    assert run_.returncode != 0
    assert "Traceback" not in run_.stderr


@pytest.mark.data
def test_every_real_model_passes(data_dir: Path, cache: Path) -> None:
    for path in sorted((data_dir / "models").glob("*.onnx")):
        assert vet(path, cache) == hash_file(path)
