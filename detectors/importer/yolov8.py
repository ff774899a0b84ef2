"""The blocks of Ultralytics YOLOv8 detection networks, and of YOLOv5u, which shares their head.

Source: behaviour of the Ultralytics modules of these names; DFL: Li et al., "Generalized Focal Loss", 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchline.detectors.importer.blocks import Block, Emitter, convolution
from watchline.detectors.importer.graph import Graph, Value
from watchline.detectors.importer.modules import Module


def conv(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """Convolution, batch normalisation, activation."""
    return _conv_parts(emitter, module, inputs[0], ("",))[0]


def _conv_parts(emitter: Emitter, module: Module, x: Value, parts: tuple[str, ...]) -> list[Value]:
    """Adds a Conv whose output channels are dealt out to several maps."""
    maps = convolution(emitter, module.child("conv"), x, module.child("bn"), parts)
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


def detect(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The head: boxes as distributions of distances to four sides, and class scores, one anchor a cell.

    Returns:
        (batch, 4 + classes, anchors): centre x, centre y, width, height in pixels of the network's input, then one
        score in [0, 1] a class. Anchors run level by level, row by row.
    """
    classes, bins, levels = (module.integer(name) for name in ("nc", "reg_max", "nl"))
    if levels != len(inputs) or bins < 2 or not classes:
        raise module.refusal(f"{levels} levels of {len(inputs)}, {bins} bins, {classes} classes")
    for flag in ("end2end", "xyxy"):
        module.require(flag, False)
    _check_strides(module, inputs)
    graph, path = emitter.graph, module.path
    sides = _branches(emitter, module.child("cv2"), inputs, 4 * bins)
    distances = _expected_distances(graph, module.child("dfl"), _join(graph, sides, f"{path}.sides"), bins)
    points, strides = _grid(graph, sides, path)
    scores = _join(graph, _branches(emitter, module.child("cv3"), inputs, classes), f"{path}.classes")
    scores = graph.node("Sigmoid", [scores], f"{path}.scores")
    boxes = _boxes(graph, distances, points, strides, path)
    return Value(graph.node("Concat", [boxes, scores], "output0", {"axis": 1}), 4 + classes, 1)


def _check_strides(module: Module, inputs: list[Value]) -> None:
    """Refuses a head that says other strides than its feature maps have; before training it says zeros."""
    said = module.numbers("stride", (len(inputs),))
    if said.any() and (said != [x.stride for x in inputs]).any():
        raise module.refusal(f"its strides are {said.tolist()}, those of its inputs {[x.stride for x in inputs]}")


def _branches(emitter: Emitter, branches: Module, inputs: list[Value], channels: int) -> list[Value]:
    """Returns the last map (batch, channels, height, width) of each branch, one a level."""
    children = branches.children()
    if branches.name != "torch.nn.modules.container.ModuleList" or len(children) != len(inputs):
        raise branches.refusal(f"expected a ModuleList of {len(inputs)} branches")
    maps = [emitter.emit(child, [x]) for child, x in zip(children, inputs, strict=True)]
    if any(y.channels != channels or y.stride != x.stride for x, y in zip(inputs, maps, strict=True)):
        raise branches.refusal(f"its branches do not end in {channels} channels")
    return maps


def _join(graph: Graph, maps: list[Value], name: str) -> str:
    """Returns all cells of all levels, (batch, channels, anchors)."""
    shape = graph.integers([0, maps[0].channels, -1])
    flat = [graph.node("Reshape", [y.name, shape], f"{name}.{level}") for level, y in enumerate(maps)]
    return graph.node("Concat", flat, name, {"axis": 2})


def _expected_distances(graph: Graph, dfl: Module, sides: str, bins: int) -> str:
    """Returns the mean of each side's distribution, (batch, 4, anchors), in cells."""
    if dfl.name.rpartition(".")[2] != "DFL" or dfl.integer("c1") != bins:
        raise dfl.refusal(f"expected a DFL of {bins} bins")
    dfl.expect("c1", "conv", "")
    weights = dfl.child("conv").numbers("weight", (1, bins, 1, 1)).reshape(bins, 1).astype(np.float32)
    name = dfl.path
    bars = graph.node("Reshape", [sides, graph.integers([0, 4, bins, -1])], name + ".bars")
    bars = graph.node("Transpose", [bars], name + ".last", {"perm": [0, 1, 3, 2]})
    bars = graph.node("Softmax", [bars], name + ".softmax", {"axis": 3})
    means = graph.node("MatMul", [bars, graph.constant(weights, name + ".weight")], name + ".mean")
    return graph.node("Squeeze", [means, graph.integers([3])], name)


def _grid(graph: Graph, maps: list[Value], path: str) -> tuple[str, str]:
    """Returns the names of the centres of all cells (1, 2, anchors), in cells, and of their strides (1, 1, anchors)."""
    points, strides = f"{path}.points", f"{path}.strides"
    if graph.size:
        sizes = [(graph.size[0] // y.stride, graph.size[1] // y.stride) for y in maps]
        centres = [np.indices(size)[::-1].reshape(1, 2, -1) + 0.5 for size in sizes]
        steps = [np.full((1, 1, h * w), y.stride) for (h, w), y in zip(sizes, maps, strict=True)]
        graph.constant(np.concatenate(centres, 2).astype(np.float32), points)
        graph.constant(np.concatenate(steps, 2).astype(np.float32), strides)
        return points, strides
    levels = [_level(graph, y, f"{path}.grid.{level}") for level, y in enumerate(maps)]
    graph.node("Concat", [level[0] for level in levels], points, {"axis": 2})
    graph.node("Concat", [level[1] for level in levels], strides, {"axis": 2})
    return points, strides


def _level(graph: Graph, y: Value, name: str) -> tuple[str, str]:
    """Returns the centres (1, 2, cells) and strides (1, 1, cells) of one level, computed when the network runs.

    The sizes are read from the last map of a branch: ONNX Runtime keeps earlier ones in another memory layout and
    would convert a whole map to tell its shape.
    """
    size = graph.node("Shape", [y.name], name + ".size", {"start": 2, "end": 4})
    one = graph.constant(np.ones((1, 1, 1, 1), np.float32), name + ".one")
    ones = graph.node("Expand", [one, size], name + ".ones")  # (1, 1, height, width)
    half = graph.constant(np.array([0.5], np.float32), name + ".half")
    flat = graph.integers([1, 1, -1])
    axes = []
    for axis, letter in ((3, "x"), (2, "y")):
        counted = graph.node("CumSum", [ones, graph.integers([axis])], f"{name}.{letter}.count")
        centre = graph.node("Sub", [counted, half], f"{name}.{letter}.centre")
        axes.append(graph.node("Reshape", [centre, flat], f"{name}.{letter}"))
    points = graph.node("Concat", axes, name + ".points", {"axis": 1})
    step = graph.constant(np.array([y.stride], np.float32), name + ".stride")
    steps = graph.node("Mul", [graph.node("Reshape", [ones, flat], name + ".flat"), step], name + ".strides")
    return points, steps


def _boxes(graph: Graph, distances: str, points: str, strides: str, path: str) -> str:
    """Returns (batch, 4, anchors): centre x, centre y, width, height in pixels of the network's input."""
    one, two, four, zero = (graph.integers([n]) for n in (1, 2, 4, 0))
    before = graph.node("Slice", [distances, zero, two, one], path + ".before")
    after = graph.node("Slice", [distances, two, four, one], path + ".after")
    start = graph.node("Sub", [points, before], path + ".start")
    end = graph.node("Add", [points, after], path + ".end")
    half = graph.constant(np.array([0.5], np.float32), path + ".half")
    centre = graph.node("Mul", [graph.node("Add", [start, end], path + ".sum"), half], path + ".centre")
    size = graph.node("Sub", [end, start], path + ".span")
    cells = graph.node("Concat", [centre, size], path + ".cells", {"axis": 1})
    return graph.node("Mul", [cells, strides], path + ".boxes")


def _with_old_names(blocks: Mapping[str, Block]) -> dict[str, Block]:
    """Returns `blocks` by package-relative name under their dotted names, and those of the first 8.0 releases."""
    package = "ultralytics.nn.modules."
    new = {package + name: block for name, block in blocks.items()}
    return new | {package + name.rpartition(".")[2]: block for name, block in blocks.items()}


YOLOV8_BLOCKS: Final[Mapping[str, Block]] = _with_old_names(
    {
        "block.Bottleneck": Block(bottleneck, attributes="add", children="cv1 cv2"),
        "block.C2f": Block(c2f, attributes="c", children="cv1 cv2 m"),
        "block.C3": Block(c3, children="cv1 cv2 cv3 m"),
        "block.SPPF": Block(sppf, attributes="n add", children="cv1 cv2 m"),
        "conv.Concat": Block(concat, attributes="d", inputs=0),
        "conv.Conv": Block(conv, children="conv bn act"),
        "head.Detect": Block(
            detect,
            attributes="nc nl reg_max no stride anchors strides shape dynamic export format end2end legacy max_det "
            "xyxy agnostic_nms",
            children="cv2 cv3 dfl",
            inputs=0,
        ),
    }
)
