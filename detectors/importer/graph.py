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
    from onnx import ModelProto, NodeProto, TensorProto

# All that is used here exists in opset 17 (2022), which every runtime of today reads; ONNX Runtime 1.20 reads 21.
OPSET: Final = 17
_IR_VERSION: Final = 8
_SIDES: Final = ("height", "width")
_MAX_NAME: Final = 2000
_MAX_REACH: Final = 129  # of a window; the largest known is 13 cells wide
_END: Final = (1 << 63) - 1  # "to the end" in a Slice


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
        if reach > _MAX_REACH:
            raise ShapeError(f"kernel {self.kernel} with dilation {self.dilation} reaches over {_MAX_REACH} cells")

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

    def __init__(
        self, size: tuple[int, int] | None = None, channels: int = 3, batch: int = 0, *, raw: bool = False
    ) -> None:
        """Starts a graph for pictures of `size` (height, width) in pixels, or of any size, and of so many channels.

        `batch` is how many pictures a call brings, 0 for any number. A head asked for `raw` ends at its last
        convolutions.
        """
        self.size = size
        self.batch = batch
        self.raw = raw
        self.picture_channels = channels
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._outputs: dict[str, tuple[int | str, ...]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def image(self) -> Value:
        """Returns the input of the network."""
        return Value("images", self.picture_channels, 1)

    def output(self, name: str, dimensions: tuple[int | str, ...]) -> None:
        """Makes the value `name` an output of the network; a dimension is a number or, where it varies, a word."""
        self._outputs[name] = tuple(self._batch if side == "batch" else side for side in dimensions)

    def levels(self, maps: Sequence[Value]) -> tuple[str, ...]:
        """Makes maps (batch, channels, height, width), one a level, outputs of the network; returns their names."""
        names = tuple(f"output{level}" for level in range(len(maps)))
        for name, x in zip(names, maps, strict=True):
            sides = [side // x.stride for side in self.size] if self.size else [f"{s}_{x.stride}" for s in _SIDES]
            self.node("Identity", [x.name], name)
            self.output(name, ("batch", x.channels, *sides))
        return names

    @property
    def _batch(self) -> int | str:
        return self.batch or "batch"

    def node(
        self, operation: str, inputs: Sequence[str], name: str, attributes: Mapping[str, Any] | None = None
    ) -> str:
        """Adds any operation with one output, and returns the name of that, which is `name`."""
        from onnx import helper

        if len(name) > _MAX_NAME:  # each in a chain of activations adds to the name of the one before
            raise ShapeError("the chain of layers is too long")
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

    def activation(self, operation: str, x: Value, attributes: Mapping[str, Any] | None = None) -> Value:
        """Adds a function of each single number: "Relu", "LeakyRelu"."""
        return Value(self.node(operation, [x.name], f"{x.name}.{operation.lower()}", attributes), x.channels, x.stride)

    def conv_transpose(
        self, x: Value, weight: NDArray[np.float64], bias: NDArray[np.float64], factor: int, name: str
    ) -> Value:
        """Adds a transposed convolution whose kernel is its stride, so that it enlarges exactly `factor` times.

        Args:
            x: its input.
            weight: (in, out, factor, factor).
            bias: (out,).
            factor: kernel and stride.
            name: of the node.

        Raises:
            ShapeError: `x` does not fit `weight`, or cannot be enlarged so much.
        """
        if weight.shape != (x.channels, len(bias), factor, factor) or factor < 1 or x.stride % factor:
            raise ShapeError(f"weights {weight.shape} on {x.channels} channels of stride {x.stride}")
        inputs = [
            x.name,
            self.constant(weight.astype(np.float32), name + ".weight"),
            self.constant(bias.astype(np.float32), name + ".bias"),
        ]
        self.node("ConvTranspose", inputs, name, {"kernel_shape": [factor] * 2, "strides": [factor] * 2})
        return Value(name, len(bias), x.stride // factor)

    def channels(self, x: Value, start: int, stop: int, name: str) -> Value:
        """Adds a cut: channels `start` to `stop` of a map."""
        if not 0 <= start < stop <= x.channels:
            raise ShapeError(f"channels {start} to {stop} of {x.channels}")
        return Value(self.cut(x.name, start, stop, 1, name), stop - start, x.stride)

    def reorder(self, x: Value, order: Sequence[int], name: str) -> Value:
        """Adds another order of channels: the i-th of the result is the `order[i]`-th of the map."""
        self.node("Gather", [x.name, self.constant(np.array(order, np.int64), name + ".order")], name, {"axis": 1})
        return Value(name, len(order), x.stride)

    def every_second(self, x: Value, row: int, column: int, name: str) -> Value:
        """Adds a cut: every second row from `row`, and of it every second cell from `column`."""
        start, end, axes, steps = ([row, column], [_END, _END], [2, 3], [2, 2])
        self.node("Slice", [x.name, *(self.integers(numbers) for numbers in (start, end, axes, steps))], name)
        return Value(name, x.channels, x.stride * 2)

    def cut(self, source: str, start: int, stop: int, axis: int, name: str) -> str:
        """Adds a cut of any value along one axis and returns its name."""
        return self.node("Slice", [source, *(self.integers([n]) for n in (start, stop, axis))], name)

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

    def model(self, metadata: Mapping[str, str]) -> bytes:
        """Returns the finished network, serialised, as `proto` gives it."""
        data: bytes = self.proto(metadata).SerializeToString(deterministic=True)
        return data

    def proto(self, metadata: Mapping[str, str]) -> ModelProto:
        """Returns the finished network without what no output needs.

        Its input "images" is (batch, channels, height, width) float32.
        """
        from onnx import TensorProto, helper

        shape = [self._batch, self.picture_channels, *(self.size or _SIDES)]
        image = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
        results = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in self._outputs.items()
        ]
        nodes, needed = self._needed()
        constants = [constant for name, constant in self._constants.items() if name in needed]
        graph = helper.make_graph(nodes, "watchline", [image], results, constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="watchline", opset_imports=opset, ir_version=_IR_VERSION)
        helper.set_model_props(model, dict(metadata))
        return model

    def _needed(self) -> tuple[list[NodeProto], set[str]]:
        """Returns the nodes that the outputs depend on, in their order, and the names of all that these read.

        Training leaves branches behind that only its loss looks at.
        """
        needed = set(self._outputs)
        nodes: list[NodeProto] = []
        for node in reversed(self._nodes):
            if node.output[0] in needed:
                needed.update(node.input)
                nodes.append(node)
        return nodes[::-1], needed
