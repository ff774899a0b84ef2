"""The blocks of YOLOv7 networks, from tiny to e6e, as trained or as deployed.

Source: behaviour of the modules of these names in the authors' programs; RepConv: Ding et al., "RepVGG", 2021;
implicit knowledge: Wang et al., "You Only Learn One Representation", 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchline.detectors.importer.blocks import Block, Emitter, kernel, normalisation, window
from watchline.detectors.importer.checkpoint import Numbers
from watchline.detectors.importer.graph import Value
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov7_heads import HEAD, detect, detect_with_auxiliary, detect_with_keypoints
from watchline.detectors.importer.yolov8 import concat, conv, sppf

_KERNEL: Final = 3  # of a RepConv, in each direction


def inner(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Does what its one child does."""
    return emitter.emit(module.child("m"), inputs)


def sum_of_two(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Adds two maps."""
    return emitter.graph.add(inputs[0], inputs[1], module.path)


def chain(emitter: Emitter, module: Module, x: Value, *names: str) -> Value:
    """Sends `x` through the children of these names, one after the other."""
    for name in names:
        x = emitter.emit(module.child(name), [x])
    return x


def to_channels(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Turns each 2 by 2 cells into one of four times the channels: upper left, lower left, upper right, lower right."""
    graph = emitter.graph
    quarters = [
        graph.every_second(inputs[0], row, column, f"{module.path}.{row}{column}")
        for column in (0, 1)
        for row in (0, 1)
    ]
    return graph.concat(quarters, module.path)


def shrink(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Halves the map by two convolutions and, beside them, by a pool and a convolution."""
    moved = chain(emitter, module, inputs[0], "cv1", "cv2")
    return emitter.graph.concat([moved, chain(emitter, module, inputs[0], "mp", "cv3")], module.path)


def pyramid(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Pools of several sizes between convolutions, beside one convolution."""
    x = chain(emitter, module, inputs[0], "cv1", "cv3", "cv4")
    pools = module.child("m")
    if pools.name == "torch.nn.modules.container.ModuleList":
        maps = [x, *(emitter.emit(pool, [x]) for pool in pools.children())]
    else:  # one pool again and again, which is the same as larger ones
        maps = [x]
        for step in range(3):
            maps.append(emitter.emit(pools.at(f"{module.path}.m.{step}"), [maps[-1]]))
    x = chain(emitter, module, emitter.graph.concat(maps, module.path + ".pools"), "cv5", "cv6")
    joined = emitter.graph.concat([x, chain(emitter, module, inputs[0], "cv2")], module.path + ".join")
    return chain(emitter, module, joined, "cv7")


def rep_conv(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A 3 by 3 and a 1 by 1 convolution and the map itself, each normalised and all added: one convolution."""
    x = inputs[0]
    if module.has("rbr_reparam"):  # its author has added them already
        if any(module.has(name) for name in ("rbr_dense", "rbr_1x1", "rbr_identity")):
            raise module.refusal("it has one convolution and branches as well")
        return chain(emitter, module, x, "rbr_reparam", "act")
    dense, point = (_pair(module.child(name)) for name in ("rbr_dense", "rbr_1x1"))
    return emitter.emit(module.child("act"), [added(emitter, module, x, dense, point)])


def added(
    emitter: Emitter,
    module: Module,
    x: Value,
    dense: tuple[Module, Module | None],
    point: tuple[Module, Module | None],
) -> Value:
    """Returns what the branches of a RepVGG block give in sum, as one convolution.

    Args:
        emitter: writes the graph.
        module: the block; its child rbr_identity, if any, is the normalisation of the map itself.
        x: its input.
        dense: the 3 by 3 convolution and its normalisation, None where that is folded in already.
        point: the 1 by 1 convolution, likewise.

    Source: Ding et al., "RepVGG", 2021.
    """
    moves = window(dense[0])
    beside = window(point[0])
    if (moves.kernel, beside.kernel, beside.padding, beside.stride) != (_KERNEL, 1, 0, moves.stride):
        raise module.refusal("its branches do not move alike")
    weight, bias = kernel(emitter, dense[0], x.channels, dense[1])
    beside_weight, shift = kernel(emitter, point[0], x.channels, point[1])
    if beside_weight.shape[:2] != weight.shape[:2]:
        raise module.refusal("its branches have other groups")
    centre = weight[:, :, 1, 1]  # a view
    centre += beside_weight[:, :, 0, 0]
    bias = bias + shift
    if module.has("rbr_identity"):
        factor, offset = _identity(module, weight.shape, x, moves.stride)
        centre += factor
        bias = bias + offset
    return emitter.graph.conv(x, weight, bias, moves, module.path + ".conv")


def _pair(branch: Module) -> tuple[Module, Module]:
    """Returns the convolution and the normalisation of one branch."""
    parts = branch.children()
    if branch.name != "torch.nn.modules.container.Sequential" or len(parts) != 2:
        raise branch.refusal("expected a convolution and its normalisation")
    return parts[0], parts[1]


def _identity(module: Module, shape: tuple[int, ...], x: Value, stride: int) -> tuple[Numbers, Numbers]:
    """Returns the normalised map itself as 1 by 1 weights (out, in / groups) and a bias (out,)."""
    outputs, group = shape[:2]
    if outputs != x.channels or stride != 1:
        raise module.refusal("it adds a map of another shape")
    factor, offset = normalisation(module.child("rbr_identity"), outputs)
    weight = np.zeros((outputs, group))
    weight[np.arange(outputs), np.arange(outputs) % group] = factor
    return weight, offset


def _named(package: str, blocks: Mapping[str, Block]) -> dict[str, Block]:
    return {package + name: block for name, block in blocks.items()}


YOLOV7_BLOCKS: Final[Mapping[str, Block]] = {
    **_named(
        "models.common.",
        {
            "Concat": Block(concat, attributes="d", inputs=0),
            "Conv": Block(conv, attributes="forward", children="conv bn act"),
            "DownC": Block(shrink, children="cv1 cv2 cv3 mp"),
            "MP": Block(inner, children="m"),
            "ReOrg": Block(to_channels),
            "RepConv": Block(
                rep_conv,
                attributes="deploy groups in_channels out_channels id_tensor",
                children="act rbr_dense rbr_1x1 rbr_identity rbr_reparam",
            ),
            "SP": Block(inner, children="m"),
            "SPF": Block(inner, attributes="n", children="m"),
            "SPPCSPC": Block(pyramid, children="cv1 cv2 cv3 cv4 cv5 cv6 cv7 m"),
            "SPPF": Block(sppf, children="cv1 cv2 m"),
            "SPPFCSPC": Block(pyramid, children="cv1 cv2 cv3 cv4 cv5 cv6 cv7 m"),
            "Shortcut": Block(sum_of_two, attributes="d", inputs=2),
        },
    ),
    **_named(
        "models.yolo.",
        {
            "Detect": Block(detect, attributes=HEAD, children="m", tensors="anchors anchor_grid", inputs=0),
            "IDetect": Block(
                detect, attributes=HEAD + " forward", children="m ia im", tensors="anchors anchor_grid", inputs=0
            ),
            "IAuxDetect": Block(
                detect_with_auxiliary,
                attributes=HEAD + " forward",
                children="m m2 ia im",
                tensors="anchors anchor_grid",
                inputs=0,
            ),
            "IKeypoint": Block(
                detect_with_keypoints,
                attributes=HEAD + " nkpt dw_conv_kpt no_det no_kpt flip_test flip_index export_cat",
                children="m ia im m_kpt",
                tensors="anchors anchor_grid",
                inputs=0,
            ),
        },
    ),
}
