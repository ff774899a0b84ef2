"""Head: what an imported network answers, as far as its card does not say it."""

from __future__ import annotations

from dataclasses import dataclass

from watchline.detectors.heads.raw_yolov8 import BINS


@dataclass(frozen=True, slots=True)
class Head:
    """What an imported network answers.

    Without `anchors` its first output is (batch, channels, cells): box, classes, points, mask coefficients. With them
    it is (batch, rows, channels): box, objectness, classes, points, one row an anchor. A `raw` one answers the
    last convolutions' (batch, anchors * numbers, height / stride, width / stride) a level, and prototypes after them.
    With `features` it finds no boxes: its output is (batch, features), one vector a picture.

    Attributes:
        classes: how many scores a row.
        strides: pixels a cell, a level.
        points_first: whether the points come right behind the box, before objectness and classes.
        unbounded: whether nothing keeps widths and heights positive, so that a box of nothing may have negative ones.
        anchors: boxes a cell; 0 for a head without anchor boxes, which has one.
        keypoints: points a box, and values a point: 2 for x and y in pixels, 3 with its score.
        masks: mask coefficients a box.
        mask_stride: pixels a cell of the prototype masks, the last output; 0 where there are none.
        sizes: width and height of each anchor box in pixels, level by level; empty for a head without.
        raw: names of the outputs of a raw head; empty for one that answers boxes.
        features: numbers of the vector that describes a whole picture; 0 for a head that finds boxes.
    """

    classes: int
    strides: tuple[int, ...]
    points_first: bool = False
    unbounded: bool = False
    anchors: int = 0
    keypoints: tuple[int, int] = (0, 0)
    masks: int = 0
    mask_stride: int = 0
    sizes: tuple[float, ...] = ()
    raw: tuple[str, ...] = ()
    features: int = 0

    @property
    def channels(self) -> int:
        """How many numbers the head answers about one box."""
        points, values = self.keypoints
        return 4 + bool(self.anchors) + self.classes + points * values + self.masks

    @property
    def scores(self) -> slice:
        """Where in a row objectness, if any, and classes are."""
        start = 4 + (self.keypoints[0] * self.keypoints[1] if self.points_first else 0)
        return slice(start, start + bool(self.anchors) + self.classes)

    @property
    def points(self) -> slice:
        """Where in a row the points are."""
        start = 4 if self.points_first else self.scores.stop
        return slice(start, start + self.keypoints[0] * self.keypoints[1])

    def shapes(self, height: int, width: int) -> list[tuple[int, ...]]:
        """Returns the shapes of its outputs for one picture of this size in pixels, without a batch dimension."""
        if self.features:
            return [(self.features,)]
        levels = [(height // stride, width // stride) for stride in self.strides]
        rows = (self.anchors or 1) * sum(high * wide for high, wide in levels)
        shapes: list[tuple[int, ...]] = [(rows, self.channels) if self.anchors else (self.channels, rows)]
        if self.raw:
            numbers = self.anchors * self.channels if self.anchors else 4 * BINS + self.channels - 4
            shapes = [(numbers, *level) for level in levels]
        if self.masks:
            shapes.append((self.masks, height // self.mask_stride, width // self.mask_stride))
        return shapes
