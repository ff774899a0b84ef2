"""Sketches: the skeleton, mask and face of one crop as SVG paths, to be laid over it in the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.detections import MaskDetections
from watchline.detectors.masks import paint
from watchline.pipeline.figures import Place, bones_of, dots_of
from watchline.pipeline.findings import Findings
from watchline.pipeline.view import View

_MOST_OUTLINES, _MOST_POINTS = 4, 60  # of a mask: the largest parts, and points each
_SMOOTHING_PX: Final = (0.8, 1.6, 3.2, 6.4)  # how far an outline may cut corners; the next where points are too many


@dataclass(frozen=True, slots=True)
class Sketch:
    """What was known of an object's shape in one crop; at most a few kilobytes.

    Attributes:
        width: of the crop, pixels.
        height: of the crop, pixels.
        area: outline of its mask, as SVG path data in pixels of the crop; "" for none.
        lines: bones, and the box of its face, likewise.
        dots: keypoints and landmarks, each a line of no length, likewise.
    """

    width: int = 0
    height: int = 0
    area: str = ""
    lines: str = ""
    dots: str = ""

    def __bool__(self) -> bool:
        return bool(self.area or self.lines or self.dots)

    @classmethod
    def of(cls, findings: Findings, row: int, view: View) -> Self:
        """Returns the sketch of one detection.

        Args:
            findings: of the frame.
            row: of the detection in `findings.detections`.
            view: the crop, just taken from that frame.
        """
        area: list[str] = []
        bones: list[tuple[Place, Place]] = []
        dots: list[Place] = []
        for found, i in findings.shapes_of(row):
            bones += bones_of(found, i)
            dots += dots_of(found, i)
            if isinstance(found, MaskDetections):
                box = (found.xyxy[i] - np.array([view.left, view.top] * 2, np.float32)) * np.float32(view.scale)
                area += _outlines(*paint(found.masks[i], box, view.height, view.width))
        face = findings.face_of(row)
        boxes = [((x0, y0), (x1, y0), (x1, y1), (x0, y1)) for x0, y0, x1, y1 in face.xyxy.tolist()]
        dots += chain.from_iterable(dots_of(face, i) for i in range(len(face)))

        def path(places: Iterable[Place]) -> str:
            return "L".join(f"{(x - view.left) * view.scale:.1f} {(y - view.top) * view.scale:.1f}" for x, y in places)

        return cls(
            width=view.width,
            height=view.height,
            area="".join(area),
            lines="".join([*(f"M{path(bone)}" for bone in bones), *(f"M{path(box)}z" for box in boxes)]),
            dots="".join(f"M{path([place])}h0" for place in dots),
        )


def _outlines(left: int, top: int, inside: NDArray[np.bool_]) -> list[str]:
    """Returns the outlines of the largest parts of a mask as closed SVG paths; holes are not shown."""
    import cv2

    if not inside.size:
        return []
    parts, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    paths = []
    for part in sorted(parts, key=cv2.contourArea, reverse=True)[:_MOST_OUTLINES]:
        outlines = (cv2.approxPolyDP(part, epsilon, closed=True)[:, 0] for epsilon in _SMOOTHING_PX)
        points = next((points for points in outlines if len(points) <= _MOST_POINTS), part[:0, 0])
        if len(points) > 2:
            paths.append("M" + "L".join(f"{x + left} {y + top}" for x, y in points.tolist()) + "z")
    return paths
