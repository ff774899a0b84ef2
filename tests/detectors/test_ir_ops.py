"""Every known operation of OpenVINO networks, against NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.detectors.ir_files import F1, WINDOW, Net, X, answers, floats, ints, translated


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiny.xml"


OPERATIONS: dict[str, tuple[str, tuple[Any, ...], Mapping[str, object], str, NDArray[Any]]] = {
    "Add": ("Add", (F1 * 2,), {"auto_broadcast": "numpy"}, "opset1", X + 2),
    "Subtract": ("Subtract", (F1 * 2,), {}, "opset1", X - 2),
    "Multiply by float16": ("Multiply", (np.full(1, 2, np.float16),), {}, "opset1", X * 2),
    "Divide": ("Divide", (F1 * 2,), {"m_pythondiv": "true"}, "opset1", X / 2),
    "Exp": ("Exp", (), {}, "opset1", np.exp(X)),
    "ReLU": ("ReLU", (), {}, "opset1", np.maximum(X, 0)),
    "PReLU by channel": (
        "PReLU", (floats(0.1, 0.2, 0.3),), {}, "opset1",
        np.where(X > 0, X, X * floats(0.1, 0.2, 0.3).reshape(3, 1, 1)),
    ),
    "Sigmoid": ("Sigmoid", (), {}, "opset1", 1 / (1 + np.exp(-X))),
    "Swish": ("Swish", (), {}, "opset4", X / (1 + np.exp(-X))),
    "SoftMax": ("SoftMax", (), {"axis": 1}, "opset8", np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)),
    "Reshape that keeps": ("Reshape", (ints(0, -1, 6),), {"special_zero": "true"}, "opset1", X.reshape(1, 12, 6)),
    "Transpose": ("Transpose", (ints(0, 2, 3, 1),), {}, "opset1", X.transpose(0, 2, 3, 1)),
    "Squeeze": ("Squeeze", (ints(0),), {}, "opset1", X[0]),
    "Unsqueeze": ("Unsqueeze", (ints(1),), {}, "opset1", X[:, None]),
    "Gather": ("Gather", (ints(2, 0), ints(1)), {"batch_dims": 0}, "opset8", X[:, [2, 0]]),
    "Slice": ("Slice", (ints(1), ints(4), ints(2), ints(3)), {}, "opset8", X[..., 1:4:2]),
    "StridedSlice": (
        "StridedSlice", (ints(0, 1, 2), ints(0, 2, 3), ints(1, 1, 1)),
        {"begin_mask": "1,0,0", "end_mask": "1,0,0"}, "opset1", X[:, 1:2, 2:3],
    ),
    "MatMul turned": (
        "MatMul", (np.eye(4, 6, dtype=np.float32),), {"transpose_b": "true"}, "opset1", X[..., :4],
    ),
    "MaxPool": (
        "MaxPool", (), {**WINDOW, "kernel": "2,2", "strides": "2,2", "rounding_type": "floor"}, "opset8",
        X.reshape(1, 3, 2, 2, 3, 2).max(axis=(3, 5)),
    ),
    "Interpolate": (
        "Interpolate", (floats(2, 3), ints(2, 3)),
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, "opset4",
        X.repeat(2, 2).repeat(3, 3),
    ),
    "GroupConvolution": (
        "GroupConvolution", (floats(1, 2, 3).reshape(3, 1, 1, 1, 1),), WINDOW, "opset1",
        X * floats(1, 2, 3).reshape(3, 1, 1),
    ),
    "ConvolutionBackpropData": (
        "ConvolutionBackpropData", (np.ones((3, 1, 2, 2), np.float32),), {**WINDOW, "strides": "2,2"}, "opset1",
        X.sum(axis=1, keepdims=True).repeat(2, 2).repeat(2, 3),
    ),
    "FakeQuantize of a map": (
        "FakeQuantize", (floats(-9), floats(9), floats(-9), floats(9)), {"levels": 256}, "opset1", X,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_what_it_is_in_numpy(name: str, path: Path) -> None:
    kind, constants, data, version, expected = OPERATIONS[name]
    net = Net()
    inputs = [net.image(), *(net.const(np.asarray(array)) for array in constants)]
    net.result(net.add(kind, inputs, [expected.shape], data, version=version))
    np.testing.assert_allclose(answers(translated(net.save(path)), X)[0], expected, rtol=1e-5, atol=1e-6)


def test_a_split_cuts_into_parts_equal_or_not(path: Path) -> None:
    net = Net()
    image = net.image()
    even = net.add("Split", [image, net.const(ints(3).reshape(()))], [(1, 3, 4, 3)] * 2, {"num_splits": 2})
    odd = net.add("VariadicSplit", [image, net.const(ints(1)), net.const(ints(1, -1))], [(1, 1, 4, 6), (1, 2, 4, 6)])
    for source in ((even, 1), (odd, 0), (odd, 1)):
        net.result(source)
    found = answers(translated(net.save(path)), X)
    for ours, expected in zip(found, (X[..., 3:], X[:, :1], X[:, 1:]), strict=True):
        assert np.array_equal(ours, expected)


def test_weights_are_unpacked_from_levels_and_from_int8(path: Path) -> None:
    net, packed = Net(), np.array([1, -2, 3], np.int8).reshape(1, 3, 1, 1)
    unpacked = net.add("Convert", [net.const(packed)], [packed.shape], {"destination_type": "f16"})
    shifted = net.add("Subtract", [unpacked, net.const(np.ones(1, np.float16))], [packed.shape])
    scaled = net.add("Multiply", [shifted, net.const(np.full(1, 0.5, np.float16))], [packed.shape])
    low, high = net.const(floats(-2)), net.const(floats(2))
    levels = net.add("FakeQuantize", [scaled, low, high, low, high], [packed.shape], {"levels": 5})
    net.result(net.add("Convolution", [net.image(), levels], [(1, 1, 4, 6)], WINDOW))
    expected = (X * floats(0, -2, 1).reshape(3, 1, 1)).sum(axis=1, keepdims=True)  # -1.5 rounds to -2
    np.testing.assert_allclose(answers(translated(net.save(path)), X)[0], expected, atol=1e-6)


def test_sizes_of_maps_are_worked_out_before(path: Path) -> None:
    net = Net()
    image = net.image()
    shape = net.add("ShapeOf", [image], [(4,)], {"output_type": "i32"}, version="opset3")
    side = net.add("Gather", [shape, net.const(ints(3)), net.const(ints(0).reshape(()))], [(1,)], {}, version="opset8")
    half = net.add("Divide", [side, net.const(ints(2))], [(1,)])
    rest = net.add("Mod", [side, net.const(ints(4))], [(1,)])
    more = net.add(
        "Convert", [net.add("Greater", [rest, net.const(ints(1))], [(1,)])], [(1,)], {"destination_type": "i64"}
    )
    lengths = net.add("Concat", [net.add("Add", [half, more], [(1,)]), rest], [(2,)], {"axis": 0})
    net.result((net.add("VariadicSplit", [image, net.const(ints(3)), lengths], [(1, 3, 4, 4), (1, 3, 4, 2)]), 0))
    assert np.array_equal(answers(translated(net.save(path)), X)[0], X[..., :4])
