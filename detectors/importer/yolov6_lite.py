"""The blocks of the light YOLOv6 networks.

Source: behaviour of the modules of these names in the authors' programs; channel shuffle: Ma et al., "ShuffleNet V2",
2018; gates: Hu et al., "Squeeze-and-Excitation Networks", 2018; hard activations: Howard et al., "MobileNetV3", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchline.detectors.importer.blocks import Block, Emitter, convolution
from watchline.detectors.importer.graph import Value
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov7 import chain

_POOL: Final = "torch.nn.modules.pooling.AdaptiveAvgPool2d"


def hard_swish(emitter: Emitter, _module: Module, inputs: list[Value]) -> Value:
    """Multiplies its input with the hard sigmoid of its input."""
    return emitter.graph.activation("HardSwish", inputs[0])


def hard_sigmoid(emitter: Emitter, _module: Module, inputs: list[Value]) -> Value:
    """Rises from 0 at -3 to 1 at 3 in a straight line."""
    return emitter.graph.activation("HardSigmoid", inputs[0], {"alpha": 1 / 6, "beta": 0.5})


def gate(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Weighs each channel by what two convolutions make of all channels' means."""
    graph, x, pool = emitter.graph, inputs[0], module.child("avg_pool")
    if pool.name != _POOL or pool.square("output_size") != 1:
        raise pool.refusal("expected a mean over the whole map")
    pool.expect("output_size", "", "")
    means = Value(graph.node("GlobalAveragePool", [x.name], module.path + ".means"), x.channels, x.stride)
    weights = chain(emitter, module, means, "conv1", "relu", "conv2", "hardsigmoid")
    if weights.channels != x.channels:
        raise module.refusal(f"{weights.channels} weights for {x.channels} channels")
    return Value(graph.node("Mul", [x.name, weights.name], module.path), x.channels, x.stride)


def shuffled(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Sends one half of the channels through convolutions and a gate, and interleaves both halves."""
    graph, path, x = emitter.graph, module.path, inputs[0]
    half = x.channels // 2
    left = graph.channels(x, 0, half, path + ".left")
    right = graph.channels(x, half, 2 * half, path + ".right")
    right = chain(emitter, module, right, "conv_pw_1", "conv_dw_1", "se", "conv_1")
    if x.channels % 2 or right.channels != half:
        raise module.refusal(f"halves of {half} and {right.channels} channels, of {x.channels}")
    order = np.arange(2 * half).reshape(2, half).T.ravel()
    return graph.reorder(graph.concat([left, right], path + ".join"), order.tolist(), path)


def halved(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Halves the map by two chains, of which one has a gate, and mixes them."""
    maps = [
        chain(emitter, module, inputs[0], "conv_dw_1", "conv_1"),
        chain(emitter, module, inputs[0], "conv_pw_2", "conv_dw_2", "se", "conv_2"),
    ]
    joined = emitter.graph.concat(maps, module.path + ".join")
    return chain(emitter, module, joined, "conv_dw_3", "conv_pw_3")


def separable(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A convolution a channel, then one across channels."""
    x = inputs[0]
    for name, number in (("conv_dw_1", 1), ("conv_pw_1", 2)):
        (x,) = convolution(emitter, module.child(name), x, None if module.fused else module.child(f"bn_{number}"))
        x = chain(emitter, module, x, f"act_{number}")
    return x


def two_steps(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Two convolutions."""
    return chain(emitter, module, inputs[0], "conv_1", "conv_2")


def split_stage(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A chain beside one convolution, joined."""
    maps = [chain(emitter, module, inputs[0], "conv_1", "blocks"), chain(emitter, module, inputs[0], "conv_2")]
    return chain(emitter, module, emitter.graph.concat(maps, module.path + ".join"), "conv_3")


_LAYERS: Final[Mapping[str, Block]] = {
    "CSPBlock": Block(split_stage, children="conv_1 conv_2 conv_3 blocks"),
    "DarknetBlock": Block(two_steps, children="conv_1 conv_2"),
    "DPBlock": Block(separable, attributes="forward", children="conv_dw_1 bn_1 act_1 conv_pw_1 bn_2 act_2"),
    "Lite_EffiBlockS1": Block(shuffled, children="conv_pw_1 conv_dw_1 se conv_1"),
    "Lite_EffiBlockS2": Block(halved, children="conv_dw_1 conv_1 conv_pw_2 conv_dw_2 se conv_2 conv_dw_3 conv_pw_3"),
    "SEBlock": Block(gate, children="avg_pool conv1 relu conv2 hardsigmoid"),
}
YOLOV6_LITE_BLOCKS: Final[Mapping[str, Block]] = {
    **{f"yolov6.layers.common.{name}": block for name, block in _LAYERS.items()},
    "torch.nn.modules.activation.Hardsigmoid": Block(hard_sigmoid),
    "torch.nn.modules.activation.Hardswish": Block(hard_swish),
}
