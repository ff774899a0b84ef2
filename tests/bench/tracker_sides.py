"""All trackers that are compared: ours in every form, then the peers; and which of them run here."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tests.bench.tracker_scenes import Frame, Row
from tests.bench.tracker_side import BYTE_TRACK, FAMILIES, OC_SORT, Inputs, Side, as_they_are, row
from tests.bench.tracker_their_sides import THEIRS
from watchline.detectors.detections import Detections
from watchline.trackers.build import PRESETS, TrackerChoice, build_stepper, build_tracker

DEFAULT: Final = "watchline"
REFERENCE: Final = "watchline, reference"
_TWIN: Final = f"{DEFAULT}, Python"
_REFERENCE_TWIN: Final = f"{REFERENCE}, Python"


def sides(family: str) -> list[Side]:
    """Returns all trackers of a family, ours first, installed here or not."""
    return [side for side in (*_OURS, *THEIRS) if side.family == family]


def sorted_out(family: str) -> tuple[list[Side], dict[str, str]]:
    """Returns the trackers of a family that run here, and of the others by name why not."""
    reasons = {side.name: side.missing() for side in sides(family)}
    return [side for side in sides(family) if not reasons[side.name]], {n: why for n, why in reasons.items() if why}


def _timed(frames: tuple[Frame, ...]) -> Inputs:
    """Detections and seconds; a box without area is no detection."""
    inputs: Inputs = []
    for index, (xyxy, score) in enumerate(frames):
        boxes = xyxy.astype(np.float32)
        real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        found = Detections(boxes[real], score[real].astype(np.float32), np.zeros(real.sum(), np.int32))
        inputs.append((found, index / 30))
    return inputs


def _read(tracks: Any) -> Row:
    return row(tracks.track_id, tracks.xyxy)


def _side(family: str, preset: str, backend: str) -> Side:
    choice = TrackerChoice({BYTE_TRACK: "bytetrack", OC_SORT: "ocsort"}[family], preset, backend=backend)
    name, twin = {"default": (DEFAULT, _TWIN), "reference": (REFERENCE, _REFERENCE_TWIN)}[preset]
    if backend == "python":
        name, twin = twin, ""
    language = {"native": "C++", "python": "Python"}[backend]
    if preset == "reference":
        return Side(name, family, language, lambda: build_stepper(choice, 30).step, as_they_are, _read, "", twin)
    return Side(name, family, language, lambda: build_tracker(choice, 1 / 30).update, _timed, _read, "", twin)


_OURS: Final = tuple(
    _side(family, preset, backend) for family in FAMILIES for backend in ("native", "python") for preset in PRESETS
)
