"""The photo with everybody in it in a numbered box, to look at and say which one is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np

from watchline.detectors.boxes import F32
from watchline.pipeline.annotate import Colour, ink_on, track_colour
from watchline.pipeline.cases.subjects import PhotoSubject
from watchline.pipeline.view import jpeg_of
from watchline.reid.cutting import shrunk
from watchline.streams.frame import U8

Place: TypeAlias = tuple[int, int]  # left, top

_MOST_SIDE_PX: Final = 1600
_TAG_SHARE: Final = 0.028  # height of a number, of the picture's root of area
_LEAST_TAG_PX: Final = 12


def marked(rgb: U8, subjects: tuple[PhotoSubject, ...], taken: int | None = None) -> bytes:
    """Returns a JPEG of a photo with numbered boxes; the one taken has a thick one.

    Args:
        rgb: (H, W, 3) uint8, the photo.
        subjects: found in it.
        taken: number of the one who was taken; None for nobody.
    """
    import cv2

    canvas, scale = shrunk(rgb, _MOST_SIDE_PX, _MOST_SIDE_PX)
    side = (canvas.shape[0] * canvas.shape[1]) ** 0.5
    tag_px, line = max(_LEAST_TAG_PX, round(_TAG_SHARE * side)), max(1, round(side / 400))
    for subject in subjects:
        colour = track_colour(subject.number)
        weight = 3 * line if subject.number == taken else line
        for seen in (subject.body, subject.face):
            if seen:
                left, top, right, bottom = (round(float(value)) for value in seen.box * scale)
                cv2.rectangle(canvas, (left, top), (right, bottom), (0, 0, 0), weight + 2)
                cv2.rectangle(canvas, (left, top), (right, bottom), colour, weight)
    places: list[Place] = []
    for subject in subjects:  # above all boxes
        colour = track_colour(subject.number)
        places.append(_tag(canvas, str(subject.number), subject.box * np.float32(scale), tag_px, colour, places))
    return jpeg_of(canvas)


def _tag(canvas: U8, text: str, box: F32, tag_px: int, colour: Colour, taken: Sequence[Place]) -> Place:
    """Writes a number above a box where there is room, else below or into it: small people and numbers stay visible."""
    import cv2

    font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, tag_px // 10)
    size = cv2.getFontScaleFromHeight(font, tag_px, weight)
    pad = tag_px // 3
    wide, high = (side + 2 * pad for side in cv2.getTextSize(text, font, size, weight)[0])
    left, top, right, bottom = (int(side) for side in box)
    corners = [(x, y) for y in (top - high, bottom, bottom - high) for x in (left, right - wide)]
    most = canvas.shape[1] - wide, canvas.shape[0] - high
    inside = [(max(0, min(x, most[0])), max(0, min(y, most[1]))) for x, y in corners]
    free = (at for at in inside if not any(abs(at[0] - x) < wide and abs(at[1] - y) < high for x, y in taken))
    x, y = next(free, inside[0])
    cv2.rectangle(canvas, (x, y), (x + wide, y + high), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + pad, y + high - pad), font, size, ink_on(colour), weight, cv2.LINE_AA)
    return x, y
