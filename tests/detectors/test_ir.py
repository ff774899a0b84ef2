"""OpenVINO networks are read as data, and become float ONNX; what is not known is refused by name."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tests.detectors import checkpoints
from tests.detectors.ir_files import F1, WINDOW, Net, X, answers, floats, ints, tiny, translated
from watchline.detectors.card import ModelCard
from watchline.detectors.importer.archive import Limits
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.convert import describe, import_checkpoint
from watchline.detectors.importer.ir import Ir
from watchline.detectors.importer.ir_network import translate
from watchline.detectors.importer.network import build
from watchline.detectors.runtime import new_openvino_core
from watchline.streams.errors import ModelError

NETWORKS = Path(__file__).parents[1] / "parity" / "networks"
SIZE = (64, 128)
YAML = "task: detect\nstride: 8\nlicense: AGPL-3.0\nnames: {0: person, 1: dog, 2: car}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.xml"


def refusal(path: Path) -> str:
    """Why the network at `path` is refused; found in this process, which takes no time."""
    with pytest.raises(ModelError, match=r"^tiny\.xml: ") as caught:
        translate(Ir(path))
    return str(caught.value).removeprefix("tiny.xml: ")


def pictures(size: tuple[int, int] = SIZE) -> NDArray[np.float32]:
    return np.random.default_rng(6).random((1, 3, *size), np.float32)


# --- against OpenVINO itself ---


@cache
def onnx_of(name: str) -> bytes:
    """A network that its authors' code made, imported for one picture at a time."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.pt"
        if name == "small":
            path.write_bytes(checkpoints.checkpoint({"model": checkpoints.small_network()}))
        else:
            path.write_bytes(lzma.decompress((NETWORKS / f"{name}.pt.xz").read_bytes()))
        with Checkpoint(path) as checkpoint:
            network = build(checkpoint, SIZE)
    model = onnx.load_model_from_string(network.onnx(network.card))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    data: bytes = model.SerializeToString()
    return data


def converted(openvino: ModuleType, name: str, path: Path, *, half: bool) -> Any:
    """Has OpenVINO turn a network into its own form, saved at `path`."""
    source = path.with_suffix(".onnx")
    source.write_bytes(onnx_of(name))
    model = openvino.convert_model(source)
    openvino.save_model(model, path, compress_to_fp16=half)
    return model


def openvino_answers(openvino: ModuleType, path: Path, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    return [np.array(a) for a in new_openvino_core().compile_model(path, "CPU", settings)(picture).values()]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("name", ["small", "yolov8n", "yolov8n-pose", "yolov8n-seg", "yolov7-tiny"])
def test_a_network_answers_what_openvino_answers(openvino: ModuleType, name: str, half: bool, path: Path) -> None:
    converted(openvino, name, path, half=half)
    expected = openvino_answers(openvino, path, pictures())
    found = answers(translated(path), pictures())
    assert [a.shape for a in found] == [a.shape for a in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() < 1e-3


def quantised(openvino: ModuleType, model: Any, fine: bool) -> None:
    """Quantises weights and maps as OpenVINO's tools do: weights to int8 by channel, maps to 256 levels.

    With `fine` the levels of the maps are so many that nothing is lost.
    """
    op = openvino.opset13
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convolution":
            continue
        weight = node.input_value(1).get_node().data
        scale = (np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127).astype(np.float32)
        packed = op.constant(np.rint(weight / np.maximum(scale, 1e-9)).astype(np.int8))
        zero = op.constant(np.zeros_like(scale, np.int8))
        unpacked = op.subtract(op.convert(packed, "f32"), op.convert(zero, "f32"))
        node.input(1).replace_source_output(op.multiply(unpacked, op.constant(scale)).output(0))
        low, high = (op.constant(np.float32(n)) for n in (-64, 64))
        levels = 65536 if fine else 256
        node.input(0).replace_source_output(
            op.fake_quantize(node.input_value(0), low, high, low, high, levels).output(0)
        )
    model.validate_nodes_and_infer_types()


@pytest.mark.parametrize("name", ["small", "yolov8n", "yolov8n-pose"])
def test_an_int8_network_answers_as_its_float_twin_with_those_weights(
    openvino: ModuleType, name: str, path: Path
) -> None:
    model = converted(openvino, name, path, half=False)
    plain = answers(translated(path), pictures())[0]
    quantised(openvino, model, fine=True)
    openvino.save_model(model, path, compress_to_fp16=False)
    for sign in ('element_type="i8"', "FakeQuantize"):
        assert sign in path.read_text()
    expected = openvino_answers(openvino, path, pictures())[0]
    found = answers(translated(path), pictures())[0]
    # 65536 levels from -64 to 64 are a step of 0.002 a map; the weights' own rounding is in both.
    assert np.abs(found[:, 4] - expected[:, 4]).max() < 0.002
    assert np.abs(found[:, 4] - plain[:, 4]).max() > 1e-4


# --- what is made of it ---


def detector(openvino: ModuleType, path: Path) -> Path:
    converted(openvino, "small", path, half=True)
    return path


def test_metadata_beside_it_says_what_it_is(openvino: ModuleType, path: Path, tmp_path: Path) -> None:
    detector(openvino, path)
    path.with_name("metadata.yaml").write_text(YAML)
    found = describe(path)
    assert (found.format, found.family, found.task, found.supported) == ("openvino ir", "yolov8", "detect", True)
    assert (found.labels, found.input) == (("person", "dog", "car"), ("1", "3", "64", "128"))
    assert found.size_bytes == sum(file.stat().st_size for file in tmp_path.iterdir() if file.suffix != ".onnx")
    model = onnx.load(import_checkpoint(path, tmp_path / "cache"))
    card = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    assert (card.family, card.task, card.labels) == ("yolov8", "detect", ("person", "dog", "car"))
    assert (card.source_name, card.licence, card.outputs) == ("tiny.xml", "AGPL-3.0-only", ("output0",))


def test_its_own_notes_name_the_classes(openvino: ModuleType, path: Path, tmp_path: Path) -> None:
    model = converted(openvino, "small", path, half=False)
    model.set_rt_info(["person", "guide_dog", "car"], ["model_info", "labels"])
    openvino.save_model(model, path)
    made = onnx.load(import_checkpoint(path, tmp_path / "cache"))
    said = {entry.key: entry.value for entry in made.metadata_props}
    assert said == {"names": "{0: 'person', 1: 'guide dog', 2: 'car'}"}
    assert not ModelCard.is_in(said)  # what it is for is decided when it is run


def test_what_lies_beside_it_is_part_of_it(openvino: ModuleType, path: Path, tmp_path: Path) -> None:
    detector(openvino, path)
    first = import_checkpoint(path, tmp_path / "cache")
    path.with_name("metadata.yaml").write_text(YAML)
    assert import_checkpoint(path, tmp_path / "cache") != first


def test_a_network_keeps_its_size(path: Path, tmp_path: Path) -> None:
    tiny().save(path)
    assert import_checkpoint(path, tmp_path, (4, 6)).is_file()
    with pytest.raises(ModelError, match=r"keeps its size, which is 4x6; leave --imgsz out"):
        import_checkpoint(path, tmp_path, (8, 6))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "dimensions", "parameters"),
    [
        ("person-reid-0288-fp16", ("1", "3", "256", "128"), 182_637),
        ("age-gender-0013-int8", ("1", "3", "62", "62"), 2_140_202),
        ("person-attributes-0230-fp16", ("1", "3", "160", "80"), 734_811),
    ],
)
def test_networks_that_are_no_detectors_are_described(
    data_dir: Path, name: str, dimensions: tuple[str, ...], parameters: int
) -> None:
    found = describe(data_dir / "models" / f"{name}.xml")
    assert (found.format, found.input, found.parameters) == ("openvino ir", dimensions, parameters)
    assert not found.supported
    assert "are not those of a known detector" in found.reason or "it compares pictures" in found.reason


@pytest.mark.data
def test_an_operation_of_no_detector_is_refused_by_name(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"^person-reid-0288-fp16\.xml: operation MVN \(opset6\) at .* is not supported"
    ):
        import_checkpoint(data_dir / "models" / "person-reid-0288-fp16.xml", tmp_path)


@pytest.mark.data
def test_an_int8_network_of_another_tool_answers_close_to_itself(openvino: ModuleType, data_dir: Path) -> None:
    path = data_dir / "models" / "age-gender-0013-int8.xml"
    picture = (pictures((62, 62)) * 255).astype(np.float32)
    found = dict(zip(Ir(path).outputs(), answers(translated(path), picture), strict=True))
    theirs = new_openvino_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(picture)
    assert np.abs(found["prob"] - theirs["prob"]).max() < 0.05
    assert np.abs(found["age_conv3"] - theirs["age_conv3"]).max() < 0.03  # three years


# --- what is refused ---


def test_the_order_of_layers_in_the_file_does_not_matter(path: Path) -> None:
    net = tiny()
    net.layers.reverse()
    found = answers(translated(net.save(path)), X)[0]
    np.testing.assert_allclose(found, 2 * X.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-5)
    assert list(Ir(path).outputs()) == ["sum"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an OpenVINO network: line 1: no element found"),
        ("<html><body/></html>", "not an OpenVINO network: its XML is a <html>"),
        ("<net><layers>", "not an OpenVINO network: line 1: no element found"),
        ('<!DOCTYPE net [<!ENTITY a "b">]><net/>', "it declares a document type"),
        ('<!DOCTYPE net SYSTEM "file:///etc/passwd"><net/>', "it declares a document type"),
        ("<a>" * 100, "nested deeper than 64"),
        (tiny().text().replace('version="11"', 'version="9"'), "an OpenVINO network of version '9'"),
        (tiny().text().replace('layer id="1"', 'layer id="0"'), "two of its layers have one id"),
        (tiny().text().replace('layer id="1"', 'layer id="x1"'), "an edge leads from '1' to '2', which are not there"),
        (tiny().text().replace('from-layer="0"', 'from-layer="7"'), "an edge leads from '7' to '2'"),
        (
            tiny().text().replace('from-layer="0" from-port="0"', 'from-layer="2" from-port="2"'),
            "reads from itself in a circle",
        ),
        (tiny().text().replace("<dim>4</dim>", "<dim>99999999999</dim>"), "has an output of shape"),
        (tiny().text().replace("<dim>4</dim>", "<dim>four</dim>"), "has an output of shape"),
        (tiny().text().replace('offset="0"', 'offset="4"'), "lies beyond the end of tiny.bin; copy it again"),
        (tiny().text().replace('offset="0"', 'offset="-4"'), "does not fit its 12 bytes"),
        (tiny().text().replace('size="12"', 'size="8"'), "does not fit its 8 bytes"),
        (tiny().text().replace('element_type="f32" shape="1,3,1,1"', 'element_type="u4"'), "is of type 'u4'"),
        (tiny().text().replace('"Convolution"', '"Custom"'), r"operation Custom (opset1) at Convolution-2 is not supp"),
        (tiny().text().replace('strides="1,1"', 'strides="1,1" axis="2"'), "unknown attribute 'axis'"),
        (tiny().text().replace('strides="1,1"', 'strides="one"'), "its strides is not a list of whole numbers"),
        (tiny().text().replace("explicit", "magic"), "its auto_pad is 'magic'"),
        (tiny().text().replace("<dim>4</dim>", "<dim>-1</dim>"), "want (1, 3, H, W), all fixed"),
        (tiny().text().replace("<dim>3</dim><dim>4</dim>", "<dim>1</dim><dim>4</dim>"), "want (1, 3, H, W), all fixed"),
    ],
)
def test_a_broken_network_is_refused_with_the_reason(text: str, reason: str, path: Path) -> None:
    tiny().save(path)
    path.write_text(text)
    assert reason in refusal(path)


def _two_inputs(net: Net) -> None:
    net.result(net.image())


def _bytes(net: Net) -> None:
    net.layers[0] = net.layers[0].replace('element_type="f32"', 'element_type="u8"')


def _answer_of_constants(net: Net) -> None:
    net.result(net.const(F1))


def _no_answer(net: Net) -> None:
    net.add("Result")


def _two_outputs(net: Net) -> None:
    net.add("Const", (), [(1,), (1,)], {"element_type": "f32", "offset": 0, "size": 4})


def _scaling(net: Net) -> None:
    bounds = [net.const(floats(n)) for n in (-1, 1, -2, 2)]
    net.result(net.add("FakeQuantize", [2, *bounds], [(1, 1, 4, 6)], {"levels": 256}))


def _weights_computed(net: Net) -> None:
    net.result(net.add("Convolution", [0, 2], [(1, 1, 4, 6)], WINDOW))


def _endless(net: Net) -> None:
    wide = [net.const(np.ones(shape, np.float32)) for shape in ((1 << 15, 1), (1, 1 << 15))]
    net.result(net.add("Add", wide, [(1 << 15, 1 << 15)]))


def _half_a_cell(net: Net) -> None:
    data = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor"}
    net.result(net.add("Interpolate", [2, net.const(F1)], [(1, 1, 8, 12)], data, version="opset4"))


def _smooth(net: Net) -> None:
    net.result(net.add("Interpolate", [2, net.const(F1)], [(1, 1, 8, 12)], {"mode": "linear_onnx"}, version="opset4"))


def _too_long(net: Net) -> None:
    net.result((net.add("VariadicSplit", [2, net.const(ints(3)), net.const(ints(4, 4))], [(1, 1, 4, 4)] * 2), 0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_two_inputs, "not a picture network: want one f32 input (1, 3, H, W), it has Parameter-0 f32"),
        (_bytes, "not a picture network: want one f32 input (1, 3, H, W), it has Parameter-0 u8"),
        (_answer_of_constants, "its output output1 does not depend on its input"),
        (_no_answer, "layer Result-4 (Result) has 0 inputs and 0 outputs"),
        (_two_outputs, "layer Const-4 (Const) has 0 inputs and 2 outputs"),
        (_scaling, "it scales while it quantises"),
        (_weights_computed, "its input 1 is not a constant"),
        (_endless, "it is larger than any real one"),
        (_half_a_cell, "its nearest_mode is 'floor'"),
        (_smooth, "its mode is 'linear_onnx'"),
        (_too_long, "it cuts 6 into [4, 4]"),
    ],
)
def test_what_cannot_be_kept_is_refused(change: Callable[[Net], None], reason: str, path: Path) -> None:
    net = tiny()
    change(net)
    assert reason in refusal(net.save(path))


def test_more_than_a_limit_is_refused(path: Path) -> None:
    tiny().save(path)
    with pytest.raises(ModelError, match="it has 4 layers; at most 3 are read"):
        Ir(path, Limits(nodes=3))
    ir = Ir(path, Limits(tensor_bytes=8))
    with pytest.raises(ModelError, match="its constants take more than 8 bytes"):
        ir.constant(ir.of_type("Const")[0])


def test_missing_weights_are_named(path: Path) -> None:
    tiny().save(path).with_suffix(".bin").unlink()
    assert refusal(path) == "its weights tiny.bin are not beside it; copy both files"


LAUGHS = "a: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(99)) + "names: *a99\n"


@pytest.mark.parametrize(
    "text",
    [
        *("- a list", "task: [", "\x00", "task: {a: [b]}", "names: {0: [person]}", LAUGHS),
        "a: &a [*a]\nb: !!python/object/apply:os.system ['exit 1']",
    ],
)
def test_damaged_or_hostile_metadata_is_refused(text: str, path: Path) -> None:
    tiny().save(path).with_name("metadata.yaml").write_text(text)
    assert refusal(path).startswith("metadata.yaml: ")


@pytest.mark.parametrize("step", range(0, 1800, 60))
def test_changed_characters_convert_or_are_refused(step: int, path: Path) -> None:
    text = bytearray(tiny().save(path).read_bytes())
    for at in range(step, min(step + 60, len(text)), 7):
        changed = bytearray(text)
        changed[at] ^= 1 + at % 30
        path.write_bytes(changed)
        try:
            translate(Ir(path))
        except ModelError as error:
            assert "\n" not in str(error)
