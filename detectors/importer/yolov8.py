"""The blocks of Ultralytics YOLOv8 networks, and of YOLOv5u, which shares their heads.

Source: behaviour of the Ultralytics modules of these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from watchline.detectors.importer.blocks import Block, Emitter, convolution
from watchline.detectors.importer.graph import Value
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov8_heads import detect, pose, segment

_DETECT: Final = (
    "nc nl reg_max no stride anchors strides shape dynamic export format end2end legacy max_det xyxy agnostic_nms"
)


def conv(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Convolution, batch normalisation, activation."""
    return _conv_parts(emitter, module, inputs[0], ("",))[0]


def _conv_parts(emitter: Emitter, module: Module, x: Value, parts: tuple[str, ...]) -> list[Value]:
    """Adds a Conv whose output channels are dealt out to several maps."""
    maps = convolution(emitter, module.child("conv"), x, None if module.fused else module.child("bn"), parts)
    return [emitter.emit(module.child("act"), [y]) for y in maps]


def concat(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Joins maps along their channels."""
    module.require("d", 1)
    return emitter.graph.concat(inputs, module.path)


def bottleneck(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Two convolutions, with a shortcut around them where `add` says so."""
    x = emitter.emit(module.child("cv2"), [emitter.emit(module.child("cv1"), inputs)])
    if module.value("add") not in (True, False):
        raise module.refusal("add is not true or false")
    return emitter.graph.add(inputs[0], x, module.path) if module.value("add") else x


def c2f(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Splits its channels in two, sends one half down a chain, and joins both halves with every link of the chain.

    The split is made in the weights, as two convolutions: ONNX Runtime would leave its fast memory layout for a split
    of the map and come back after it (1.8 % of YOLOv8n's time; the numbers are the same to the last bit).
    """
    first = module.child("cv1")
    if emitter.block(first).emit is not conv:
        raise first.refusal("expected a Conv")
    maps = _conv_parts(emitter, first, inputs[0], (".left", ".right"))
    if maps[0].channels != module.integer("c"):
        raise module.refusal(f"c={module.integer('c')} does not halve {2 * maps[0].channels} channels")
    for child in module.child("m").children():
        maps.append(emitter.emit(child, [maps[-1]]))
    return emitter.emit(module.child("cv2"), [emitter.graph.concat(maps, module.path + ".join")])


def c2(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Splits its channels in two, sends one half down a chain, and joins its end and the other half."""
    first = module.child("cv1")
    if emitter.block(first).emit is not conv:
        raise first.refusal("expected a Conv")
    left, right = _conv_parts(emitter, first, inputs[0], (".left", ".right"))
    left = emitter.emit(module.child("m"), [left])
    return emitter.emit(module.child("cv2"), [emitter.graph.concat([left, right], module.path + ".join")])


def ghost_conv(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A convolution for one half of the channels, and a convolution of each of these for the other half.

    Source: Han et al., "GhostNet", 2020.
    """
    x = emitter.emit(module.child("cv1"), inputs)
    return emitter.graph.concat([x, emitter.emit(module.child("cv2"), [x])], module.path)


def ghost_bottleneck(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A chain and a shortcut around it, added."""
    moved, beside = (emitter.emit(module.child(name), inputs) for name in ("conv", "shortcut"))
    return emitter.graph.add(moved, beside, module.path)


def c3(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """A chain beside one convolution, joined."""
    chain = emitter.emit(module.child("m"), [emitter.emit(module.child("cv1"), inputs)])
    joined = emitter.graph.concat([chain, emitter.emit(module.child("cv2"), inputs)], module.path + ".join")
    return emitter.emit(module.child("cv3"), [joined])


def sppf(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Pools its map again and again and joins the steps."""
    module.require("add", False)
    module.require("n", 3)
    maps = [emitter.emit(module.child("cv1"), inputs)]
    for step in range(3):
        maps.append(emitter.emit(module.child("m").at(f"{module.path}.m.{step}"), [maps[-1]]))
    return emitter.emit(module.child("cv2"), [emitter.graph.concat(maps, module.path + ".join")])


def proto(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The prototype masks: one map each, twice as fine as the finest level."""
    x = inputs
    for name in ("cv1", "upsample", "cv2", "cv3"):
        x = [emitter.emit(module.child(name), x)]
    return x[0]


def _with_old_names(blocks: Mapping[str, Block]) -> dict[str, Block]:
    """Returns `blocks` by package-relative name under their dotted names, and those of the first 8.0 releases."""
    package = "ultralytics.nn.modules."
    new = {package + name: block for name, block in blocks.items()}
    return new | {package + name.rpartition(".")[2]: block for name, block in blocks.items()}


YOLOV8_BLOCKS: Final[Mapping[str, Block]] = _with_old_names(
    {
        "block.Bottleneck": Block(bottleneck, attributes="add", children="cv1 cv2"),
        "block.C2": Block(c2, attributes="c", children="cv1 cv2 m"),
        "block.C2f": Block(c2f, attributes="c", children="cv1 cv2 m"),
        "block.C3": Block(c3, children="cv1 cv2 cv3 m"),
        "block.C3Ghost": Block(c3, children="cv1 cv2 cv3 m"),
        "block.GhostBottleneck": Block(ghost_bottleneck, children="conv shortcut"),
        "block.SPPF": Block(sppf, attributes="n add", children="cv1 cv2 m"),
        "conv.Concat": Block(concat, attributes="d", inputs=0),
        "conv.Conv": Block(conv, attributes="forward", children="conv bn act"),
        "conv.DWConv": Block(conv, attributes="forward", children="conv bn act"),
        "conv.GhostConv": Block(ghost_conv, children="cv1 cv2"),
        "block.Proto": Block(proto, children="cv1 upsample cv2 cv3"),
        "head.Detect": Block(detect, attributes=_DETECT, children="cv2 cv3 dfl", inputs=0),
        "head.Pose": Block(pose, attributes=_DETECT + " kpt_shape nk detect", children="cv2 cv3 cv4 dfl", inputs=0),
        "head.Segment": Block(
            segment, attributes=_DETECT + " nm npr detect", children="cv2 cv3 cv4 dfl proto", inputs=0
        ),
    }
)
