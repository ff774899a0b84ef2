from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from watchline.detectors import engine
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.runtime import load_onnxruntime, onnxruntime_version, reason_of
from watchline.streams.errors import ModelError, UsageError

CARD = ModelCard("yolov8", "detect", ("person",), (8, 16, 32))
DYNAMIC: list[str | int] = ["batch", 3, "height", "width"]


def write_model(
    path: Path, shape: list[str | int], card: ModelCard | None = CARD, dtype: int = TensorProto.FLOAT
) -> Path:
    """A network that gives the mean of each channel of each item."""
    node = helper.make_node("ReduceMean", ["images"], ["output0"], axes=[2, 3], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info("output0", dtype, [shape[0], shape[1]])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if card:
        helper.set_model_props(model, card.to_metadata())
    onnx.save(model, path)
    return path


def test_it_runs_and_says_on_what(tmp_path: Path) -> None:
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", DYNAMIC), "cpu")
    batch = np.random.default_rng(0).random((3, 3, 8, 16), np.float32)
    assert np.allclose(engine.run(batch)[0], batch.mean(axis=(2, 3)), atol=1e-6)
    assert (engine.info.device, engine.info.provider) == ("cpu", "CPUExecutionProvider")
    assert engine.info.runtime.startswith("onnxruntime 1.")
    assert engine.card == replace(CARD, outputs=("output0",))
    assert engine.fixed_size is None


def test_several_threads_get_the_same_answers_as_one(tmp_path: Path) -> None:
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", DYNAMIC), "cpu")
    batches = [np.random.default_rng(i).random((1, 3, 64, 64), np.float32) for i in range(32)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.run, batches))
    assert all((ours[0] == engine.run(batch)[0]).all() for ours, batch in zip(together, batches, strict=True))


def test_a_network_made_for_one_picture_takes_a_batch_too(tmp_path: Path) -> None:
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", [1, 3, 8, 16]), "cpu")
    assert engine.fixed_size == (8, 16)
    assert engine.run(np.ones((3, 3, 8, 16), np.float32))[0].tolist() == [[1, 1, 1]] * 3


@pytest.mark.parametrize("count", [1, 3, 4, 6])
def test_a_network_made_for_four_pictures_takes_any_number(tmp_path: Path, count: int) -> None:
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", [4, 3, 8, 16]), "cpu")
    batch = np.random.default_rng(0).random((count, 3, 8, 16), np.float32)
    np.testing.assert_allclose(engine.run(batch)[0], batch.mean(axis=(2, 3)), atol=1e-6)


def test_outputs_without_a_batch_get_one(tmp_path: Path) -> None:
    card = replace(CARD, batched=False)
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", [1, 3, 8, 16], card), "cpu")
    assert engine.run(np.ones((1, 3, 8, 16), np.float32))[0].tolist() == [[[1, 1, 1]]]


def test_only_the_outputs_that_the_card_names_come_back_in_its_order(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    model = onnx.load(path)
    for name, factor in (("twice", 2.0), ("thrice", 3.0)):
        model.graph.initializer.append(helper.make_tensor(f"{name}_by", TensorProto.FLOAT, [], [factor]))
        model.graph.node.append(helper.make_node("Mul", ["output0", f"{name}_by"], [name]))
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]))
    helper.set_model_props(model, replace(CARD, outputs=("thrice", "output0")).to_metadata())
    onnx.save(model, path)
    outputs = OnnxEngine(path, "cpu").run(np.ones((2, 3, 8, 8), np.float32))
    assert [output.tolist() for output in outputs] == [[[3, 3, 3]] * 2, [[1, 1, 1]] * 2]


def test_a_network_that_leaves_its_shapes_open_is_run_once_to_see_them(tmp_path: Path) -> None:
    """Anchors as many as a YOLOv8's cells, which the file does not say."""
    constants = [
        helper.make_tensor("cells", TensorProto.INT64, [3], [1, 7, 256 * 320 // 64 + 256 * 320 // 256 + 80]),
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axes"], ["cell"]),
        helper.make_node("Expand", ["cell", "cells"], ["output0"]),
    ]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, DYNAMIC)]
    outputs = [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", "numbers", "cells_"])]
    graph = helper.make_graph(nodes, "open", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    card = OnnxEngine(tmp_path / "m.onnx", "cpu").card
    assert (card.family, card.labels) == ("yolov8", ("class0", "class1", "class2"))


def test_an_input_that_the_network_cannot_take_names_the_device_and_the_shape(tmp_path: Path) -> None:
    engine = OnnxEngine(write_model(tmp_path / "m.onnx", [1, 3, 8, 16]), "cpu")
    with pytest.raises(ModelError, match=r"CPUExecutionProvider failed on an input of 1x3x9x9"):
        engine.run(np.ones((1, 3, 9, 9), np.float32))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "cannot load"), (b"not an onnx file", "cannot load"), (b"\x08\x08" * 1000, "cannot load")],
)
def test_a_corrupt_file_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"broken\.onnx.*{says}"):
        OnnxEngine(path, "cpu")


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match="cannot load"):
        OnnxEngine(path, "cpu")


@pytest.mark.parametrize(
    ("shape", "card", "dtype", "says"),
    [
        (DYNAMIC, None, TensorProto.FLOAT, "it compares pictures, and finds nothing in them"),
        (["batch", 1, "height", "width"], CARD, TensorProto.FLOAT, "1 channels"),
        (["batch", 3, 8, "width"], CARD, TensorProto.FLOAT, "fixes one side only"),
        (["batch", 3, "height", "width"], CARD, TensorProto.DOUBLE, "not a picture network"),
    ],
)
def test_a_network_of_another_kind_is_refused_with_the_reason(
    tmp_path: Path, shape: list[str | int], card: ModelCard | None, dtype: int, says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        OnnxEngine(write_model(tmp_path / "m.onnx", shape, card, dtype), "cpu")


def test_a_device_that_is_not_there_is_refused_and_never_replaced(tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UsageError, match=r"device 'cuda'.*onnxruntime-gpu.*--device cpu"):
        OnnxEngine(write_model(tmp_path / "m.onnx", DYNAMIC), "cuda")


def test_auto_is_the_cpu_where_there_is_no_cuda(tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    assert OnnxEngine(write_model(tmp_path / "m.onnx", DYNAMIC), "auto").info.device == "cpu"


@pytest.mark.parametrize("how", ["raises", "takes another in silence"])
def test_a_cuda_that_does_not_start_is_told_whatever_onnx_runtime_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    start = engine.start_session

    def without_driver(path: Path, providers: Sequence[tuple[str, Mapping[str, str]]]) -> Any:
        if providers[0][0] == "CUDAExecutionProvider" and how == "raises":
            raise ModelError("CUDA failure 35: CUDA driver version is insufficient")
        return start(path, [("CPUExecutionProvider", {})])

    monkeypatch.setattr(engine, "has_provider", lambda _name: True)
    monkeypatch.setattr(engine, "why_not", lambda _name: "")
    monkeypatch.setattr(engine, "start_session", without_driver)
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    reason = "CUDA failure 35" if how == "raises" else "no GPU, no driver"
    with pytest.raises(UsageError, match=rf"device 'cuda': {reason}.*watchline doctor.*--device cpu"):
        OnnxEngine(path, "cuda")
    info = OnnxEngine(path, "auto").info
    assert info.provider == "CPUExecutionProvider"
    assert info.note.startswith(f"CUDAExecutionProvider did not start: {reason}")


def test_a_file_that_no_device_can_load_is_no_wrong_usage_of_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, providers: Sequence[tuple[str, Mapping[str, str]]]) -> Any:
        raise ModelError(f"{path}: cannot be loaded on {providers[0][0]}")

    monkeypatch.setattr(engine, "why_not", lambda _name: "")
    monkeypatch.setattr(engine, "start_session", refuse)
    with pytest.raises(ModelError, match=r"m\.onnx: cannot be loaded"):
        OnnxEngine(tmp_path / "m.onnx", "cuda")


def test_the_version_of_onnx_runtime_is_the_same_loaded_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_onnxruntime().__version__
    assert onnxruntime_version() == loaded
    monkeypatch.delitem(sys.modules, "onnxruntime")
    assert onnxruntime_version() == loaded
    assert "onnxruntime" not in sys.modules


def test_what_cuda_says_is_told_without_the_name_of_the_machine() -> None:
    said = "CUDA failure 35: too old ; GPU=-1 ; hostname=dock-server ; file=/onnxruntime_src/a.cc ; line=3 ; expr=f();"
    assert reason_of(RuntimeError(said)) == "CUDA failure 35: too old"


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"watchline.family": "nonsense"}, "metadata is damaged"),
        ({**CARD.to_metadata(), "watchline.strides": "[]"}, "metadata is damaged"),
        ({**CARD.to_metadata(), "watchline.colour": '"grey"'}, "metadata is damaged"),
        ({**CARD.to_metadata(), "watchline.keypoints": "7"}, "metadata is damaged"),
        ({}, "does not say what it is"),
    ],
)
def test_metadata_of_another_kind_is_refused(metadata: dict[str, str], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        ModelCard.from_metadata(metadata)


def test_a_card_of_an_older_version_is_read_with_what_it_leaves_out_as_by_default() -> None:
    old = ("family", "task", "labels", "strides", "colour", "scale", "pad", "source_sha256", "source_name", "licence")
    metadata = {key: value for key, value in CARD.to_metadata().items() if key.removeprefix("watchline.") in old}
    assert ModelCard.from_metadata(metadata) == CARD
