"""The cards of networks whose family is known: strides, classes and feeding, read off the shapes of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.classes import COCO
from watchline.detectors.heads.cells import cell_count
from watchline.streams.errors import ModelError

LEVELS: Final = (8, 16, 32)
LANDMARKS: Final = (5, 2)  # of a face, and numbers each
END_TO_END: Final = ("num_dets", "det_boxes", "det_scores", "det_classes")
LEVEL_SETS: Final = (LEVELS, (8, 16, 32, 64), (4, 8, 16, 32))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a network shows of itself.

    Attributes:
        metadata: of the file.
        shapes: of each output for one picture of `size`, batch dimension included.
        size: height and width of the network's input, pixels.
        probe: runs one grey picture of `size` and returns each output, batch dimension included.
        anchors: what a person says that the anchor boxes of a raw head are: widths and heights, pixels; else empty.
        keypoints: what a person says of its points, as `ModelCard.keypoints`; else (0, 0).
    """

    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    size: tuple[int, int]
    probe: Callable[[], Mapping[str, F32]]
    anchors: tuple[float, ...] = ()
    keypoints: tuple[int, ...] = (0, 0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs, in the network's order."""
        return tuple(self.shapes)

    @property
    def first(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return next(iter(self.shapes.values()))

    def shown(self) -> str:
        """Returns the outputs as a reader wants them: names and shapes."""
        parts = [f"{name} {shape}" for name, shape in list(self.shapes.items())[:4]]
        return ", ".join(parts) + (f", ... ({len(self.shapes)} in all)" if len(self.shapes) > 4 else "")


def anchored(facts: Facts, family: str, task: str, keypoints: tuple[int, int], labels: tuple[str, ...]) -> ModelCard:
    """Returns the card of a YOLOv5 or v7: decoded rows of box, objectness, classes and points, three anchors a cell."""
    shape = next(iter(facts.shapes.values()))
    if len(shape) in (4, 5):
        return _raw_anchored(facts, family, task, keypoints, labels)
    expect_fits(facts, family, len(shape) == 3, "(1, anchors, 5 + classes + points)")
    classes = shape[2] - 5 - keypoints[0] * keypoints[1]
    expect_fits(facts, family, classes > 0, "(1, anchors, 5 + classes + points)")
    strides = strides_of(facts, family, shape[1], 3)
    names = class_names(labels, classes, task)
    return ModelCard(family, task, names, strides, keypoints=keypoints, outputs=facts.names[:1], iou=0.45)


def _raw_anchored(
    facts: Facts, family: str, task: str, keypoints: tuple[int, int], labels: tuple[str, ...]
) -> ModelCard:
    """Returns the card of a YOLOv5 or v7 that ends at its last convolutions, of whose anchors somebody must tell."""
    want = "(1, 3 * (5 + classes + points), h, w) or (1, 3, h, w, 5 + classes + points) a level"
    heights = {name: shape[2] for name, shape in facts.shapes.items() if len(shape) == len(facts.first)}
    expect_fits(facts, family, len(heights) in (3, 4) and all(heights.values()), want)
    outputs = tuple(sorted(heights, key=lambda name: -heights[name]))
    strides = tuple(facts.size[0] // heights[name] for name in outputs)
    if not facts.anchors or len(facts.anchors) % (2 * len(outputs)):
        raise ModelError(
            f"outputs {facts.shown()} are raw, and their anchors are not in the file; import its checkpoint with "
            f"`watchline models import FILE`, export it decoded, or say `anchors` ({len(outputs)} levels) in a manifest"
        )
    each = len(facts.anchors) // (2 * len(outputs))
    numbers, rest = (facts.first[4], 0) if len(facts.first) == 5 else divmod(facts.first[1], each)
    classes = numbers - 5 - keypoints[0] * keypoints[1]
    expect_fits(facts, family, classes > 0 and not rest and strides in LEVEL_SETS, want)
    return ModelCard(
        family,
        task,
        class_names(labels, classes, task),
        strides,
        keypoints=keypoints,
        layout="raw",
        anchors=facts.anchors,
        outputs=outputs,
        iou=0.45,
    )


def rows_of_seven(facts: Facts, labels: tuple[str, ...]) -> ModelCard:
    """Returns the card of a YOLOv7 export that suppresses by itself: rows of picture, box, class and score."""
    if not labels:
        raise _nameless(facts, "yolov7")
    return ModelCard("yolov7", "detect", labels, LEVELS, layout="finished", outputs=facts.names[:1], batched=False)


def four_outputs(facts: Facts, family: str, labels: tuple[str, ...]) -> ModelCard:
    """Returns the card of a YOLOv6 or YOLOv7 export that suppresses by itself and answers num_dets and three more."""
    if family not in ("yolov6", "yolov7"):
        raise ModelError(
            f"a network that suppresses by itself ({facts.shown()}); of those with such outputs YOLOv6's and YOLOv7's "
            "are read: say --family yolov6 or --family yolov7, or export it without end-to-end suppression"
        )
    if not labels:
        raise _nameless(facts, family)
    missing = [name for name in END_TO_END if name not in facts.shapes]
    expect_fits(facts, family, not missing, ", ".join(END_TO_END))
    return ModelCard(family, "detect", labels, LEVELS, layout="finished", outputs=END_TO_END, batched=False)


def _nameless(facts: Facts, family: str) -> ModelError:
    """Returns the error that says that a finished network hides its classes."""
    return ModelError(
        f"a finished {family.replace('yolo', 'YOLO')} network ({facts.shown()}) does not say how many classes it has, "
        "nor their names; export it without end-to-end suppression, import its checkpoint, or write the names into its "
        'metadata, as a list under "names"'
    )


def yolov6(facts: Facts, task: str, labels: tuple[str, ...]) -> ModelCard:
    """Returns the card of a YOLOv6: decoded rows of box, of a face's landmarks, a one, and classes, one row a cell."""
    shape, points = next(iter(facts.shapes.values())), LANDMARKS if task == "face" else (0, 0)
    first = 5 + points[0] * points[1]
    expect_fits(facts, f"yolov6 {task}", len(shape) == 3 and shape[2] > first, f"(1, cells, {first} + classes)")
    strides = strides_of(facts, "yolov6", shape[1], 1)
    names = class_names(labels, shape[2] - first, task)
    return ModelCard("yolov6", task, names, strides, keypoints=points, outputs=facts.names[:1], iou=0.45)


def yolox(facts: Facts, labels: tuple[str, ...], layout: str) -> ModelCard:
    """Returns the card of a YOLOX, whose boxes are "raw" or "decoded"."""
    _, rows, numbers = next(iter(facts.shapes.values()))
    return ModelCard(
        "yolox",
        "detect",
        class_names(labels, numbers - 5, "detect"),
        strides_of(facts, "yolox", rows, 1),
        colour="bgr",
        scale=1.0,
        placement="corner",
        layout=layout,
        outputs=facts.names[:1],
        iou=0.45,
    )


def scrfd(facts: Facts) -> ModelCard:
    """Returns the card of an SCRFD: its outputs may be named by numbers, but widths and lengths tell them apart."""
    widths, want_text = (1, 4, 10)[: len(facts.shapes) // 3], "(cells, 1), (cells, 4), (cells, 10), for three levels"
    expect_fits(facts, "scrfd", all(len(shape) in (2, 3) for shape in facts.shapes.values()), want_text)
    ordered = sorted(facts.shapes, key=lambda name: (facts.shapes[name][-1], -facts.shapes[name][-2]))
    want = [(facts.size[0] // s) * (facts.size[1] // s) for s in LEVELS]
    got = [facts.shapes[name][-2:] for name in ordered]
    fits = len(facts.shapes) in (6, 9) and any(
        got == [(each * cells, width) for width in widths for cells in want] for each in (1, 2)
    )
    expect_fits(facts, "scrfd", fits, want_text)
    return ModelCard(
        "scrfd",
        "face" if len(widths) == 3 else "detect",
        ("face",),
        LEVELS,
        scale=128.0,
        shift=127.5,
        pad=0,
        placement="corner",
        layout="raw",
        keypoints=(5, 2) if len(widths) == 3 else (0, 0),
        outputs=tuple(ordered),
        iou=0.4,
        batched=len(facts.shapes[ordered[0]]) == 3,
    )


def yunet(facts: Facts) -> ModelCard:
    """Returns the card of a YuNet."""
    outputs = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in LEVELS)
    expect_fits(facts, "yunet", set(outputs) <= set(facts.shapes), "cls_8, cls_16, ... kps_32, as in its 2023 form")
    return ModelCard(
        "yunet",
        "face",
        ("face",),
        LEVELS,
        colour="bgr",
        scale=1.0,
        pad=0,
        placement="corner",
        layout="raw",
        keypoints=(5, 2),
        outputs=outputs,
        iou=0.3,
    )


def centerface(facts: Facts) -> ModelCard:
    """Returns the card of a CenterFace."""
    want = [(channels, facts.size[0] // 4, facts.size[1] // 4) for channels in (1, 2, 2, 10)]
    got = [shape[1:] for shape in facts.shapes.values()]
    expect_fits(facts, "centerface", got == want, "score, size, offset and landmarks: 1, 2, 2 and 10 maps of a quarter")
    return ModelCard(
        "centerface",
        "face",
        ("face",),
        (32,),
        scale=1.0,
        pad=0,
        placement="corner",
        layout="raw",
        keypoints=(5, 2),
        outputs=facts.names,
        iou=0.3,
    )


def omz_ssd(facts: Facts, label: str, labels: tuple[str, ...]) -> ModelCard:
    """Returns the card of an SSD of OpenVINO's Open Model Zoo, which finds `label` alone, or what the file names.

    Raises:
        ModelError: its outputs are not an SSD's, or nobody names its classes.
    """
    shape = facts.first
    fits = len(facts.shapes) == 1 and len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 7
    expect_fits(facts, "omz-ssd", fits, "one, (1, 1, boxes, 7)")
    if not label and not labels:
        raise ModelError(
            "an SSD network that does not name its classes; where it finds one kind, say --family omz-ssd-person or "
            "omz-ssd-face, else name them by number in a metadata.yaml beside it, names: {0: background, 1: ...}"
        )
    return ModelCard(
        "omz-ssd",
        "detect",
        (label,) if label else labels,
        (1,),
        colour="bgr",
        scale=1.0,
        placement="stretch",
        layout="finished",
        outputs=facts.names,
        batched=False,
    )


def strides_of(facts: Facts, family: str, rows: int, each: int) -> tuple[int, ...]:
    """Returns the strides whose cells, `each` times, are as many as the output's rows.

    Raises:
        ModelError: there are none, so this is not that family's output.
    """
    for levels in LEVEL_SETS:
        if rows == each * cell_count(facts.size, levels):
            return levels
    want = f"{each * cell_count(facts.size, LEVELS)} boxes for an input of {facts.size[0]}x{facts.size[1]}"
    raise ModelError(f"a {family} model's output would hold {want}; this one's are {facts.shown()}")


def class_names(labels: tuple[str, ...], classes: int, task: str) -> tuple[str, ...]:
    """Returns class names: the file's; COCO's where there are as many as in COCO; else numbers.

    Every published network of these families with 80 classes has COCO's, in COCO's order.
    """
    if labels and len(labels) != classes:
        raise ModelError(f"the file names {len(labels)} classes and its outputs hold {classes}; export it again")
    if labels:
        return labels
    if classes == 1 and task in ("pose", "face"):
        return ("person" if task == "pose" else "face",)
    return COCO if classes == len(COCO) else tuple(f"class{i}" for i in range(classes))


def expect_fits(facts: Facts, family: str, fits: bool, want: str) -> None:
    """Refuses outputs that are not those of the family."""
    if not fits:
        raise ModelError(f"a {family} model's outputs would be {want}; this one's are {facts.shown()}")
