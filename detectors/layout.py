"""Decides, in one place, what a network is: who made it says so, or its outputs show it, or the user must.

In this order: our own metadata; the exporter's (Ultralytics, YOLOv5); names and shapes of the outputs; a run on a grey
picture. What none of them can tell apart is refused with what to say. Nothing is guessed: a wrong guess would still
give boxes, but wrong ones.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from watchline.detectors.card import ModelCard
from watchline.detectors.embedder_cards import EMBEDDERS, embedder
from watchline.detectors.family_cards import (
    END_TO_END,
    LANDMARKS,
    LEVEL_SETS,
    LEVELS,
    Facts,
    anchored,
    centerface,
    class_names,
    expect_fits,
    four_outputs,
    omz_ssd,
    rows_of_seven,
    scrfd,
    strides_of,
    yolov6,
    yolox,
    yunet,
)
from watchline.detectors.heads.cells import cell_count
from watchline.detectors.heads.raw_yolov8 import BINS
from watchline.detectors.licences import spdx
from watchline.streams.errors import ModelError, UsageError

_PERSON: Final = (17, 3)  # COCO's keypoints of a person
_FACE: Final = (5, 3)

FAMILIES: Final = (
    "yolov5",
    "yolov6",
    "yolov6-face",
    "yolov7",
    "yolov7-face",
    "yolov7-pose",
    "yolov8",
    "yolov8-face",
    "yolov8-pose",
    "yolox",
    "scrfd",
    "yunet",
    "centerface",
    "omz-ssd",
    "omz-ssd-person",
    "omz-ssd-face",
    *EMBEDDERS,
)


def decide(facts: Facts, family: str = "") -> ModelCard:
    """Returns what the network is and how it is fed and read.

    Args:
        facts: what it shows of itself.
        family: what the user says it is, one of `FAMILIES`; "" for nothing.

    Raises:
        ModelError: it is none that can be read, or it cannot be told which; the message names what settles it.
        UsageError: an unknown family, or one that contradicts what the file says.
    """
    if family and family not in FAMILIES:
        raise UsageError(f"--family {family}: want one of {', '.join(FAMILIES)}")
    if ModelCard.is_in(facts.metadata):
        card = ModelCard.from_metadata(facts.metadata)
        return _agreed(card if card.outputs else replace(card, outputs=_outputs(card, facts)), family)
    labels = _labels(facts.metadata)
    if labels and "task" in facts.metadata:
        return _agreed(_ultralytics(facts, labels), family)
    if family:
        return _as_said(facts, family, labels)
    return _by_names(facts) or _by_shapes(facts, labels)


def _agreed(card: ModelCard, family: str) -> ModelCard:
    """Returns `card` where what the user says is what the file says."""
    if family not in ("", card.family, f"{card.family}-{card.task}"):
        raise UsageError(f"--family {family}: the file says that it is a {card.family} {card.task} model; leave it out")
    return card


# What the exporter says.


def _labels(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the class names that Ultralytics and YOLOv5 write, a dict or a list; () where there are none."""
    if "names" not in metadata:
        return ()
    names = _literal(metadata["names"])
    try:
        labels = tuple("".join(c for c in str(names[i]) if c.isprintable()) for i in range(len(names)))
    except (KeyError, TypeError) as error:
        raise _damaged(error) from error
    if not labels:
        raise _damaged(ValueError("no class names"))
    return labels


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise _damaged(ValueError(f"{text[:80]} is no plain value")) from error


def _damaged(error: Exception) -> ModelError:
    return ModelError(f"model metadata is damaged: {error!r}; import or export the model again")


def _ultralytics(facts: Facts, labels: tuple[str, ...]) -> ModelCard:
    """Returns the card of an Ultralytics export: its metadata says all but how far its outputs are worked out."""
    metadata = facts.metadata
    task = metadata["task"]
    if task not in ("detect", "pose", "segment"):
        raise ModelError(f"a model for the task {task!r}; this version runs detect, pose and segment models")
    try:
        most = int(metadata.get("stride", "32"))
    except ValueError as error:
        raise _damaged(error) from error
    keypoints = (0, 0)
    if task == "pose":
        keypoints = _keypoint_shape(metadata.get("kpt_shape", "None"))
        # Faces are trained as poses of five points; the name of the one class is all that tells them from others.
        if keypoints[0] == _FACE[0] and labels == ("face",):
            task = "face"
    if labels == tuple(str(i) for i in range(len(labels))):  # a number is what stands where a name got lost
        labels = class_names((), len(labels), task)
    strides = tuple(stride for stride in (8, 16, 32, 64) if stride <= most)
    card = ModelCard("yolov8", task, labels, strides, licence=spdx(metadata.get("license")), keypoints=keypoints)
    try:
        card.check()
    except ValueError as error:
        raise _damaged(error) from error
    return _yolov8_layout(facts, card)


def _keypoint_shape(text: str) -> tuple[int, int]:
    shape = _literal(text)
    match shape:
        case [int(points), 2 | 3 as numbers] if 0 < points <= 1000:
            return points, numbers
    raise _damaged(ValueError(f"kpt_shape {shape!r}"))


def _yolov8_layout(facts: Facts, card: ModelCard) -> ModelCard:
    """Returns the card with its layout and outputs, found by shape."""
    extra = card.keypoints[0] * card.keypoints[1]
    first = next(iter(facts.shapes.values()))
    masks = 0
    if card.task == "segment":
        extra = masks = _prototypes(facts)
    outputs = facts.names[: 2 if masks else 1]
    if len(first) == 3 and first[1] == 4 + len(card.labels) + extra:
        return replace(card, layout="decoded", outputs=outputs)
    if len(first) == 3 and first[2] == 6 + extra:
        return replace(card, layout="finished", outputs=outputs)
    raw = _raw_levels(facts)
    if raw and not masks and facts.shapes[raw[0]][1] == 4 * BINS + len(card.labels) + extra:
        strides = tuple(facts.size[0] // facts.shapes[name][2] for name in raw)
        return replace(card, layout="raw", outputs=raw, strides=strides)
    raise ModelError(
        f"outputs {facts.shown()} are not those of a YOLOv8 {card.task} model with {len(card.labels)} classes; "
        "export it again, or import its checkpoint"
    )


def _prototypes(facts: Facts) -> int:
    """Returns how many prototypes the second output holds."""
    shapes = list(facts.shapes.values())
    if len(shapes) < 2 or len(shapes[1]) != 4:
        raise ModelError(f"a segmenting model without prototypes: its outputs are {facts.shown()}; export it again")
    return shapes[1][1]


def _raw_levels(facts: Facts) -> tuple[str, ...]:
    """Returns the outputs that are maps (1, channels, h, w), finest first, where they look like a head's levels."""
    maps = {name: shape for name, shape in facts.shapes.items() if len(shape) == 4 and shape[2] and shape[3]}
    names = sorted(maps, key=lambda name: -maps[name][2])
    heights = [maps[name][2] for name in names]
    halved = all(low * 2 == high for high, low in pairwise(heights))
    if len(names) < 2 or not halved or len({maps[name][1] for name in names}) != 1:
        return ()
    return tuple(names)


def _outputs(card: ModelCard, facts: Facts) -> tuple[str, ...]:
    """Returns the outputs that a card of ours, which names none, means."""
    if card.layout == "raw":
        if card.family in ("yolov5", "yolov7", "yolov8"):
            ranked = sorted(facts.shapes.items(), key=lambda item: -int(np.prod(item[1][1:])))
            return tuple(name for name, _ in ranked[: len(card.strides)])
        return facts.names
    return facts.names[: 2 if card.task == "segment" else 1]


# What names and shapes show.


def _by_names(facts: Facts) -> ModelCard | None:
    if "cls_8" in facts.shapes and "obj_8" in facts.shapes:
        return yunet(facts)
    if END_TO_END[0] in facts.shapes:
        return four_outputs(facts, "", ())
    return None


def _by_shapes(facts: Facts, labels: tuple[str, ...]) -> ModelCard:
    shapes = list(facts.shapes.values())
    if len(shapes) in (6, 9) and {shape[-1:] for shape in shapes} <= {(1,), (4,), (10,)}:
        return scrfd(facts)
    if [shape[1:2] for shape in shapes] == [(1,), (2,), (2,), (10,)] and len({shape[2:] for shape in shapes}) == 1:
        return centerface(facts)
    first = shapes[0]
    if len(first) == 2 and first[1] == 7 and len(shapes) == 1:
        return rows_of_seven(facts, labels)
    if len(first) == 4 and len(shapes) == 1 and first[:2] == (1, 1) and first[3] == 7:
        raise ModelError(
            f"the model does not say what it is, and its outputs {facts.shown()} look like an SSD's of the Open Model "
            "Zoo; if it is one, say --family omz-ssd-person or omz-ssd-face where it finds one kind, else omz-ssd"
        )
    if len(first) == 3:
        cells = {cell_count(facts.size, levels): levels for levels in LEVEL_SETS}
        if first[2] in cells and first[1] < first[2]:
            return _bare_yolov8(facts, labels)
        if first[1] in (3 * count for count in cells):
            return _bare_anchored(facts, labels)
        if first[1] in cells and first[2] > 5:
            return _anchor_free(facts, labels)
    if len(shapes) == 1 and len(first) == 2 and first[0] == 1:
        raise ModelError(
            f"its one output {facts.shown()} is a vector a picture: it compares pictures, and finds nothing in them"
        )
    if _raw_levels(facts):
        raise ModelError(
            f"raw outputs {facts.shown()} and no word of what they mean; import its checkpoint with "
            "`watchline models import FILE`, export it decoded, or, where it is one, say --family yolov8, yolov8-face "
            "or yolov8-pose"
        )
    raise ModelError(
        f"the model does not say what it is, and its outputs {facts.shown()} are not those of a known detector; import "
        "its checkpoint with `watchline models import FILE`, or say --family NAME"
    )


def _bare_yolov8(facts: Facts, labels: tuple[str, ...]) -> ModelCard:
    channels = next(iter(facts.shapes.values()))[1]
    if len(facts.shapes) > 1 and any(len(shape) == 4 for shape in facts.shapes.values()):
        return _said_yolov8(facts, "segment", (0, 0), labels)
    if not labels and channels in (4 + 1 + 17 * 3, 4 + 1 + 5 * 3):
        points = (channels - 5) // 3
        raise ModelError(
            f"{channels} channels may be {channels - 4} classes, or one class with {points} points; "
            f"say --family yolov8 or --family yolov8-{'pose' if points == 17 else 'face'}"
        )
    return _said_yolov8(facts, "detect", (0, 0), labels)


def _bare_anchored(facts: Facts, labels: tuple[str, ...]) -> ModelCard:
    channels = next(iter(facts.shapes.values()))[2]
    if not labels and channels in (5 + 1 + 17 * 3, 5 + 1 + 5 * 3):
        points = (channels - 6) // 3
        raise ModelError(
            f"{channels} numbers a box may be {channels - 5} classes, or one class with {points} points; say "
            f"--family yolov7 or --family yolov7-{'pose' if points == 17 else 'face'}"
        )
    return anchored(facts, "yolov5" if labels else "yolov7", "detect", (0, 0), labels)


def _anchor_free(facts: Facts, labels: tuple[str, ...]) -> ModelCard:
    """Tells YOLOX from YOLOv6, whose outputs have one shape, by what they make of a grey picture."""
    for task in ("detect", "face"):
        if _is_yolov6(facts, task):
            return yolov6(facts, task, labels)
    if _is_raw(facts):
        return yolox(facts, labels, "raw")
    raise ModelError(
        f"outputs {facts.shown()} may be YOLOX's or another's, and how to feed it cannot be told; say "
        "--family yolox or --family yolov6"
    )


def _is_yolov6(facts: Facts, task: str) -> bool:
    """Returns whether it puts a one, as YOLOv6 does, where other networks put how sure they are of an object."""
    rows = next(iter(facts.probe().values()))
    column = 4 + (LANDMARKS[0] * LANDMARKS[1] if task == "face" else 0)
    return rows.shape[-1] > column + 1 and bool((rows[..., column] == 1).all())


def _is_raw(facts: Facts) -> bool:
    """Returns whether box centres count from their cells: none is then far from zero, while most pixels are."""
    return bool(np.abs(next(iter(facts.probe().values()))[..., :2]).max() < max(LEVELS))


# What the user says.


def _as_said(facts: Facts, family: str, labels: tuple[str, ...]) -> ModelCard:
    """Returns the card of a network that is of `family` because the user says so."""
    if family in EMBEDDERS:
        return embedder(facts, family)
    if family.startswith("omz-ssd"):
        return omz_ssd(facts, family.removeprefix("omz-ssd").removeprefix("-"), labels)
    base, _, task = family.partition("-")
    keypoints = {"pose": _PERSON, "face": _FACE}.get(task, (0, 0))
    if any(facts.keypoints):
        keypoints = (facts.keypoints[0], facts.keypoints[1])
    first = next(iter(facts.shapes.values()))
    if END_TO_END[0] in facts.shapes:
        return four_outputs(facts, family, labels)
    if base == "yunet":
        return yunet(facts)
    if base == "centerface":
        return centerface(facts)
    if base == "scrfd":
        return scrfd(facts)
    if base == "yolov8":
        masks = not task and len(facts.shapes) == 2 and len(list(facts.shapes.values())[1]) == 4 and len(first) == 3
        return _said_yolov8(facts, "segment" if masks else task or "detect", keypoints, labels)
    if base in ("yolov5", "yolov7"):
        if len(first) == 2 and first[1] == 7:
            return rows_of_seven(facts, labels)
        return anchored(facts, base, task or "detect", keypoints, labels)
    if base == "yolov6":
        card = yolov6(facts, task or "detect", labels)
        expect_fits(facts, family, not task or _is_yolov6(facts, task), "box, landmarks, a one and classes")
        return card
    expect_fits(facts, "yolox", len(first) == 3 and first[1] > 0 and first[2] > 5, "(1, cells, 5 + classes)")
    return yolox(facts, labels, "raw" if _is_raw(facts) else "decoded")


def _said_yolov8(facts: Facts, task: str, keypoints: tuple[int, int], labels: tuple[str, ...]) -> ModelCard:
    shape = next(iter(facts.shapes.values()))
    extra = _prototypes(facts) if task == "segment" else keypoints[0] * keypoints[1]
    expect_fits(facts, f"yolov8 {task}", len(shape) in (3, 4), f"(1, 4 + classes + {extra}, cells)")
    classes = shape[1] - (4 if len(shape) == 3 else 4 * BINS) - extra
    expect_fits(facts, f"yolov8 {task}", classes > 0, f"(1, 4 + classes + {extra}, cells)")
    strides = strides_of(facts, "yolov8", shape[2], 1) if len(shape) == 3 else LEVELS
    card = ModelCard("yolov8", task, class_names(labels, classes, task), strides, keypoints=keypoints)
    return _yolov8_layout(facts, card)
