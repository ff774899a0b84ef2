"""What is drawn of a detection beside its box: a skeleton, the landmarks of a face, the outline of a mask."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.detectors.masks import paint
from watchline.streams.frame import U8

Place: TypeAlias = tuple[float, float]  # x, y, px

# COCO's 17 points: 0 nose, 1-2 eyes, 3-4 ears, 5-6 shoulders, 7-8 elbows, 9-10 wrists, 11-12 hips, 13-14 knees,
# 15-16 ankles; odd numbers are the person's left. Source: the COCO keypoint task, cocodataset.org.
_BONES: Final = (
    *((0, 1), (0, 2), (1, 3), (2, 4)),  # head
    *((5, 6), (5, 11), (6, 12), (11, 12)),  # trunk
    *((5, 7), (7, 9), (6, 8), (8, 10)),  # arms
    *((11, 13), (13, 15), (12, 14), (14, 16)),  # legs
)
COCO_POINTS: Final = 17
_LEAST_SCORE: Final = 0.5  # a point below is a guess of where it would be
_FACE_OF_DOTS: Final = 14  # a face is so many times as wide as its dots at least, or they would hide it
_FAR_PX: Final = 30_000  # what lies beyond the picture is cut off there; farther off it would overflow


def dots_of(found: Detections, row: int) -> list[Place]:
    """Returns the keypoints of a detection that are more than guesses, or its landmarks."""
    if isinstance(found, PoseDetections):
        points = found.keypoints[row]
        return _places(points[points[:, 2] >= _LEAST_SCORE, :2])
    if isinstance(found, FaceDetections):
        return _places(found.landmarks[row])
    return []


def bones_of(found: Detections, row: int) -> list[tuple[Place, Place]]:
    """Returns the bones of a person both of whose ends are more than guesses, as pairs of places."""
    if not isinstance(found, PoseDetections) or found.keypoints.shape[1] != COCO_POINTS:
        return []
    places = _places(found.keypoints[row, :, :2])
    sure = (found.keypoints[row, :, 2] >= _LEAST_SCORE).tolist()
    return [(places[start], places[end]) for start, end in _BONES if sure[start] and sure[end]]


def _places(points: F32) -> list[Place]:
    return [(x, y) for x, y in np.clip(points, -_FAR_PX, _FAR_PX).tolist()]


def draw_figure(canvas: U8, found: Detections, row: int, colour: tuple[int, int, int], line: int) -> None:
    """Draws what is known of a detection's shape; of a plain one nothing.

    Args:
        canvas: (H, W, 3) uint8; drawn on.
        found: all detections of the frame.
        row: the one to draw.
        colour: red, green, blue.
        line: width, pixels.
    """
    import cv2

    if isinstance(found, MaskDetections):
        left, top, inside = paint(found.masks[row], found.xyxy[row], *canvas.shape[:2])
        area = canvas[top : top + inside.shape[0], left : left + inside.shape[1]]
        area[inside] = area[inside] // 3 * 2 + np.array(colour, np.uint8) // 3
    for start, end in bones_of(found, row):
        cv2.line(canvas, _pixel(start), _pixel(end), colour, line + 1, cv2.LINE_AA)
    for place in dots_of(found, row):
        cv2.circle(canvas, _pixel(place), line + 2, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(canvas, _pixel(place), line + 1, colour, cv2.FILLED, cv2.LINE_AA)


def draw_faces(canvas: U8, faces: FaceDetections, colour: tuple[int, int, int], line: int) -> None:
    """Draws faces, each in a thin box, with their landmarks.

    Args:
        canvas: (H, W, 3) uint8; drawn on.
        faces: any number.
        colour: red, green, blue.
        line: width, pixels.
    """
    import cv2

    for row, (left, top, right, bottom) in enumerate(np.rint(faces.xyxy).astype(int).tolist()):
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, line, cv2.LINE_8)
        radius = min(max(1, (right - left) // _FACE_OF_DOTS), line + 1)
        for place in dots_of(faces, row):
            cv2.circle(canvas, _pixel(place), radius, colour, cv2.FILLED, cv2.LINE_AA)


def _pixel(place: Place) -> tuple[int, int]:
    return round(place[0]), round(place[1])
