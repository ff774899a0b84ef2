"""What an ONNX file says of itself is read as the package `onnx` reads it, and damage is one line."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.detectors.small_network import CARD, write_small_network
from tests.detectors.test_engine import write_model
from watchline.detectors.onnx_header import FLOAT, read_header
from watchline.streams.errors import ModelError


def test_it_says_what_the_file_says(tmp_path: Path) -> None:
    header = read_header(write_small_network(tmp_path / "m.onnx"))
    assert [(v.name, v.element, v.shape) for v in header.inputs] == [("images", FLOAT, (-1, 3, -1, -1))]
    assert [(v.name, v.shape) for v in header.outputs] == [("output0", (-1, 6, -1))]
    assert header.metadata == CARD.to_metadata()


def test_an_input_that_is_a_constant_is_none(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", [1, 3, 8, 16])
    model = onnx.load(path)
    model.graph.initializer.append(helper.make_tensor("weight", TensorProto.FLOAT, [1], [1.0]))
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    assert [value.shape for value in read_header(path).inputs] == [(1, 3, 8, 16)]


def test_real_networks_are_read_as_onnx_reads_them(data_dir: Path) -> None:
    paths = sorted((data_dir / "models").rglob("*.onnx"))
    if not paths:
        pytest.skip("no ONNX files in the test data")
    for path in paths:
        header, model = read_header(path), onnx.load_model(path, load_external_data=False)
        constants = {tensor.name for tensor in model.graph.initializer}
        for ours, theirs in ((header.inputs, model.graph.input), (header.outputs, model.graph.output)):
            expected = [
                (
                    value.name,
                    value.type.tensor_type.elem_type,
                    tuple(d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim),
                )
                for value in theirs
                if value.name not in constants or theirs is model.graph.output
            ]
            assert [(value.name, value.element, value.shape) for value in ours] == expected, path
        assert header.metadata == {entry.key: entry.value for entry in model.metadata_props}


def test_a_damaged_file_is_one_line_or_read(tmp_path: Path) -> None:
    whole = write_small_network(tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    refused = 0
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end] + bytes([end % 256]) + whole[end + 1 :] if end % 2 else whole[:end])
        try:
            read_header(path)
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > len(whole) / 20


@pytest.mark.parametrize("content", [b"", b"not an onnx file", b"\xff" * 40, b"\x3a\xff\xff\xff\xff\x7f"])
def test_what_is_no_onnx_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx: not an ONNX model, or damaged"):
        read_header(path)
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be read"):
        read_header(tmp_path / "none.onnx")


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 1 << 28
    size = bytes([len(content) >> shift & 0x7F | 0x80 for shift in (0, 7, 14)]) + bytes([len(content) >> 21])
    return bytes([number << 3 | 2]) + size + content


def _of_sides(count: int) -> bytes:
    return _field(2, _field(1, _field(2, _field(1, b"") * count)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_field(7, _field(11, b"") * 5000), "more than 4,096 inputs and outputs"),
        (_field(7, _field(12, b"") * 5000), "more than 4,096 inputs and outputs"),
        (_field(7, b"".join(_field(5, _field(8, b"%d" % n)) for n in range(70_000))), "more than 65,536 constants"),
        (_field(7, _field(11, _of_sides(100))), "more than 64 sides"),
        (b"".join(_field(14, _field(1, b"%d" % n)) for n in range(5000)), "more than 4,096 entries of metadata"),
    ],
    ids=["inputs", "outputs", "constants", "sides", "metadata"],
)
def test_a_file_that_says_too_much_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=says):
        read_header(path)
