"""Graph: writes an ONNX network of convolutions, one call an operation.

Feature maps are (batch, channels, height, width). Channels are known while the graph is written; height and width are
not: they are the network's input divided by the map's stride, so that one file serves every input size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

# All that is used here exists in opset 17 (2022), which every runtime of today reads; ONNX Runtime 1.20 reads 21.
OPSET: Final = 17
_IR_VERSION: Final = 8


class ShapeError(ValueError):
    """Two parts of a network do not fit together."""


@dataclass(frozen=True, slots=True)
class Value:
    """A feature map in the graph: its name, its channels, and how many pixels of the input a cell is wide."""

    name: str
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution or a pool moves over the picture, the same in both directions."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def check(self) -> None:
        """Checks that the output is exactly the input divided by the stride, for every size that it divides.

        Raises:
            ShapeError: it is not.
        """
        reach = self.dilation * (self.kernel - 1) + 1
        if min(self.kernel, self.stride, self.dilation) < 1 or (2 * self.padding - reach) // self.stride != -1:
            raise ShapeError(f"kernel {self.kernel}, stride {self.stride}, padding {self.padding} changes the size")

    def attributes(self) -> dict[str, int | list[int]]:
        """Returns the ONNX attributes that convolutions and pools share."""
        return {
            "kernel_shape": [self.kernel] * 2,
            "strides": [self.stride] * 2,
            "pads": [self.padding] * 4,
            "dilations": [self.dilation] * 2,
        }


class Graph:
    """An ONNX graph that grows by one method call an operation; each returns the map that it makes.

    >>> graph = Graph()
    >>> x = graph.image()
    >>> graph.concat([x, x], "both").channels
    6
    """

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        """Starts a graph for pictures of `size` (height, width) in pixels, or of any size."""
        self.size = size
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def image(self) -> Value:
        """Returns the input of the network."""
        return Value("images", 3, 1)

    def node(
        self, operation: str, inputs: Sequence[str], name: str, attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Adds any operation with one output, and returns the name of that, which is `name`."""
        from onnx import helper

        self._nodes.append(helper.make_node(operation, inputs, [name], name, **(attributes or {})))
        return name

    def constant(self, values: NDArray[Any], name: str) -> str:
        """Adds a constant array under `name` and returns the name."""
        from onnx import numpy_helper

        self._constants[name] = numpy_helper.from_array(values, name)
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Returns the name of an int64 constant (N,), the same for the same numbers."""
        name = "int64_" + "_".join(str(value) for value in values)
        return name if name in self._constants else self.constant(np.array(values, np.int64), name)

    def conv(
        self, x: Value, weight: NDArray[np.float64], bias: NDArray[np.float64], window: Window, name: str
    ) -> Value:
        """Adds a convolution.

        Args:
            x: its input.
            weight: (out, in / groups, kernel, kernel).
            bias: (out,).
            window: kernel, stride, padding, dilation.
            name: of the node.

        Raises:
            ShapeError: `x` does not fit `weight`, or the size changes by something else than the stride.
        """
        window.check()
        outputs, group_inputs = weight.shape[:2]
        groups, rest = divmod(x.channels, group_inputs)
        if rest or outputs % groups:
            raise ShapeError(f"weights {weight.shape} on {x.channels} channels")
        inputs = [
            x.name,
            self.constant(weight.astype(np.float32), name + ".weight"),
            self.constant(bias.astype(np.float32), name + ".bias"),
        ]
        self.node("Conv", inputs, name, {**window.attributes(), "group": groups})
        return Value(name, outputs, x.stride * window.stride)

    def silu(self, x: Value) -> Value:
        """Adds x * sigmoid(x)."""
        gate = self.node("Sigmoid", [x.name], x.name + ".sigmoid")
        return Value(self.node("Mul", [x.name, gate], x.name + ".silu"), x.channels, x.stride)

    def add(self, a: Value, b: Value, name: str) -> Value:
        """Adds a + b, two maps of one shape."""
        if (a.channels, a.stride) != (b.channels, b.stride):
            raise ShapeError(f"{a.channels} channels at stride {a.stride} plus {b.channels} at {b.stride}")
        return Value(self.node("Add", [a.name, b.name], name), a.channels, a.stride)

    def concat(self, maps: Sequence[Value], name: str) -> Value:
        """Adds the concatenation of maps of one size along their channels."""
        strides = {x.stride for x in maps}
        if len(strides) != 1:
            raise ShapeError(f"maps of strides {sorted(strides)} are joined")
        self.node("Concat", [x.name for x in maps], name, {"axis": 1})
        return Value(name, sum(x.channels for x in maps), strides.pop())

    def max_pool(self, x: Value, window: Window, name: str) -> Value:
        """Adds a maximum over a window."""
        window.check()
        self.node("MaxPool", [x.name], name, window.attributes())
        return Value(name, x.channels, x.stride * window.stride)

    def enlarge(self, x: Value, factor: int, name: str) -> Value:
        """Adds nearest-neighbour enlargement by a whole factor."""
        if factor < 1 or x.stride % factor:
            raise ShapeError(f"a map of stride {x.stride} is enlarged {factor} times")
        scales = self.constant(np.array([1, 1, factor, factor], np.float32), name + ".scales")
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        self.node("Resize", [x.name, "", scales], name, attributes)
        return Value(name, x.channels, x.stride // factor)

    def model(self, output: str, channels: int, metadata: Mapping[str, str]) -> bytes:
        """Returns the finished network, serialised.

        Input "images" is (batch, 3, height, width) float32; output `output` is (batch, `channels`, anchors) float32.
        """
        from onnx import TensorProto, helper

        size = self.size or ("height", "width")
        image = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, *size])
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", channels, "anchors"])
        graph = helper.make_graph(self._nodes, "watchline", [image], [result], list(self._constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="watchline", opset_imports=opset, ir_version=_IR_VERSION)
        helper.set_model_props(model, dict(metadata))
        data: bytes = model.SerializeToString(deterministic=True)
        return data
