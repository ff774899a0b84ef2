"""A detector made of a network: letterbox, engine, head, suppression, and the way back to the frame."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.candidates import Candidates, MaskCandidates, PointCandidates
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.detectors.engine import Engine
from watchline.detectors.feeding import feed
from watchline.detectors.heads.answer import Answer
from watchline.detectors.heads.registry import head_of
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.masks import sample
from watchline.detectors.nms import nms
from watchline.detectors.warming import warm_up
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import U8, Frame

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
    """A `Detector` on an `Engine`. Its answers are of the task's type: `PoseDetections` of a pose network, and so on.

    Args:
        engine: runs the network.
        options: how detections are chosen.

    Raises:
        ModelError: no head for this family and task.
        UsageError: a class that the model does not know.
    """

    def __init__(self, engine: Engine, options: DetectorOptions) -> None:
        self._card = card = engine.card
        self._head = head_of(card)
        self._engine = engine
        self._options = options
        self._scratch = threading.local()
        self._is_wanted = np.full(len(card.labels), not options.classes)
        self._is_wanted[[_class_id(name, card.labels) for name in options.classes]] = True

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; `Detections.class_id` indexes them."""
        return self._engine.card.labels

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Returns one `Detections` a frame, in order; frames of one input size go through the engine together."""
        boxes = [self._letterbox(frame.height, frame.width) for frame in frames]
        found: list[Detections | None] = [None] * len(frames)
        for size in dict.fromkeys((box.height, box.width) for box in boxes):
            rows = [i for i, box in enumerate(boxes) if (box.height, box.width) == size]
            batch = self._input((len(rows), 3, *size))
            for item, i in zip(batch, rows, strict=True):
                feed(frames[i].rgb(), boxes[i], self._card, item, self._room(boxes[i]))
            for item, i in zip(self._outputs(batch), rows, strict=True):
                found[i] = self._decode(item, boxes[i])
        return [detections for detections in found if detections is not None]

    def _input(self, shape: tuple[int, ...]) -> F32:
        """Returns an array to fill, the calling thread's last one where it fits: fresh megabytes a frame cost more."""
        if getattr(self._scratch, "input", np.empty(0)).shape != shape:
            self._scratch.input = np.empty(shape, np.float32)
        array: F32 = self._scratch.input
        return array

    def _room(self, box: Letterbox) -> U8:
        """Returns room for a resized picture, likewise."""
        shape = (box.resized_height, box.resized_width, 3)
        if getattr(self._scratch, "room", np.empty(0)).shape != shape:
            self._scratch.room = np.empty(shape, np.uint8)
        array: U8 = self._scratch.room
        return array

    def _outputs(self, batch: F32) -> list[tuple[F32, ...]]:
        """Returns the network's outputs, item by item."""
        if not self._card.batched:
            return [tuple(output[0] for output in self._engine.run(batch[i : i + 1])) for i in range(len(batch))]
        outputs = self._engine.run(batch)
        for output in outputs:
            if len(output) != len(batch):
                raise ModelError(f"the network's output is {output.shape} for a batch of {len(batch)}")
        return list(zip(*outputs, strict=True))

    def warm_up(self, height: int, width: int, workers: int, batch: int) -> None:
        """Gets the engine ready for frames of `height` x `width`; see `warming.warm_up`.

        Raises:
            ModelError: no device could run it.
        """
        box = self._letterbox(height, width)
        warm_up(self._engine, (box.height, box.width), workers, batch)

    def _letterbox(self, frame_height: int, frame_width: int) -> Letterbox:
        fixed = self._engine.fixed_size
        height, width = fixed or (self._options.size, self._options.size)
        if self._card.placement == "stretch":
            return Letterbox.stretch(frame_height, frame_width, height, width)
        return Letterbox.fit(
            frame_height,
            frame_width,
            height,
            width,
            stride=max(self._card.strides),
            rectangular=fixed is None,
            centred=self._card.placement == "centre",
        )

    def _decode(self, outputs: tuple[F32, ...], letterbox: Letterbox) -> Detections:
        size = (letterbox.height, letterbox.width)
        try:
            found = self._head(Answer(outputs, self._card, size), self._options.least_score)
            _expect_sane(found, len(self.labels))
        except (IndexError, TypeError, ValueError, ZeroDivisionError) as error:  # a card may say anything
            what = f"{self._card.family} {self._card.task} model ({self._card.layout})"
            shapes = ", ".join("x".join(map(str, output.shape)) for output in outputs[:12])
            raise ModelError(f"the network's outputs {shapes} are not those of a {what}: {error}") from error
        if not self._is_wanted.all():
            found = found[np.flatnonzero(self._is_wanted[found.class_id])]
        if len(found) > _MOST_CANDIDATES:
            found = found[np.sort(np.argsort(-found.score, kind="stable")[:_MOST_CANDIDATES])]
        if self._card.layout == "finished":
            rows = np.argsort(-found.score, kind="stable")[: self._options.limit]
        else:
            rows = nms(found.xyxy, found.score, found.class_id, self._options.iou, self._options.limit)
        xyxy = letterbox.to_frame(found.xyxy[rows])
        # What lies in the padding alone is clipped to nothing.
        solid = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        return self._in_frame(xyxy[solid], found[rows[solid]], letterbox)

    def _in_frame(self, xyxy: F32, found: Candidates, letterbox: Letterbox) -> Detections:
        """Returns what was found as detections of the task's type.

        Args:
            xyxy: (N, 4) the boxes, in pixels of the frame.
            found: N candidates, in pixels of the input.
            letterbox: how the frame lies in the input.
        """
        match found:
            case PointCandidates():
                points = letterbox.points_to_frame(found.points[..., :2])
                if self._card.task == "face":
                    return FaceDetections(xyxy, found.score, found.class_id, points)
                points = np.concatenate([points, found.points[..., 2:]], axis=2)
                return PoseDetections(xyxy, found.score, found.class_id, points)
            case MaskCandidates():
                size = (letterbox.height, letterbox.width)
                masks = sample(found.coefficients, found.prototypes, letterbox.to_input(xyxy), size)
                return MaskDetections(xyxy, found.score, found.class_id, masks)
            case _:
                return Detections(xyxy, found.score, found.class_id)


def _expect_sane(found: Candidates, classes: int) -> None:
    """Refuses what no network gives whose outputs are read rightly.

    Raises:
        ModelError: says what is wrong.
    """
    sane = np.isfinite(found.xyxy).all() and (found.score <= 1).all()
    if isinstance(found, PointCandidates):
        sane = sane and np.isfinite(found.points).all() and (np.abs(found.points[..., 2] - 0.5) <= 0.5).all()
    if not sane:
        raise ModelError("the network's boxes are not finite or its scores exceed 1: its outputs mean something else")
    if len(found) and not 0 <= found.class_id.min() <= found.class_id.max() < classes:
        raise ModelError(f"the network names class {found.class_id.max()}, and has {classes}: its outputs mean another")


def _class_id(name: str, labels: tuple[str, ...]) -> int:
    if name in labels:
        return labels.index(name)
    close = difflib.get_close_matches(name, labels, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(labels[:10])}, ..."
    raise UsageError(f"class {name!r}: the model does not know it; {hint}")
