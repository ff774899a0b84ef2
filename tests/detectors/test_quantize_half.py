"""Weights of 16 bits: half the file, the same answers, and no casts left once a runtime has loaded them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from tests.detectors.small_network import CARD, write_small_network
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.opening import open_engine
from watchline.detectors.quantize_half import HALVES, Half, halved
from watchline.streams.errors import ModelError

PICTURE: F32 = np.random.default_rng(3).uniform(0, 1, (1, 3, 64, 96)).astype(np.float32)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_small_network(tmp_path / "small.onnx")


def _halved(small: Path, to: Half) -> Path:
    made = small.with_name(f"{to}.onnx")
    made.write_bytes(halved(small, to, CARD))
    return made


@pytest.mark.parametrize("device", ["cpu", "openvino-f32"])
@pytest.mark.parametrize(("to", "most"), [("fp16", 1e-3), ("bf16", 1e-2)])
def test_the_answers_stay_what_they_were(small: Path, to: Half, most: float, device: str) -> None:
    if device != "cpu":
        pytest.importorskip("openvino")
    before, after = open_engine(small, "cpu").run(PICTURE)[0], open_engine(_halved(small, to), device).run(PICTURE)[0]
    assert np.abs(after[:, :4] - before[:, :4]).max() < 32 * most  # pixels
    assert np.abs(after[:, 4:] - before[:, 4:]).max() < most


@pytest.mark.parametrize("to", HALVES)
def test_weights_take_half_the_room_and_what_works_boxes_out_stays_whole(small: Path, to: Half) -> None:
    model = onnx.load(_halved(small, to))
    kind = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[to]
    halves = {tuple(t.dims): len(t.raw_data) for t in model.graph.initializer if t.data_type == kind}
    assert halves == {(4, 3, 8, 8): 2 * 768, (6, 4, 1, 1): 2 * 24}
    assert [t.data_type for t in model.graph.initializer if not t.dims] == [TensorProto.FLOAT]  # pixels a box
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert ModelCard.from_metadata(metadata) == CARD
    assert metadata["watchline.quantized"] == f"{to}: weights"


@pytest.mark.parametrize("to", HALVES)
def test_the_casts_are_worked_out_when_the_network_is_loaded(small: Path, to: Half, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(_halved(small, to)), options, providers=["CPUExecutionProvider"])
    loaded = onnx.load(tmp_path / "loaded.onnx").graph
    assert "Cast" not in {node.op_type for node in loaded.node}
    assert {t.data_type for t in loaded.initializer} <= {TensorProto.FLOAT, TensorProto.INT64}


def test_each_weight_becomes_the_nearest_bfloat16(small: Path) -> None:
    model = onnx.load(_halved(small, "bf16"))
    weights = {tuple(t.dims): t for t in model.graph.initializer if t.data_type == TensorProto.BFLOAT16}
    bits = np.frombuffer(weights[4, 3, 8, 8].raw_data, "<u2").astype(np.uint32) << 16
    exact = np.float32(1 / 192)
    nearest = bits.view(np.float32)
    assert np.abs(np.abs(nearest) - exact).max() <= exact * 2.0**-9


def test_a_weight_too_large_for_fp16_is_refused_with_what_would_do(tmp_path: Path) -> None:
    large = write_small_network(tmp_path / "large.onnx", outlier=1e9)
    with pytest.raises(ModelError, match=r"large.onnx: a weight of 5.21e\+06 is too large for fp16; use --to bf16"):
        halved(large, "fp16", CARD)
    assert halved(large, "bf16", CARD)


@pytest.mark.parametrize("to", HALVES)
def test_constants_that_are_listed_as_inputs_are_halved_too(tmp_path: Path, to: Half) -> None:
    small = write_small_network(tmp_path / "small.onnx", listed=True)
    before, after = open_engine(small, "cpu").run(PICTURE)[0], open_engine(_halved(small, to), "cpu").run(PICTURE)[0]
    assert np.abs(after[:, 4:] - before[:, 4:]).max() < 1e-2


def test_weights_that_work_boxes_out_stay_float32(small: Path) -> None:
    """An expectation over what a softmax gives, as YOLOv8 works distances out."""
    model = onnx.load(small)
    graph = model.graph
    graph.node[-1].output[0] = "made"
    graph.node.append(onnx.helper.make_node("Softmax", ["made"], ["chances"], axis=1))
    graph.node.append(onnx.helper.make_node("Unsqueeze", ["chances", "last"], ["picture"]))
    graph.node.append(onnx.helper.make_node("MatMul", ["picture", "distances"], ["output0"]))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([3], np.int64), "last"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 7), np.float32), "distances"))
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info("output0", TensorProto.FLOAT, None))
    onnx.save(model, small)
    kinds = {tuple(t.dims): t.data_type for t in onnx.load(_halved(small, "fp16")).graph.initializer}
    assert kinds[1, 7] == TensorProto.FLOAT
    assert kinds[4, 3, 8, 8] == TensorProto.FLOAT16


def test_a_network_without_weights_is_refused(tiny: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny.onnx: has no weights to store in 16 bits"):
        halved(tiny, "fp16", CARD)
