"""The heads of YOLOv6 networks: one box a cell, and with it a face's landmarks.

Source: behaviour of the modules of these names in the authors' programs, main branch and face branch; distributions of
distances: Li et al., "Generalized Focal Loss", 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from watchline.detectors.importer.blocks import Block, Emitter
from watchline.detectors.importer.checkpoint import Numbers
from watchline.detectors.importer.graph import Graph, Value
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.modules import Module
from watchline.detectors.importer.yolov8_heads import check_strides, expected_distances, placed

_LIST: Final = "torch.nn.modules.container.ModuleList"
_POINTS: Final = 5  # of a face
_FIXED: Final = 5  # numbers a row besides classes and points: the box, and a one


def detect(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The head: distances to four sides, as they are or as distributions, and class scores, one box a cell.

    What else such heads hold, boxes of anchors or distributions to learn from, serves training only.

    Returns:
        (batch, cells, 5 + classes): centre x, centre y, width, height in pixels of the network's input, a one, then one
        score in [0, 1] a class. Of a face also x and y in pixels of five points, right behind the box. Cells run level
        by level, row by row.
    """
    weights = None
    if module.value("use_dfl") not in (True, False):
        raise module.refusal("use_dfl is not true or false")
    if module.value("use_dfl"):
        bins = module.integer("reg_max") + 1
        weights = module.child("proj_conv").numbers("weight", (1, bins, 1, 1)).reshape(bins)
        if module.child("proj_conv").has("bias"):
            raise module.refusal("its distributions have a bias")
    return _detect(emitter, module, inputs, weights)


def detect_by_distances(emitter: Emitter, module: Module, inputs: list[Value]) -> Value:
    """The same without distributions: it has none, or learnt from them only."""
    return _detect(emitter, module, inputs, None)


def _detect(emitter: Emitter, module: Module, inputs: list[Value], weights: Numbers | None) -> Value:
    """Adds the whole head; `weights` (bins,) are what each bin of a distribution stands for, None for distances."""
    head = _head(module, inputs, weights)
    graph, path = emitter.graph, module.path
    if graph.raw:
        raise module.refusal("raw heads of YOLOv6 are not read; import it with boxes worked out")
    stems = _each(emitter, module, "stems", inputs)
    classes = _each(emitter, module, "cls_preds", _each(emitter, module, "cls_convs", stems), head.classes)
    distances = 4 * (1 if weights is None else len(weights))
    numbers = distances + 2 * head.keypoints[0]
    sides = _each(emitter, module, "reg_preds", _each(emitter, module, "reg_convs", stems), numbers)
    raw = _join(graph, sides, path + ".sides")
    first = graph.cut(raw, 0, distances, 1, path + ".distances") if head.keypoints[0] else raw
    if weights is not None:
        first = expected_distances(graph, first, weights, path + ".means")
    boxes, cells, strides = placed(graph, first, sides, path)
    parts = [boxes]
    if head.keypoints[0]:
        marks = graph.cut(raw, distances, numbers, 1, path + ".marks.raw")
        parts.append(_points(graph, marks, cells, strides, path + ".marks"))
    scores = graph.node("Sigmoid", [_join(graph, classes, path + ".classes")], path + ".scores")
    parts += [_ones(graph, scores, path + ".one"), scores]
    columns = graph.node("Concat", parts, path + ".columns", {"axis": 1})
    name = graph.node("Transpose", [columns], "output0", {"perm": [0, 2, 1]})
    graph.output(name, ("batch", "anchors", head.channels))
    emitter.head = head
    return Value(name, head.channels, 1)


def _head(module: Module, inputs: list[Value], weights: Numbers | None) -> Head:
    """Returns what the head answers; faces differ from other objects in the numbers a row that it says."""
    classes, levels = module.integer("nc"), module.integer("nl")
    more = module.integer("no") - classes - _FIXED
    if levels != len(inputs) or not classes or more not in (0, 2 * _POINTS):
        raise module.refusal(f"{levels} levels of {len(inputs)}, {classes} classes, {module.integer('no')} numbers")
    module.require("export", False)
    module.require("grid_cell_offset", 0.5)
    check_strides(module, inputs)
    return Head(
        classes,
        tuple(x.stride for x in inputs),
        points_first=bool(more),
        unbounded=weights is None,
        anchors=1,
        keypoints=(_POINTS, 2) if more else (0, 0),
    )


def _each(emitter: Emitter, module: Module, name: str, inputs: list[Value], channels: int = 0) -> list[Value]:
    """Sends each level through its own part of the list `name`, which ends in `channels`, 0 for any number."""
    parts = module.child(name)
    if parts.name != _LIST or len(parts.children()) != len(inputs):
        raise parts.refusal(f"expected a ModuleList of {len(inputs)}")
    maps = [emitter.emit(part, [x]) for part, x in zip(parts.children(), inputs, strict=True)]
    if any(y.stride != x.stride or channels not in (0, y.channels) for x, y in zip(inputs, maps, strict=True)):
        raise parts.refusal(f"its parts do not end in {channels or 'maps of their own size'}")
    return maps


def _join(graph: Graph, maps: list[Value], name: str) -> str:
    """Returns all cells of all levels, (batch, channels, cells)."""
    shape = graph.integers([0, maps[0].channels, -1])
    flat = [graph.node("Reshape", [x.name, shape], f"{name}.{level}") for level, x in enumerate(maps)]
    return graph.node("Concat", flat, name, {"axis": 2})


def _points(graph: Graph, raw: str, cells: str, strides: str, path: str) -> str:
    """Returns the landmarks, (batch, 2 * points, cells), in pixels; they count in cells from the middle of a cell."""
    each = graph.node("Reshape", [raw, graph.integers([0, _POINTS, 2, -1])], path + ".each")
    place = graph.node("Add", [each, cells], path + ".cells")
    place = graph.node("Mul", [place, strides], path + ".place")
    return graph.node("Reshape", [place, graph.integers([0, 2 * _POINTS, -1])], path)


def _ones(graph: Graph, scores: str, path: str) -> str:
    """Returns (batch, 1, cells) of ones: what stands for how sure other networks are that there is an object."""
    shape = graph.node("Shape", [scores], path + ".shape")
    sizes = [
        graph.cut(shape, 0, 1, 0, path + ".batch"),
        graph.integers([1]),
        graph.cut(shape, 2, 3, 0, path + ".cells"),
    ]
    size = graph.node("Concat", sizes, path + ".size", {"axis": 0})
    return graph.node("Expand", [graph.constant(np.ones((1, 1, 1), np.float32), path + ".single"), size], path)


_LISTS: Final = "stems cls_convs reg_convs cls_preds reg_preds"
_ATTRIBUTES: Final = "nc no nl grid prior_prob stride export grid_cell_offset grid_cell_size"
_DISTRIBUTIONS: Final = _ATTRIBUTES + " use_dfl reg_max"
YOLOV6_HEADS: Final[Mapping[str, Block]] = {
    "yolov6.models.effidehead.Detect": Block(
        detect, attributes=_DISTRIBUTIONS + " na anchors", children=_LISTS + " proj_conv", tensors="proj", inputs=0
    ),
    "yolov6.models.heads.effidehead_distill_ns.Detect": Block(
        detect_by_distances,
        attributes=_DISTRIBUTIONS,
        children=_LISTS + " reg_preds_dist proj_conv",
        tensors="proj",
        inputs=0,
    ),
    "yolov6.models.heads.effidehead_fuseab.Detect": Block(
        detect,
        attributes=_DISTRIBUTIONS + " na anchors_init",
        children=_LISTS + " cls_preds_ab reg_preds_ab proj_conv",
        tensors="proj",
        inputs=0,
    ),
    "yolov6.models.heads.effidehead_lite.Detect": Block(
        detect_by_distances, attributes=_ATTRIBUTES, children=_LISTS, inputs=0
    ),
}
