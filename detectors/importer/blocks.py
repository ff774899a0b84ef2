"""What each known module of a network does, written as ONNX.

A block reads the attributes of its module and adds nodes to the graph. It is known by the full dotted name of the
upstream class, together with everything that such a module may hold. Here are the blocks of torch itself; a family of
networks brings a table of its own.

Source: the documented behaviour of torch.nn (Conv2d, ConvTranspose2d, BatchNorm2d, activations, MaxPool2d, Upsample).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from watchline.detectors.importer.checkpoint import Numbers
from watchline.detectors.importer.graph import Graph, ShapeError, Value, Window
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.modules import Module

_MAX_DEPTH: Final = 12  # modules inside modules; YOLOv8 has five
Emit: TypeAlias = Callable[["Emitter", Module, list[Value]], Value]


@dataclass(frozen=True, slots=True)
class Block:
    """A known kind of module.

    Attributes:
        emit: adds its nodes to the graph and returns its output.
        attributes: names of the plain attributes that it may hold.
        children: names of the child modules that it may hold, "*" for any.
        tensors: names of the parameters and buffers that it may hold.
        inputs: how many feature maps it takes, 0 for any number.
    """

    emit: Emit
    attributes: str = ""
    children: str = ""
    tensors: str = ""
    inputs: int = 1


class Emitter:
    """Writes modules into a graph by the blocks that it is given.

    Attributes:
        graph: what it writes.
        head: what the network's head answers; the head's block sets it.
    """

    def __init__(self, graph: Graph, blocks: Mapping[str, Block], max_nodes: int) -> None:
        self.graph = graph
        self.head: Head | None = None
        self._blocks = blocks
        self._max_nodes = max_nodes
        self._depth = 0

    def block(self, module: Module) -> Block:
        """Returns what is known about this kind of module, once it is seen to hold nothing else.

        Raises:
            ModelError: its kind is not known, or it holds something unknown.
        """
        block = self._blocks.get(module.name)
        if block is None:
            raise module.unknown(self._blocks)
        module.expect(block.attributes, block.children, block.tensors)
        return block

    def emit(self, module: Module, inputs: Sequence[Value]) -> Value:
        """Adds `module` to the graph and returns its output.

        Raises:
            ModelError: it is not known, holds something unknown, or does not fit its inputs.
        """
        block = self.block(module)
        if block.inputs not in (0, len(inputs)):
            raise module.refusal(f"it takes {len(inputs)} inputs")
        if self._depth >= _MAX_DEPTH or len(self.graph) >= self._max_nodes:
            raise module.refusal("the network is too deep or too large")
        self._depth += 1
        try:
            return block.emit(self, module, list(inputs))
        except ShapeError as error:
            raise module.refusal(str(error)) from error
        finally:
            self._depth -= 1


def conv2d(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """torch.nn.Conv2d, with or without bias."""
    return convolution(emitter, module, inputs[0], None)[0]


def convolution(
    emitter: Emitter, module: Module, x: Value, norm: Module | None, parts: Sequence[str] = ("",)
) -> list[Value]:
    """Adds a Conv2d with the batch normalisation that follows it folded into its weights.

    Folding is done in float64 and rounded once, so it is closer to the exact product than the original's own.

    Args:
        emitter: writes the graph.
        module: the Conv2d.
        x: its input.
        norm: the BatchNorm2d behind it, or None.
        parts: name endings; the output channels are dealt out in order to that many convolutions.

    Returns:
        One map a part.
    """
    weight, bias = kernel(emitter, module, x.channels, norm)
    outputs, groups = module.integer("out_channels"), module.integer("groups")
    if outputs % len(parts) or (len(parts) > 1 and groups > 1):
        raise module.refusal(f"{outputs} channels in {groups} groups")
    pairs = zip(parts, np.split(weight, len(parts)), np.split(bias, len(parts)), strict=True)
    moves = window(module)
    return [emitter.graph.conv(x, rows, shift, moves, module.path + part) for part, rows, shift in pairs]


def kernel(emitter: Emitter, module: Module, inputs: int, norm: Module | None) -> tuple[Numbers, Numbers]:
    """Returns the weights (out, in / groups, kernel, kernel) and the bias (out,) of a Conv2d on `inputs` channels.

    The batch normalisation `norm` behind it, if any, is folded into both.
    """
    if emitter.block(module).emit is not conv2d:
        raise module.refusal("expected a Conv2d")
    for name, value in (("padding_mode", "zeros"), ("transposed", False), ("output_padding", 0)):
        module.require(name, value)
    outputs, groups = module.integer("out_channels"), module.integer("groups")
    if module.integer("in_channels") != inputs or not groups or inputs % groups or not outputs:
        raise module.refusal(f"{module.integer('in_channels')} channels in {groups} groups, given {inputs}")
    side = window(module).kernel
    weight = module.numbers("weight", (outputs, inputs // groups, side, side))
    bias = module.numbers("bias", (outputs,)) if module.has("bias") else np.zeros(outputs)
    if norm is None:
        return weight, bias
    scale, shift = normalisation(norm, outputs)
    return weight * scale[:, None, None, None], bias * scale + shift


def normalisation(norm: Module, channels: int) -> tuple[Numbers, Numbers]:
    """Returns a BatchNorm2d as factors and offsets, (channels,) each: y = factor * x + offset."""
    if norm.name != "torch.nn.modules.batchnorm.BatchNorm2d":
        raise norm.refusal("expected a BatchNorm2d")
    tensors = "weight bias running_mean running_var"
    norm.expect("num_features eps momentum affine track_running_stats", "", tensors + " num_batches_tracked")
    factor, offset, mean, variance = (norm.numbers(name, (channels,)) for name in tensors.split())
    eps = norm.value("eps")
    if not isinstance(eps, float) or not (variance + eps > 0).all():
        raise norm.refusal("its variance is not positive")
    factor = factor / np.sqrt(variance + eps)
    return factor, offset - mean * factor


def silu(emitter: Emitter, _module: Module, inputs: list[Value]) -> Value:
    """Multiplies its input with the sigmoid of its input."""
    return emitter.graph.silu(inputs[0])


def relu(emitter: Emitter, _module: Module, inputs: list[Value]) -> Value:
    """Cuts off below zero."""
    return emitter.graph.activation("Relu", inputs[0])


def leaky_relu(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Flattens what is below zero."""
    slope = module.value("negative_slope")
    if not isinstance(slope, float) or not 0 <= slope <= 1:
        raise module.refusal("negative_slope is not a number from 0 to 1")
    return emitter.graph.activation("LeakyRelu", inputs[0], {"alpha": slope})


def identity(_emitter: Emitter, _module: Module, inputs: list[Value]) -> Value:
    """Changes nothing."""
    return inputs[0]


def window(module: Module) -> Window:
    """Returns how a Conv2d or MaxPool2d moves over the picture."""
    return Window(*(module.square(name) for name in ("kernel_size", "stride", "padding", "dilation")))


def max_pool(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """torch.nn.MaxPool2d."""
    module.require("return_indices", False)
    moves = window(module)
    # Where the windows fit exactly, which way to round makes no difference.
    if not moves.stride or (2 * moves.padding - moves.dilation * (moves.kernel - 1) - 1) % moves.stride:
        module.require("ceil_mode", False)
    elif module.value("ceil_mode", False) not in (True, False):
        raise module.refusal("ceil_mode is not true or false")
    return emitter.graph.max_pool(inputs[0], moves, module.path)


def upsample(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """torch.nn.Upsample, nearest neighbour by a whole factor."""
    module.require("mode", "nearest")
    module.require("size", None)
    return emitter.graph.enlarge(inputs[0], module.integer("scale_factor"), module.path)


def conv_transpose2d(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """torch.nn.ConvTranspose2d that enlarges by a whole factor, its kernel."""
    for name, value in (("padding_mode", "zeros"), ("transposed", True), ("output_padding", 0), ("groups", 1)):
        module.require(name, value)
    moves, x, outputs = window(module), inputs[0], module.integer("out_channels")
    if (moves.stride, moves.padding, moves.dilation) != (moves.kernel, 0, 1):
        raise module.refusal(f"kernel {moves.kernel}, stride {moves.stride}, padding {moves.padding} overlap")
    weight = module.numbers("weight", (x.channels, outputs, moves.kernel, moves.kernel))
    bias = module.numbers("bias", (outputs,)) if module.has("bias") else np.zeros(outputs)
    return emitter.graph.conv_transpose(x, weight, bias, moves.kernel, module.path)


def sequential(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """One after the other."""
    x = inputs[0]
    for child in module.children():
        x = emitter.emit(child, [x])
    return x


_CONVOLUTION: Final = (
    "in_channels out_channels kernel_size stride padding dilation transposed output_padding groups "
    "padding_mode _reversed_padding_repeated_twice"
)
TORCH_BLOCKS: Final[Mapping[str, Block]] = {
    "torch.nn.modules.activation.LeakyReLU": Block(leaky_relu, attributes="negative_slope"),
    "torch.nn.modules.activation.ReLU": Block(relu),
    "torch.nn.modules.activation.SiLU": Block(silu),
    "torch.nn.modules.container.Sequential": Block(sequential, children="*"),
    "torch.nn.modules.conv.Conv2d": Block(conv2d, attributes=_CONVOLUTION, tensors="weight bias"),
    "torch.nn.modules.conv.ConvTranspose2d": Block(conv_transpose2d, attributes=_CONVOLUTION, tensors="weight bias"),
    "torch.nn.modules.linear.Identity": Block(identity),
    "torch.nn.modules.pooling.MaxPool2d": Block(
        max_pool, attributes="kernel_size stride padding dilation return_indices ceil_mode"
    ),
    "torch.nn.modules.upsampling.Upsample": Block(
        upsample, attributes="name size scale_factor mode align_corners recompute_scale_factor"
    ),
}
