"""A detector made of a network: letterbox, engine, head, suppression."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32, Detections
from watchline.detectors.engine import Engine
from watchline.detectors.heads import yolov8
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.nms import nms
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import Frame

Head: TypeAlias = Callable[[F32, float], tuple[F32, F32, I32]]

HEADS: dict[tuple[str, str], Head] = {("yolov8", "detect"): yolov8.candidates}

_MOST_CANDIDATES = 30_000  # a bound on the suppression's work; no real frame comes near


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """How a network's detections are chosen. The defaults are those of the original programs.

    Attributes:
        least_score: detections below are left out, in [0, 1].
        iou: largest overlap of two detections of a class, in [0, 1].
        size: longest side of the network's input, pixels; ignored where the network fixes its size.
        classes: names of the classes to report; empty means all.
        limit: most detections a frame.

    Raises:
        UsageError: a value out of range.
    """

    least_score: float = 0.25
    iou: float = 0.7
    size: int = 640
    classes: tuple[str, ...] = ()
    limit: int = 300

    def __post_init__(self) -> None:
        for name in ("least_score", "iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} {getattr(self, name)}: want a number from 0 to 1")
        if not 32 <= self.size <= 4096 or self.size % 32:
            raise UsageError(f"input size {self.size}: want a multiple of 32 from 32 to 4096")
        if self.limit < 1:
            raise UsageError(f"limit {self.limit}: want at least 1 detection a frame")


class NetworkDetector:
    """A `Detector` on an `Engine`.

    Args:
        engine: runs the network.
        options: how detections are chosen.

    Raises:
        ModelError: no head for this family and task.
        UsageError: a class that the model does not know.
    """

    def __init__(self, engine: Engine, options: DetectorOptions) -> None:
        card = engine.card
        head = HEADS.get((card.family, card.task))
        if head is None:
            known = ", ".join(f"{family} {task}" for family, task in HEADS)
            raise ModelError(f"no head for a {card.family} {card.task} model; this version has {known}")
        if (card.colour, card.scale) != ("rgb", 255.0):
            raise ModelError(f"the model wants {card.colour} / {card.scale}; this version feeds RGB / 255")
        self._engine = engine
        self._head = head
        self._options = options
        self._scratch = threading.local()
        self._wanted = np.array([_class_id(name, card.labels) for name in options.classes], np.int32)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; `Detections.class_id` indexes them."""
        return self._engine.card.labels

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Returns one `Detections` a frame, in order; frames of one input size go through the engine together."""
        boxes = [self._letterbox(frame) for frame in frames]
        found: list[Detections | None] = [None] * len(frames)
        for size in dict.fromkeys((box.height, box.width) for box in boxes):
            rows = [i for i, box in enumerate(boxes) if (box.height, box.width) == size]
            batch = self._input((len(rows), 3, *size))
            for item, i in zip(batch, rows, strict=True):
                boxes[i].apply(frames[i].rgb(), item, self._engine.card.pad)
            outputs = self._engine.run(batch)
            if outputs.ndim != 3 or outputs.shape[:2] != (len(rows), 4 + len(self.labels)):
                want = f"({len(rows)}, {4 + len(self.labels)}, anchors)"
                raise ModelError(f"the network's output is {outputs.shape}, a {len(self.labels)}-class head has {want}")
            for output, i in zip(outputs, rows, strict=True):
                found[i] = self._decode(output, boxes[i])
        return [detections for detections in found if detections is not None]

    def _input(self, shape: tuple[int, ...]) -> F32:
        """Returns an array to fill, the calling thread's last one where it fits: fresh megabytes a frame cost more."""
        if getattr(self._scratch, "input", np.empty(0)).shape != shape:
            self._scratch.input = np.empty(shape, np.float32)
        array: F32 = self._scratch.input
        return array

    def _letterbox(self, frame: Frame) -> Letterbox:
        fixed = self._engine.fixed_size
        height, width = fixed or (self._options.size, self._options.size)
        stride = max(self._engine.card.strides)
        return Letterbox.fit(frame.height, frame.width, height, width, stride=stride, rectangular=fixed is None)

    def _decode(self, output: F32, letterbox: Letterbox) -> Detections:
        xyxy, score, class_id = self._head(output, self._options.least_score)
        if not (np.isfinite(xyxy).all() and (score <= 1).all()):
            raise ModelError("the network's boxes are not finite or its scores exceed 1: not a decoded YOLOv8 output")
        if len(self._wanted):
            rows = np.flatnonzero(np.isin(class_id, self._wanted))
            xyxy, score, class_id = xyxy[rows], score[rows], class_id[rows]
        if len(score) > _MOST_CANDIDATES:
            rows = np.sort(np.argsort(-score, kind="stable")[:_MOST_CANDIDATES])
            xyxy, score, class_id = xyxy[rows], score[rows], class_id[rows]
        rows = nms(xyxy, score, class_id, self._options.iou, self._options.limit)
        xyxy = letterbox.to_frame(xyxy[rows])
        # What lies in the padding alone is clipped to nothing.
        solid = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        rows = rows[solid]
        return Detections(xyxy[solid], score[rows], class_id[rows])


def _class_id(name: str, labels: tuple[str, ...]) -> int:
    if name in labels:
        return labels.index(name)
    close = difflib.get_close_matches(name, labels, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(labels[:10])}, ..."
    raise UsageError(f"class {name!r}: the model does not know it; {hint}")
