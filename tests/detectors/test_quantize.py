"""Quantization: what stays float, how ranges are found, and that the small network still sees what it saw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.detectors.small_network import CARD, write_small_network
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import OnnxEngine
from watchline.detectors.opening import open_engine
from watchline.detectors.quantize import KEPT_STEPS, RUNTIMES, Calibration, Recipe, Runtime
from watchline.detectors.quantize_clusters import clusters, shared_out
from watchline.detectors.quantize_graph import last_convolutions, name_nodes, tail
from watchline.detectors.quantize_ranges import BINS, METHODS, Method, ema, entropy, minmax, percentile
from watchline.streams.errors import ModelError, UsageError


def _pictures() -> Iterator[F32]:
    for brightness in np.linspace(0, 1, 9, dtype=np.float32):
        picture = np.full((1, 3, 32, 32), 1 - brightness, np.float32)
        picture[..., :16, :16] = brightness
        yield picture


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_small_network(tmp_path / "small.onnx")


def _quantized(small: Path, recipe: Recipe) -> Path:
    made = small.with_name("int8.onnx")
    made.write_bytes(Calibration(small, _pictures).quantized(recipe, CARD))
    return made


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_made_for_one_runtime_runs_on_the_other(small: Path, runtime: Runtime, device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    before, after = OnnxEngine(small, "cpu"), open_engine(_quantized(small, Recipe("minmax", 0, runtime)), device)
    for picture in _pictures():
        expected, got = before.run(picture)[0], after.run(picture)[0]
        assert np.abs(got[:, :4] - expected[:, :4]).max() < 1.0
        assert np.abs(got[:, 4:] - expected[:, 4:]).max() < 0.1


def test_for_openvino_nothing_stands_between_a_convolution_and_its_activation(small: Path) -> None:
    graph = onnx.load(_quantized(small, Recipe("minmax", 0, "openvino"))).graph
    users = {name: node.op_type for node in graph.node for name in node.input}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert [users[node.output[0]] for node in convolutions] == ["Mul", "Reshape"]  # SiLU, and the decoding
    assert {makers[name] for node in convolutions for name in node.input[:2]} == {"DequantizeLinear"}


def test_pictures_of_one_kind_are_one_cluster_however_few_they_are(small: Path) -> None:
    bright = [np.full((1, 3, 32, 32), 0.9 + 0.001 * i, np.float32) for i in range(17)]
    dark = [np.full((1, 3, 32, 32), 0.1 + 0.001 * i, np.float32) for i in range(3)]
    looks = Calibration(small, lambda: bright + dark).looks()
    assert len(looks) == 20
    labels = clusters(looks, 2)
    assert len({*labels[:17].tolist()}) == len({*labels[17:].tolist()}) == 1
    assert labels[0] != labels[-1]
    assert shared_out(labels, 8) == [0, 3, 6, 10, 13, 17, 18, 19]
    assert (clusters(looks, 2) == labels).all()


def test_more_clusters_than_pictures_are_one_for_each_that_differs() -> None:
    labels = clusters(np.array([[1.0], [1.0], [5.0]]), 9)
    assert labels[0] == labels[1] != labels[2]
    assert shared_out(labels, 99) == [0, 1, 2]


@pytest.mark.parametrize("keep", range(KEPT_STEPS + 1))
@pytest.mark.parametrize("method", METHODS)
def test_an_int8_network_gives_the_boxes_and_scores_of_the_float_one(small: Path, method: Method, keep: int) -> None:
    before, after = OnnxEngine(small, "cpu"), OnnxEngine(_quantized(small, Recipe(method, keep)), "cpu")
    for picture in _pictures():
        expected, got = before.run(picture)[0], after.run(picture)[0]
        assert np.abs(got[:, :4] - expected[:, :4]).max() < 1.0  # pixels of 32
        assert np.abs(got[:, 4:] - expected[:, 4:]).max() < 0.1


def test_everything_after_the_last_convolution_stays_float(small: Path) -> None:
    model = onnx.load(_quantized(small, Recipe("minmax")))
    floats = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    decoded = next(node for node in model.graph.node if node.output[0] == "output0")
    makers = {output: node for node in model.graph.node for output in node.output}
    assert [makers[name].op_type for name in decoded.input] == ["Mul", "Sigmoid"]
    assert floats  # scales


def test_the_weights_of_an_int8_network_are_int8_with_a_scale_a_channel(small: Path) -> None:
    model = onnx.load(_quantized(small, Recipe("minmax")))
    shapes = {tuple(t.dims) for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8}
    assert shapes == {(4, 3, 8, 8), (6, 4, 1, 1)}  # zero points are zero, and left out
    scales = {tuple(t.dims) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    assert {(4,), (6,)} <= scales


def test_the_card_survives_and_says_that_the_network_is_int8(small: Path) -> None:
    made = _quantized(small, Recipe("percentile"))
    metadata = {entry.key: entry.value for entry in onnx.load(made).metadata_props}
    assert ModelCard.from_metadata(metadata) == CARD
    assert metadata["watchline.quantized"] == "int8: percentile"
    assert OnnxEngine(made, "cpu").card.labels == CARD.labels


def test_the_same_pictures_give_the_same_bytes(small: Path) -> None:
    first, second = (Calibration(small, _pictures).quantized(Recipe("entropy"), CARD) for _ in range(2))
    assert first == second


def test_nodes_without_names_and_an_old_opset_are_no_hindrance(tmp_path: Path) -> None:
    small = write_small_network(tmp_path / "small.onnx", named=False, opset=13)
    assert OnnxEngine(_quantized(small, Recipe()), "cpu").card.family == "yolov8"


def test_constants_that_are_listed_as_inputs_are_folded_all_the_same(tmp_path: Path) -> None:
    small = write_small_network(tmp_path / "small.onnx", listed=True)
    graph = onnx.load(_quantized(small, Recipe("minmax"))).graph
    assert [value.name for value in graph.input] == ["images"]
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    before, after = OnnxEngine(small, "cpu"), OnnxEngine(small.with_name("int8.onnx"), "cpu")
    for picture in _pictures():
        assert np.abs(after.run(picture)[0][:, 4:] - before.run(picture)[0][:, 4:]).max() < 0.1


def test_a_model_that_is_quantized_already_is_refused(small: Path) -> None:
    made = _quantized(small, Recipe("minmax"))
    with pytest.raises(UsageError, match=r"int8.onnx: is quantized already \(int8: minmax\); give the float model"):
        Calibration(made, _pictures)


def test_what_the_quantizer_refuses_is_an_error_of_the_model(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise ValueError("Quantization parameters are not specified for param gate.\nMore on the next line.")

    monkeypatch.setattr("onnxruntime.quantization.QDQQuantizer.quantize_model", refuse)
    with pytest.raises(ModelError, match=r"small.onnx: cannot be quantized: Quantization parameters are not specified"):
        _quantized(small, Recipe())


def test_the_walk_from_the_outputs_stops_at_the_last_convolutions(small: Path) -> None:
    graph = onnx.load(small).graph
    names = {"Reshape.rows", "Split.places", "Mul.boxes", "Sigmoid.scores", "Concat.output0"}
    assert tail(graph) == names
    assert last_convolutions(graph) == {"Conv.numbers"}


def test_a_convolution_over_a_softmax_is_no_last_one() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["sides"], "body"),
        onnx.helper.make_node("Reshape", ["sides", "s"], ["bars"], "bars"),
        onnx.helper.make_node("Softmax", ["bars"], ["chances"], "softmax"),
        onnx.helper.make_node("Transpose", ["chances"], ["turned"], "turn"),
        onnx.helper.make_node("Conv", ["turned", "v"], ["y"], "expectation"),
    ]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)]
    graph = onnx.helper.make_graph(nodes, "dfl", [], outputs)
    assert tail(graph) == {"expectation", "turn", "softmax", "bars"}
    assert last_convolutions(graph) == {"body"}


def test_what_only_asks_for_a_shape_drags_nothing_into_the_tail() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        onnx.helper.make_node("Relu", ["a"], ["b"], "relu"),
        onnx.helper.make_node("Shape", ["b"], ["size"], "shape"),
        onnx.helper.make_node("Conv", ["b", "w"], ["c"], "last"),
        onnx.helper.make_node("Reshape", ["c", "size"], ["y"], "reshape"),
    ]
    outputs = [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)]
    assert tail(onnx.helper.make_graph(nodes, "grid", [], outputs)) == {"reshape", "shape"}


def test_every_node_gets_a_name_of_its_own() -> None:
    nodes = [onnx.helper.make_node("Relu", ["a"], ["b"], name) for name in ("", "twice", "twice", "Relu_0")]
    graph = onnx.helper.make_graph(nodes, "names", [], [])
    name_nodes(graph)
    assert len({node.name for node in graph.node} - {""}) == 4


def test_a_network_without_convolutions_is_refused(tiny: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny.onnx: has no convolutions to quantize"):
        Calibration(tiny, _pictures)


def test_no_picture_to_calibrate_with_is_an_error(small: Path) -> None:
    with pytest.raises(ModelError, match="no picture to calibrate with"):
        Calibration(small, list).quantized(Recipe(), CARD)


def test_numbers_that_are_none_are_refused(small: Path) -> None:
    with pytest.raises(ModelError, match="holds what is no number"):
        Calibration(small, lambda: [np.full((1, 3, 32, 32), np.nan, np.float32)]).quantized(Recipe(), CARD)


def test_an_unknown_method_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="method best: want one of minmax, ema, percentile, entropy"):
        Recipe("best")  # type: ignore[arg-type]


def test_minmax_covers_all_and_ema_leaves_an_outlier_out() -> None:
    usual = np.array([[-1.0, 2.0], [-1.1, 2.1]] * 20)
    seen = np.concatenate([usual[:30], [[-1.0, 500.0]], usual[30:]])
    assert minmax(seen) == (-1.1, 500.0)
    low, high = ema(seen)
    assert -1.1 <= low <= -1.0
    assert 2.0 <= high < 8.0


def test_percentile_leaves_the_rarest_values_out() -> None:
    histogram = np.zeros(BINS, np.int64)
    histogram[: BINS // 2] = 10_000
    histogram[-1] = 3
    low, high = percentile(histogram, (0.0, 100.0))
    assert low == 0.0
    assert 49.0 <= high <= 51.0


def test_entropy_keeps_a_flat_distribution_whole_and_cuts_a_long_thin_tail() -> None:
    flat = np.full(BINS, 100, np.int64)
    assert entropy(flat, (0.0, 1.0)) == pytest.approx((0.0, 1.0), abs=0.02)
    peaked = np.maximum(1e6 * np.exp(-np.arange(BINS) / 40), 0).astype(np.int64)
    peaked[-1] = 1
    low, high = entropy(peaked, (0.0, 1.0))
    assert low == pytest.approx(0.0, abs=0.01)
    assert high < 0.7


@pytest.mark.parametrize("find", [percentile, entropy])
def test_a_tensor_that_is_always_zero_has_a_range(find: object) -> None:
    assert find(np.zeros(BINS, np.int64), (0.0, 0.0)) == (0.0, 0.0)  # type: ignore[operator]
