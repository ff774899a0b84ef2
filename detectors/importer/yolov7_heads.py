"""The heads of YOLOv7 networks: anchor boxes, and with them keypoints.

Source: behaviour of the modules of these names in the authors' programs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from watchline.detectors.importer.blocks import Emitter, kernel, window
from watchline.detectors.importer.checkpoint import Numbers
from watchline.detectors.importer.graph import Graph, Value
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov8_heads import centres, check_strides

# What every head may hold beside its weights; `grid` is what it computed for the last picture.
HEAD: Final = "nc no nl na grid stride export end2end include_nms concat"
_LIST: Final = "torch.nn.modules.container.ModuleList"
_MAX_POINTS: Final = 1000


def detect(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The head: several anchor boxes a cell, moved and stretched.

    Returns:
        (batch, boxes, 5 + classes): centre x, centre y, width, height in pixels of the network's input, how sure it
        is that there is an object, then one score a class, all in [0, 1]. Boxes run level by level, anchor by anchor,
        row by row.
    """
    return _finish(emitter, module, inputs, (0, 0))


def detect_with_auxiliary(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """As `detect`; the second half of its inputs serves training only."""
    levels = module.integer("nl")
    if len(inputs) != 2 * levels:
        raise module.refusal(f"{len(inputs)} inputs for {levels} levels")
    return _finish(emitter, module, inputs[:levels], (0, 0))


def detect_with_keypoints(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """As `detect`, then x and y in pixels and a score in [0, 1] a point."""
    points = module.integer("nkpt")
    if not 0 < points <= _MAX_POINTS:
        raise module.refusal(f"{points} keypoints")
    module.require("flip_test", False)
    module.require("inplace", True)  # its other branch decodes in another way
    return _finish(emitter, module, inputs, (points, 3))


def _finish(emitter: Emitter, module: Module, inputs: list[Value], keypoints: tuple[int, int]) -> Value:
    """Adds all levels and makes them the network's output."""
    classes, levels, anchors = (module.integer(name) for name in ("nc", "nl", "na"))
    if levels != len(inputs) or not classes or not anchors:
        raise module.refusal(f"{levels} levels of {len(inputs)}, {classes} classes, {anchors} anchors")
    for flag in ("end2end", "include_nms", "concat"):
        module.require(flag, False)
    check_strides(module, inputs)
    sizes = module.numbers("anchor_grid", (levels, 1, anchors, 1, 1, 2)).reshape(levels, anchors, 2)
    if not (sizes > 0).all():
        raise module.refusal("an anchor has no size")
    head = Head(
        classes,
        tuple(x.stride for x in inputs),
        anchors=anchors,
        keypoints=keypoints,
        sizes=tuple(float(side) for side in sizes.ravel()),
    )
    if module.integer("no") != head.channels:
        raise module.refusal(f"no={module.integer('no')}, expected {head.channels}")
    maps = [_maps(emitter, module, x, level, head) for level, x in enumerate(inputs)]
    if emitter.graph.raw:
        emitter.head = replace(head, raw=emitter.graph.levels(maps))
        return maps[0]
    rows = [_decode(emitter.graph, raw, sizes[level], head, f"{module.path}.{level}") for level, raw in enumerate(maps)]
    name = emitter.graph.node("Concat", rows, "output0", {"axis": 1})
    emitter.graph.output(name, ("batch", "anchors", head.channels))
    emitter.head = head
    return Value(name, head.channels, 1)


def _maps(emitter: Emitter, module: Module, x: Value, level: int, head: Head) -> Value:
    """Returns the raw numbers of one level, (batch, anchors * channels, height, width).

    Where there are keypoints, the channels of all boxes come first and those of all points after them, and only then
    are they dealt out to the anchors. So anchor 0 takes its points from what was made for the boxes of others. That
    is how these networks were trained.
    """
    points, values = head.keypoints
    found = _boxes(emitter, module, x, level, head.anchors * (head.channels - points * values))
    if not points:
        return found
    branch = _part(module, "m_kpt", level)
    marks = emitter.emit(branch, [x])
    if (marks.channels, marks.stride) != (head.anchors * points * values, x.stride):
        raise branch.refusal(f"it does not end in {head.anchors * points * values} channels")
    return emitter.graph.concat([found, marks], f"{module.path}.{level}.both")


def _boxes(emitter: Emitter, module: Module, x: Value, level: int, channels: int) -> Value:
    """Adds a 1 by 1 convolution with what is added before it and multiplied behind it folded in."""
    conv = _part(module, "m", level)
    weight, bias = kernel(emitter, conv, x.channels, None)
    if weight.shape != (channels, x.channels, 1, 1):
        raise conv.refusal(f"weights {weight.shape}, expected ({channels}, {x.channels}, 1, 1)")
    # A head that was fused keeps what it learnt beside its convolution, but does not use it a second time.
    if not module.fused and (module.has("ia") or module.has("im")):
        before = _implicit(module, "ia", "models.common.ImplicitA", level, x.channels)
        factor = _implicit(module, "im", "models.common.ImplicitM", level, channels)
        bias = (bias + weight[:, :, 0, 0] @ before) * factor
        weight = weight * factor[:, None, None, None]
    return emitter.graph.conv(x, weight, bias, window(conv), conv.path)


def _implicit(module: Module, name: str, kind: str, level: int, channels: int) -> Numbers:
    """Returns the numbers (channels,) that a head learnt beside its convolution."""
    part = _part(module, name, level)
    if part.name != kind:
        raise part.refusal(f"expected a {kind}")
    part.expect("channel mean std", "", "implicit")
    return part.numbers("implicit", (1, channels, 1, 1)).reshape(channels)


def _decode(graph: Graph, maps: Value, sizes: Numbers, head: Head, path: str) -> str:
    """Returns the boxes of one level, (batch, anchors * cells, channels).

    Args:
        graph: is written.
        maps: raw numbers, (batch, anchors * channels, height, width).
        sizes: width and height of each anchor in pixels, (anchors, 2).
        head: what is answered.
        path: of the level.
    """
    step = graph.constant(np.array([2 * maps.stride], np.float32), path + ".step")
    corners = _corners(graph, maps, path)
    first = head.channels - head.keypoints[0] * head.keypoints[1]
    # (batch, anchors, channels, cells): what is cut here lies in one piece
    raw = graph.node("Reshape", [maps.name, graph.integers([0, head.anchors, head.channels, -1])], path + ".raw")
    sure = graph.cut(raw, 0, first, 2, path + ".boxes") if head.keypoints[0] else raw
    sure = graph.node("Sigmoid", [sure], path + ".sigmoid")
    moved = graph.node("Mul", [graph.cut(sure, 0, 2, 2, path + ".xy"), step], path + ".moved")
    parts = [graph.node("Add", [moved, corners], path + ".centre")]
    stretch = graph.cut(sure, 2, 4, 2, path + ".wh")
    stretch = graph.node("Mul", [stretch, stretch], path + ".squared")
    largest = graph.constant((4 * sizes).astype(np.float32).reshape(1, -1, 2, 1), path + ".largest")
    parts.append(graph.node("Mul", [stretch, largest], path + ".size"))
    parts.append(graph.cut(sure, 4, first, 2, path + ".scores"))
    if head.keypoints[0]:
        marks = graph.cut(raw, first, head.channels, 2, path + ".points.raw")
        parts.append(_points(graph, marks, head, (step, corners), path + ".points"))
    columns = graph.node("Concat", parts, path + ".columns", {"axis": 2})
    rows = graph.node("Transpose", [columns], path + ".rows", {"perm": [0, 1, 3, 2]})
    return graph.node("Reshape", [rows, graph.integers([0, -1, head.channels])], path)


def _points(graph: Graph, raw: str, head: Head, place: tuple[str, str], path: str) -> str:
    """Returns the keypoints, (batch, anchors, 3 * points, cells): x and y in pixels and a score a point."""
    points = head.keypoints[0]
    each = graph.node("Reshape", [raw, graph.integers([0, head.anchors, points, 3, -1])], path + ".each")
    step, corners = place
    xy = graph.node("Mul", [graph.cut(each, 0, 2, 3, path + ".xy"), step], path + ".moved")
    xy = graph.node("Add", [xy, corners], path + ".place")
    score = graph.node("Sigmoid", [graph.cut(each, 2, 3, 3, path + ".certain")], path + ".score")
    both = graph.node("Concat", [xy, score], path + ".both", {"axis": 3})
    return graph.node("Reshape", [both, graph.integers([0, head.anchors, 3 * points, -1])], path)


def _corners(graph: Graph, maps: Value, path: str) -> str:
    """Returns where a number of 0 lies, (1, 2, cells): half a cell before each cell, in pixels."""
    if graph.size:
        height, width = graph.size[0] // maps.stride, graph.size[1] // maps.stride
        grid = (np.indices((height, width))[::-1].reshape(1, 2, -1) - 0.5) * maps.stride
        return graph.constant(grid.astype(np.float32), path + ".corners")
    one = graph.constant(np.ones(1, np.float32), path + ".one")
    stride = graph.constant(np.array([maps.stride], np.float32), path + ".stride")
    cells = graph.node("Sub", [centres(graph, maps, path + ".grid")[0], one], path + ".cells")
    return graph.node("Mul", [cells, stride], path + ".corners")


def _part(module: Module, name: str, level: int) -> Module:
    """Returns child number `level` of the list `name`, which has one a level."""
    parts = module.child(name)
    if parts.name != _LIST or len(parts.children()) != module.integer("nl"):
        raise parts.refusal(f"expected a ModuleList of {module.integer('nl')}")
    return parts.children()[level]
