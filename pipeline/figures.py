"""What is drawn of a detection beside its box: a skeleton, the landmarks of a face, the outline of a mask."""

from __future__ import annotations

from typing import Final

import numpy as np

from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.detectors.masks import paint
from watchline.streams.frame import U8

# COCO's 17 points: 0 nose, 1-2 eyes, 3-4 ears, 5-6 shoulders, 7-8 elbows, 9-10 wrists, 11-12 hips, 13-14 knees,
# 15-16 ankles; odd numbers are the person's left. Source: the COCO keypoint task, cocodataset.org.
_BONES: Final = (
    *((0, 1), (0, 2), (1, 3), (2, 4)),  # head
    *((5, 6), (5, 11), (6, 12), (11, 12)),  # trunk
    *((5, 7), (7, 9), (6, 8), (8, 10)),  # arms
    *((11, 13), (13, 15), (12, 14), (14, 16)),  # legs
)
_COCO_POINTS: Final = 17
_LEAST_SCORE: Final = 0.5  # a point below is a guess of where it would be
_FAR_PX: Final = 30_000  # what lies beyond the picture is cut off there; farther off it would overflow


def draw_figure(canvas: U8, found: Detections, row: int, colour: tuple[int, int, int], line: int) -> None:
    """Draws what is known of a detection's shape; of a plain one nothing.

    Args:
        canvas: (H, W, 3) uint8; drawn on.
        found: all detections of the frame.
        row: the one to draw.
        colour: red, green, blue.
        line: width, pixels.
    """
    if isinstance(found, PoseDetections):
        points = found.keypoints[row]
        sure = points[:, 2] >= _LEAST_SCORE
        bones = _BONES if len(points) == _COCO_POINTS else ()
        _draw_points(canvas, points[:, :2], sure.tolist(), bones, colour, line)
    elif isinstance(found, FaceDetections):
        points = found.landmarks[row]
        _draw_points(canvas, points, [True] * len(points), (), colour, line)
    elif isinstance(found, MaskDetections):
        left, top, inside = paint(found.masks[row], found.xyxy[row], *canvas.shape[:2])
        area = canvas[top : top + inside.shape[0], left : left + inside.shape[1]]
        area[inside] = area[inside] // 3 * 2 + np.array(colour, np.uint8) // 3


def _draw_points(
    canvas: U8,
    points: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    sure: list[bool],
    bones: tuple[tuple[int, int], ...],
    colour: tuple[int, int, int],
    line: int,
) -> None:
    import cv2

    places = np.clip(np.rint(points), -_FAR_PX, _FAR_PX).astype(int).tolist()
    for start, end in bones:
        if sure[start] and sure[end]:
            cv2.line(canvas, places[start], places[end], colour, line + 1, cv2.LINE_AA)
    for place, is_sure in zip(places, sure, strict=True):
        if is_sure:
            cv2.circle(canvas, place, line + 2, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
            cv2.circle(canvas, place, line + 1, colour, cv2.FILLED, cv2.LINE_AA)
