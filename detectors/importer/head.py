"""Head: what an imported network answers, as far as its card does not say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """What an imported network answers.

    Without `anchors` its first output is (batch, channels, cells): box, classes, points, mask coefficients. With them
    it is (batch, rows, channels): box, objectness, classes, points, one row an anchor.

    Attributes:
        classes: how many scores a row.
        strides: pixels a cell, a level.
        anchors: boxes a cell; 0 for a head without anchor boxes, which has one.
        keypoints: points a box, and values a point: 2 for x and y in pixels, 3 with its score.
        masks: mask coefficients a box.
        mask_stride: pixels a cell of the prototype masks, the second output; 0 where there are none.
    """

    classes: int
    strides: tuple[int, ...]
    anchors: int = 0
    keypoints: tuple[int, int] = (0, 0)
    masks: int = 0
    mask_stride: int = 0

    @property
    def channels(self) -> int:
        """How many numbers the head answers about one box."""
        points, values = self.keypoints
        return 4 + bool(self.anchors) + self.classes + points * values + self.masks

    def rows(self, height: int, width: int) -> int:
        """Returns how many boxes it answers for a picture of this size in pixels."""
        return (self.anchors or 1) * sum((height // stride) * (width // stride) for stride in self.strides)
