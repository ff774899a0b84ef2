"""The blocks of the light YOLOv7 networks for faces and plates, and of the light YOLOv8 networks for faces.

Source: behaviour of the modules of these names in the authors' programs; channel shuffle: Ma et al., "ShuffleNet V2",
2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchline.detectors.importer.blocks import Block, Emitter, convolution
from watchline.detectors.importer.graph import Value
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov7 import chain, inner

_NORM: Final = "torch.nn.modules.batchnorm.BatchNorm2d"


def stem(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Quarters the picture by a convolution, then by two more and, beside them, by a pool."""
    x = chain(emitter, module, inputs[0], "stem_1")
    maps = [chain(emitter, module, x, "stem_2a", "stem_2b"), chain(emitter, module, x, "stem_2p")]
    return chain(emitter, module, emitter.graph.concat(maps, module.path + ".join"), "stem_3")


def separable(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A convolution a channel, then one across channels."""
    x = inputs[0]
    for number in "12":
        (x,) = convolution(emitter, module.child("conv" + number), x, module.child("bn" + number))
        x = chain(emitter, module, x, "act" + number)
    return x


def weighted_sum(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Adds the second of two maps, weighted, to the first."""
    weight = module.value("a")
    if not isinstance(weight, int | float) or not np.isfinite(weight):
        raise module.refusal("a is not a number")
    first, second = inputs
    if weight != 1:
        factor = emitter.graph.constant(np.array([weight], np.float32), module.path + ".weight")
        name = emitter.graph.node("Mul", [second.name, factor], module.path + ".second")
        second = Value(name, second.channels, second.stride)
    return emitter.graph.add(first, second, module.path)


def shuffle(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Sends one half of the channels through convolutions, or all of them through two chains, and interleaves both."""
    graph, path, x = emitter.graph, module.path, inputs[0]
    if module.integer("stride") == 1:
        half = x.channels // 2
        if module.has("branch1") or x.channels % 2:
            raise module.refusal(f"stride 1, but two branches or {x.channels} channels")
        left = graph.channels(x, 0, half, path + ".left")
        right = normalised(emitter, module.child("branch2"), graph.channels(x, half, 2 * half, path + ".right"))
    else:
        left = normalised(emitter, module.child("branch1"), x)
        right = normalised(emitter, module.child("branch2"), x)
    if left.channels != right.channels or left.stride != x.stride * module.integer("stride"):
        raise module.refusal(f"halves of {left.channels} and {right.channels} channels, stride {left.stride}")
    order = np.arange(2 * left.channels).reshape(2, -1).T.ravel()
    return graph.reorder(graph.concat([left, right], path + ".join"), order.tolist(), path)


def normalised(emitter: Emitter, branch: Module, x: Value) -> Value:
    """A Sequential in which each normalisation belongs to the convolution before it."""
    parts = branch.children()
    if branch.name != "torch.nn.modules.container.Sequential":
        raise branch.refusal("expected a Sequential")
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if part.name == "torch.nn.modules.conv.Conv2d":
            (x,) = convolution(emitter, part, x, after if after and after.name == _NORM else None)
        elif part.name != _NORM:
            x = emitter.emit(part, [x])
    return x


_LAYERS: Final[Mapping[str, Block]] = {
    "ADD": Block(weighted_sum, attributes="a", inputs=2),
    "DWConvblock": Block(separable, attributes="p", children="conv1 bn1 act1 conv2 bn2 act2"),
    "Shuffle_Block": Block(shuffle, attributes="stride", children="branch1 branch2"),
    "StemBlock": Block(stem, children="stem_1 stem_2a stem_2b stem_2p stem_3"),
}
YOLOV7_LITE_BLOCKS: Final[Mapping[str, Block]] = {f"models.common.{name}": block for name, block in _LAYERS.items()}
_POOLS: Final = {name: Block(inner, attributes="n", children="m") for name in ("MP", "SP", "SPF")}
YOLOV8_LITE_BLOCKS: Final[Mapping[str, Block]] = {
    f"ultralytics.nn.modules.{where}{name}": block
    for where in ("", "block.")
    for name, block in {**_LAYERS, **_POOLS}.items()
}
