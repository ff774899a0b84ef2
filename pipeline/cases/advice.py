"""What is wrong with how somebody is seen in a photo, and what would help: in words for who brings it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections
from watchline.reid.quality import Flaw, Gate, is_cut
from watchline.streams.frame import U8

_GOOD_HEIGHT_PX: Final = 128.0  # half of what networks take in
_GOOD_FACE_PX: Final = 56.0
_GOOD_SCORE: Final = 0.5
_SMALL: Final = 0.9  # of what is good: less is worth a word
_SHARP: Final = 0.25  # of people in a street 100 px high, half have less than 0.4
_FACE_SHARP: Final = 0.1
_DARK, _BRIGHT = 45.0, 215.0  # mean luma of a crop
_TOUCHES: Final = 0.15  # share of a box that another's takes up, worth a word
_TURNED: Final = 0.5  # of `frontal`
_LARGER: Final = "use a larger picture, or the original instead of a screenshot"
_SIDES: Final = ("left", "top", "right", "bottom")


def refusal_of(flaw: Flaw, box: F32, gate: Gate) -> str:
    """Returns why a body or face cannot be used, and what would help; "" for no flaw.

    Args:
        flaw: what is wrong.
        box: (4,) xyxy, pixels of the photo.
        gate: that it did not pass.

    >>> refusal_of(Flaw.SMALL, np.float32([0, 0, 20, 31]), Gate())
    'too small: 31 px high, 48 is the least; use a larger picture, or the original instead of a screenshot'
    """
    width, height = (float(side) for side in box[2:] - box[:2])
    return {
        Flaw.NONE: "",
        Flaw.SMALL: f"too small: {height:.0f} px high, {gate.least_height_px:.0f} is the least; {_LARGER}",
        Flaw.NARROW: f"too narrow: {width:.0f} px wide, {gate.least_width_px:.0f} is the least; {_LARGER}",
        Flaw.CUT: "cut off: too little of it is in the picture; use one that shows the person from head to foot",
        Flaw.FAINT: f"too unsure that it is one: below {gate.least_score:.2f}; use a clearer picture",
        Flaw.HIDDEN: f"hidden: others cover more than {100 * gate.most_covered:.0f} % of it; use another picture",
        Flaw.BLURRED: "too blurred, or too dark; use a sharper picture in better light",
    }[flaw]


def advise_pixels(view: U8, sharp: float, height: float) -> Iterator[str]:
    """Yields what would make a person's picture better, as its pixels tell.

    Args:
        view: (H, W, 3) uint8, the person.
        sharp: its sharpness, in (0, 1).
        height: of the person, pixels.
    """
    if height < _SMALL * _GOOD_HEIGHT_PX:
        yield f"{height:.0f} px high: {_GOOD_HEIGHT_PX:.0f} or more would help; {_LARGER}"
    if sharp < _SHARP:
        yield "blurred: a sharper picture would help"
    yield from _light(view)


def advise_place(people: Detections, row: int, shape: Sequence[int], numbers: Sequence[int]) -> Iterator[str]:
    """Yields what would make a person's picture better, as their place tells.

    Args:
        people: everybody in the photo.
        row: of the person.
        shape: height and width of the photo, pixels.
        numbers: by which each of `people` is known.
    """
    if sides := _cut_sides(people.xyxy[row], *shape[:2]):
        yield f"cut off at the {' and '.join(sides)} edge: a picture from head to foot would help"
    yield from _others(people.xyxy, row, numbers)
    if people.score[row] < _GOOD_SCORE:
        yield f"perhaps no person (score {people.score[row]:.2f}): look at the marked picture"


def advise_face(view: U8, sharp: float, height: float, turned: float) -> Iterator[str]:
    """Yields what would make a picture of a face better.

    Args:
        view: (H, W, 3) uint8, the face.
        sharp: its sharpness, in (0, 1).
        height: of the face, pixels.
        turned: how far it is turned to the camera, as `frontal` tells it.
    """
    if height < _SMALL * _GOOD_FACE_PX:
        yield f"{height:.0f} px high: {_GOOD_FACE_PX:.0f} or more would help; {_LARGER}"
    if turned < _TURNED:
        yield "turned to the side: a picture from the front would help"
    if sharp < _FACE_SHARP:
        yield "blurred: a sharper picture would help"
    yield from _light(view)


def _cut_sides(box: F32, height: int, width: int) -> list[str]:
    """Returns the edges of the photo that a box reaches."""
    if not is_cut(box[None], height, width)[0]:
        return []
    gaps = (box[0], box[1], width - box[2], height - box[3])
    nearest = min(gaps)
    # The one that counts as cut, and whichever others reach as far.
    return [side for side, gap in zip(_SIDES, gaps, strict=True) if gap <= max(1.0, nearest + 1.0)]


def _others(boxes: F32, row: int, numbers: Sequence[int]) -> Iterator[str]:
    """Yields who overlaps with a person: whose foot is lower stands nearer to the camera."""
    box = boxes[row]
    sides = np.clip(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0, None)
    shares = np.prod(sides, axis=1) / np.prod(box[2:] - box[:2])
    for other in np.flatnonzero(shares >= _TOUCHES).tolist():
        if other == row:
            continue
        share = f"{100 * shares[other]:.0f} %"
        if boxes[other, 3] > box[3]:
            yield f"person {numbers[other]} stands in front and hides up to {share}: another picture would help"
        else:
            yield f"person {numbers[other]} is seen in {share} of the same box: a picture of one alone would help"


def _light(view: U8) -> Iterator[str]:
    luma = float(view.reshape(-1, 3).mean(axis=0) @ (0.299, 0.587, 0.114)) if view.size else 0.0
    if luma < _DARK:
        yield "dark: a picture in better light would help"
    elif luma > _BRIGHT:
        yield "nearly white: a picture in softer light would help"
