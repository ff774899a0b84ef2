"""How good a picture of a person is to recognise them by, told from its place first and from its pixels last."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.detections import FaceDetections
from watchline.streams.frame import U8

Bools: TypeAlias = NDArray[np.bool_]

_SHARPNESS_SIZE = (48, 96)  # width and height: sharpness is compared at one size
_HALF_SHARP = 500.0  # variance of a crop that is half as sharp as can be
_CUT_COUNTS = 0.5  # of a view that is cut off
_BORDER = 0.003  # of the picture's longer side: two pixels of a network's


class Flaw(IntEnum):
    """What is wrong with a picture; a later one is judged only where the earlier ones are not the matter."""

    NONE = 0
    SMALL = 1
    NARROW = 2
    CUT = 3
    FAINT = 4
    HIDDEN = 5
    BLURRED = 6


@dataclass(frozen=True, slots=True)
class Gate:
    """What a picture must be like to be worth describing.

    Attributes:
        least_height_px: of the part of the box that lies in the picture.
        least_width_px: likewise.
        full_height_px: more is of no further use to a network.
        least_score: of the detection, in [0, 1].
        most_covered: share of the box that others in front of it may hide, in [0, 1].
        least_sharpness: in [0, 1], as `sharpness` tells it.
        cut_shape: least and most height over width of a box that the border cuts off; beyond, too much is missing.
    """

    least_height_px: float = 48.0
    least_width_px: float = 16.0
    full_height_px: float = 256.0
    least_score: float = 0.3
    most_covered: float = 0.5
    least_sharpness: float = 0.1
    cut_shape: tuple[float, float] = (1.5, 4.5)


FACE_GATE = Gate(
    least_height_px=24.0,
    least_width_px=18.0,
    full_height_px=112.0,
    least_score=0.5,  # below it detectors take the backs of heads for faces
    most_covered=1.0,
    least_sharpness=0.05,
    cut_shape=(0.8, 2.0),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a picture is not good enough; of two, the greater one came nearer to being so.

    Attributes:
        flaw: what is wrong.
        nearness: the value that was judged; higher is better.

    >>> max(Refusal(Flaw.SMALL, 31.2), Refusal(Flaw.SMALL, 20)).words(Gate())
    'too small: 31 px high at best, 48 wanted'
    >>> Refusal(Flaw.HIDDEN, 0.2).words(Gate())
    'hidden by others: 80 % of it at best, 50 % is the most'
    """

    flaw: Flaw
    nearness: float

    def __lt__(self, other: Refusal) -> bool:
        return (self.flaw, self.nearness) < (other.flaw, other.nearness)

    def words(self, gate: Gate) -> str:
        """Returns the reason for a person: what it is, a colon, and the figures."""
        value = self.nearness
        return {
            Flaw.NONE: "",
            Flaw.SMALL: f"too small: {value:.0f} px high at best, {gate.least_height_px:.0f} wanted",
            Flaw.NARROW: f"too narrow: {value:.0f} px wide at best, {gate.least_width_px:.0f} wanted",
            Flaw.CUT: "cut off: the picture's border leaves too little of it",
            Flaw.FAINT: f"too unsure: score {value:.2f} at best, {gate.least_score:.2f} wanted",
            Flaw.HIDDEN: f"hidden by others: {100 * (1 - value):.0f} % of it at best, "
            f"{100 * gate.most_covered:.0f} % is the most",
            Flaw.BLURRED: f"too blurred: sharpness {value:.2f} at best, {gate.least_sharpness:.2f} wanted",
        }[self.flaw]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What the places of N boxes say of their pictures; no pixel was looked at.

    Attributes:
        bound: (N,) float32 in [0, 1], the quality that the picture has if it is as sharp as can be; 0 if refused.
        flaw: (N,) uint8, a `Flaw`.
        nearness: (N,) float32, see `Refusal`.
    """

    bound: F32
    flaw: U8
    nearness: F32

    def refusal(self, row: int) -> Refusal:
        """Returns why box `row` is refused."""
        return Refusal(Flaw(int(self.flaw[row])), float(self.nearness[row]))


def judge(boxes: F32, scores: F32, height: int, width: int, gate: Gate) -> Judged:
    """Returns what the places of boxes say of their pictures.

    Args:
        boxes: (N, 4) xyxy, pixels; may reach beyond the picture. N may be 0.
        scores: (N,) of their detections, in [0, 1].
        height: of the picture, pixels.
        width: likewise.
        gate: what is wanted.

    >>> judge(np.float32([[10, 10, 60, 138]]), np.float32([0.8]), 480, 640, Gate()).bound
    array([0.4], dtype=float32)
    """
    inside = np.clip(np.nan_to_num(boxes), 0, np.array([width, height, width, height], np.float32))
    wide, high = inside[:, 2] - inside[:, 0], inside[:, 3] - inside[:, 1]
    cut = is_cut(boxes, height, width)
    shape = high / np.maximum(wide, 1e-6)
    visible = 1 - covered(inside)
    checks = [
        (Flaw.SMALL, high < gate.least_height_px, high),
        (Flaw.NARROW, wide < gate.least_width_px, wide),
        (Flaw.CUT, cut & ((shape < gate.cut_shape[0]) | (shape > gate.cut_shape[1])), np.zeros_like(high)),
        (Flaw.FAINT, scores < gate.least_score, scores),
        (Flaw.HIDDEN, visible < 1 - gate.most_covered, visible),
    ]
    flaw, nearness = np.zeros(len(boxes), np.uint8), np.zeros(len(boxes), np.float32)
    for kind, wrong, value in reversed(checks):
        flaw[wrong], nearness[wrong] = kind, value[wrong]
    bound = np.minimum(1, high / gate.full_height_px) * scores * visible * np.where(cut, _CUT_COUNTS, 1)
    return Judged(np.where(flaw == Flaw.NONE, bound, 0).astype(np.float32), flaw, nearness)


def face_bound(face: FaceDetections, height: int, width: int, gate: Gate) -> float:
    """Returns the quality that the picture of one face has if it is as sharp as can be, in [0, 1]; 0 if refused.

    Args:
        face: one.
        height: of the picture that it was found in, pixels.
        width: likewise.
        gate: what is wanted.
    """
    judged = judge(face.xyxy, face.score, height, width, gate)
    return float(judged.bound[0]) * frontal(face.landmarks[0])


def is_cut(boxes: F32, height: int, width: int) -> Bools:
    """Returns (N,) bool: which of (N, 4) boxes reach the picture's border, so that something may be cut off.

    Boxes are no more exact than the pixels of a network's smaller picture, so near it is at it.
    """
    edge = max(1.0, _BORDER * max(height, width))
    near, far = boxes[:, :2] <= edge, boxes[:, 2:] >= np.array([width - edge, height - edge], np.float32)
    cut: Bools = np.any(near | far, axis=1, keepdims=True)
    return cut[:, 0]


def covered(boxes: F32) -> F32:
    """Returns which share of each box others hide at most: those whose foot is lower stand nearer to the camera.

    What two of them hide together counts twice, so the truth may be less, never more.

    Args:
        boxes: (N, 4) xyxy, pixels of one picture. N may be 0.

    Returns:
        (N,) float32 in [0, 1].

    >>> covered(np.float32([[0, 0, 10, 20], [5, 0, 15, 30]]))
    array([0.5, 0. ], dtype=float32)
    """
    sides = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    shared = np.prod(np.clip(sides, 0, None), axis=2)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    nearer = boxes[None, :, 3] > boxes[:, None, 3]
    hidden = (shared * nearer).sum(axis=1) / np.maximum(area, 1e-6)
    shares: F32 = np.minimum(hidden, 1).astype(np.float32)
    return shares


def sharpness(rgb: U8) -> float:
    """Returns the sharpness of a crop in (0, 1): the variance of its Laplacian, at one size for all.

    Args:
        rgb: (H, W, 3) uint8; neither side is 0.
    """
    import cv2

    grey = cv2.cvtColor(cv2.resize(rgb, _SHARPNESS_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    variance = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    return max(0.05, variance / (variance + _HALF_SHARP))


def frontal(landmarks: F32) -> float:
    """Returns how far a face is turned to the camera, in [0.1, 1]: its nose lies between its eyes, or beside them.

    Args:
        landmarks: (5, 2) pixels, in the order of `detections.LANDMARKS`.

    >>> frontal(np.float32([[0, 0], [10, 0], [5, 5], [2, 9], [8, 9]]))
    1.0
    """
    eyes = landmarks[1] - landmarks[0]
    apart = float(np.hypot(*eyes))
    aside = float(np.dot(landmarks[2] - (landmarks[0] + landmarks[1]) / 2, eyes)) / max(apart * apart, 1e-6)
    return max(0.1, 1.0 - min(abs(aside), 1.0) * 1.5)
