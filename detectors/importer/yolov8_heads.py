"""The heads of Ultralytics YOLOv8 networks: boxes, and with them keypoints or masks.

Source: behaviour of the Ultralytics modules of these names; DFL: Li et al., "Generalized Focal Loss", 2020.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from watchline.detectors.heads.raw_yolov8 import BINS
from watchline.detectors.importer.blocks import Emitter
from watchline.detectors.importer.checkpoint import Numbers
from watchline.detectors.importer.graph import Graph, Value
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.pickled import Global, Record

_BASE: Final = ("ultralytics.nn.modules.Detect", "ultralytics.nn.modules.head.Detect")
_MAX_POINTS: Final = 1000


def detect(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The head: boxes as distributions of distances to four sides, and class scores, one anchor a cell.

    Returns:
        (batch, 4 + classes, anchors): centre x, centre y, width, height in pixels of the network's input, then one
        score in [0, 1] a class. Anchors run level by level, row by row.
    """
    maps = _maps(emitter, module, inputs)
    head = _head(module, inputs)
    if emitter.graph.raw:
        return _raw(emitter, module, maps, head)
    return _finish(emitter, _detections(emitter.graph, module, maps)[0], head)


def pose(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The head with keypoints: as `detect`, then x and y in pixels a point, and its score where it has one."""
    shape = module.value("kpt_shape")
    match shape:
        case [int(points), 2 | 3 as values] if 0 < points <= _MAX_POINTS:
            head = _head(module, inputs, keypoints=(points, values))
        case _:
            raise module.refusal("kpt_shape is not a number of points and 2 or 3")
    _check_base(module)
    maps = _maps(emitter, module, inputs)
    marks = branches(emitter, module.child("cv4"), inputs, points * values)
    graph, path = emitter.graph, module.path
    if graph.raw:
        return _raw(emitter, module, (*maps, marks), head)
    parts, grid, strides = _detections(graph, module, maps)
    raw = _join(graph, marks, f"{path}.keypoints.raw")
    return _finish(emitter, [*parts, _keypoints(graph, raw, points, values, grid, strides, f"{path}.keypoints")], head)


def segment(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The head with masks: as `detect`, then the coefficients of the prototype masks, which are the second output.

    That is (batch, masks, height / 4, width / 4); neither has been through a sigmoid.
    """
    masks = module.integer("nm")
    _check_base(module)
    prototypes = emitter.emit(module.child("proto"), inputs[:1])
    if prototypes.channels != masks or not masks:
        raise module.refusal(f"{prototypes.channels} prototype masks, {masks} coefficients")
    maps = _maps(emitter, module, inputs)
    coefficients = branches(emitter, module.child("cv4"), inputs, masks)
    head = _head(module, inputs, masks=masks, mask_stride=prototypes.stride)
    graph = emitter.graph
    if graph.raw:
        return _raw(emitter, module, (*maps, coefficients), head, prototypes)
    parts, _, _ = _detections(graph, module, maps)
    found = _finish(emitter, [*parts, _join(graph, coefficients, f"{module.path}.coefficients")], head)
    size, stride = graph.size, prototypes.stride
    sides = [size[0] // stride, size[1] // stride] if size else ["mask_height", "mask_width"]
    graph.node("Identity", [prototypes.name], "output1")
    graph.output("output1", ("batch", masks, *sides))
    return found


def _head(
    module: Module, inputs: list[Value], keypoints: tuple[int, int] = (0, 0), masks: int = 0, mask_stride: int = 0
) -> Head:
    strides = tuple(x.stride for x in inputs)
    return Head(module.integer("nc"), strides, keypoints=keypoints, masks=masks, mask_stride=mask_stride)


def _finish(emitter: Emitter, parts: list[str], head: Head) -> Value:
    """Joins the parts of the answer and makes them the network's first output."""
    name = emitter.graph.node("Concat", parts, "output0", {"axis": 1})
    emitter.graph.output(name, ("batch", head.channels, "anchors"))
    emitter.head = head
    return Value(name, head.channels, 1)


def _raw(
    emitter: Emitter, module: Module, maps: tuple[list[Value], ...], head: Head, prototypes: Value | None = None
) -> Value:
    """Makes the last convolutions' maps, joined level by level, the network's outputs, and the prototypes the last."""
    if module.integer("reg_max") != BINS:
        raise module.refusal(f"a raw head of {module.integer('reg_max')} bins; only {BINS} are read")
    graph = emitter.graph
    levels = [graph.concat(parts, f"{module.path}.{level}.raw") for level, parts in enumerate(zip(*maps, strict=True))]
    emitter.head = replace(head, raw=graph.levels(levels + ([prototypes] if prototypes else [])))
    return levels[0]


def _maps(emitter: Emitter, module: Module, inputs: list[Value]) -> tuple[list[Value], list[Value]]:
    """Returns the last maps of boxes (batch, 4 * bins, height, width) and of classes, one a level each."""
    classes, bins, levels = (module.integer(name) for name in ("nc", "reg_max", "nl"))
    if levels != len(inputs) or bins < 2 or not classes:
        raise module.refusal(f"{levels} levels of {len(inputs)}, {bins} bins, {classes} classes")
    for flag in ("end2end", "xyxy"):
        module.require(flag, False)
    check_strides(module, inputs)
    return (
        branches(emitter, module.child("cv2"), inputs, 4 * bins),
        branches(emitter, module.child("cv3"), inputs, classes),
    )


def _detections(graph: Graph, module: Module, maps: tuple[list[Value], list[Value]]) -> tuple[list[str], str, str]:
    """Returns the names of boxes and scores, of the cells' centres and of their strides."""
    path, bins = module.path, module.integer("reg_max")
    sides, classes = maps
    distances = _expected_distances(graph, module.child("dfl"), _join(graph, sides, f"{path}.sides"), bins)
    points, strides = _grid(graph, sides, path)
    scores = graph.node("Sigmoid", [_join(graph, classes, f"{path}.classes")], f"{path}.scores")
    return [_boxes(graph, distances, points, strides, path), scores], points, strides


def check_strides(module: Module, inputs: list[Value]) -> None:
    """Refuses a head that says other strides than its feature maps have; before training it says zeros."""
    said = module.numbers("stride", (len(inputs),))
    if said.any() and (said != [x.stride for x in inputs]).any():
        raise module.refusal(f"its strides are {said.tolist()}, those of its inputs {[x.stride for x in inputs]}")


def _check_base(module: Module) -> None:
    """Refuses a head that keeps another way to detect than that of a Detect; early ones keep that as an attribute."""
    kept = module.value("detect")
    match kept:
        case None:
            return
        case Record(name="builtins.getattr" | "__builtin__.getattr", args=(Global(name=base), "forward")):
            if base in _BASE:
                return
    raise module.refusal("detect is not that of a Detect")


def _keypoints(graph: Graph, raw: str, points: int, values: int, grid: str, strides: str, path: str) -> str:
    """Returns (batch, points * values, anchors): x and y in pixels, then the score if there is one, a point."""
    each = graph.node("Reshape", [raw, graph.integers([0, points, values, -1])], path + ".each")
    half = graph.constant(np.array([0.5], np.float32), path + ".half")
    two = graph.constant(np.array([2.0], np.float32), path + ".two")
    corner = graph.node("Sub", [grid, half], path + ".corner")
    offset = graph.node("Mul", [graph.cut(each, 0, 2, 2, path + ".offset"), two], path + ".twice")
    place = graph.node("Mul", [graph.node("Add", [offset, corner], path + ".cells"), strides], path + ".place")
    if values == 3:
        score = graph.node("Sigmoid", [graph.cut(each, 2, 3, 2, path + ".score.raw")], path + ".score")
        place = graph.node("Concat", [place, score], path + ".both", {"axis": 2})
    return graph.node("Reshape", [place, graph.integers([0, points * values, -1])], path)


def branches(emitter: Emitter, branches: Module, inputs: list[Value], channels: int) -> list[Value]:
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
    weights = dfl.child("conv").numbers("weight", (1, bins, 1, 1)).reshape(bins)
    return expected_distances(graph, sides, weights, dfl.path)


def expected_distances(graph: Graph, sides: str, weights: Numbers, name: str) -> str:
    """Returns (batch, 4, anchors): the mean of each of four distributions.

    Args:
        graph: is written.
        sides: logits, (batch, 4 * bins, anchors).
        weights: what each bin stands for, (bins,).
        name: of the nodes.
    """
    bars = graph.node("Reshape", [sides, graph.integers([0, 4, len(weights), -1])], name + ".bars")
    bars = graph.node("Transpose", [bars], name + ".last", {"perm": [0, 1, 3, 2]})
    bars = graph.node("Softmax", [bars], name + ".softmax", {"axis": 3})
    column = graph.constant(weights.astype(np.float32)[:, None], name + ".weight")
    return graph.node("Squeeze", [graph.node("MatMul", [bars, column], name + ".mean"), graph.integers([3])], name)


def _grid(graph: Graph, maps: list[Value], path: str) -> tuple[str, str]:
    """Returns the names of the centres of all cells (1, 2, anchors), in cells, and of their strides (1, 1, anchors)."""
    points, strides = f"{path}.points", f"{path}.strides"
    if graph.size:
        sizes = [(graph.size[0] // y.stride, graph.size[1] // y.stride) for y in maps]
        middles = [np.indices(size)[::-1].reshape(1, 2, -1) + 0.5 for size in sizes]
        steps = [np.full((1, 1, h * w), y.stride) for (h, w), y in zip(sizes, maps, strict=True)]
        graph.constant(np.concatenate(middles, 2).astype(np.float32), points)
        graph.constant(np.concatenate(steps, 2).astype(np.float32), strides)
        return points, strides
    levels = [centres(graph, y, f"{path}.grid.{number}") for number, y in enumerate(maps)]
    graph.node("Concat", [middle for middle, _ in levels], points, {"axis": 2})
    graph.node("Concat", [step for _, step in levels], strides, {"axis": 2})
    return points, strides


def centres(graph: Graph, y: Value, name: str) -> tuple[str, str]:
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


def placed(graph: Graph, distances: str, maps: list[Value], path: str) -> tuple[str, str, str]:
    """Returns boxes whose sides lie `distances` (batch, 4, anchors) from the centres of the cells of `maps`.

    Returns:
        Names of the boxes (batch, 4, anchors): centre x, centre y, width, height in pixels; of the centres (1, 2,
        anchors) in cells; of the pixels a cell (1, 1, anchors).
    """
    points, strides = _grid(graph, maps, path)
    return _boxes(graph, distances, points, strides, path), points, strides
