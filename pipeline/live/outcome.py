"""What came of one frame, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from watchline.detectors.detections import Detections
from watchline.streams.frame import Frame
from watchline.trackers.tracks import Tracks


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One processed frame.

    Attributes:
        frame: what was looked at; whoever keeps it keeps a place of its camera's pictures.
        detections: what was found there, ignored regions left out; `tracks.detection` indexes it.
        tracks: the objects seen.
        labels: class names; `class_id` indexes them.
        age_s: capture to tracked.
    """

    frame: Frame
    detections: Detections
    tracks: Tracks
    labels: tuple[str, ...]
    age_s: float


Outlet: TypeAlias = Callable[[Outcome], None]
"""Is told of each processed frame of a camera, in order; must neither wait nor raise."""
