"""Tracklet: an unbroken part of a track, with the few pictures of it that are worth describing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from watchline.detectors.boxes import F32, expect
from watchline.streams.frame import U8, ClockSource


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One picture of one person, or of a face.

    Attributes:
        rgb: (H, W, 3) uint8, a copy: not a view of the frame.
        xyxy: (4,) float32, where it lies in the frame, pixels.
        landmarks: (K, 2) float32, points in pixels of `rgb`: eyes, nose and corners of the mouth of a face; K = 0
            for a body.
        score: of its detection, in [0, 1].
        quality: how good it is to describe the person by, in (0, 1].
        pts_s: of its frame, seconds.
        captured_at: of its frame, UTC seconds.

    Raises:
        ValueError: a wrong dtype or shape.
    """

    rgb: U8
    xyxy: F32
    landmarks: F32
    score: float
    quality: float
    pts_s: float
    captured_at: float

    def __post_init__(self) -> None:
        expect("rgb", self.rgb, np.uint8, (*self.rgb.shape[:2], 3))
        expect("xyxy", self.xyxy, np.float32, (4,))
        expect("landmarks", self.landmarks, np.float32, (len(self.landmarks), 2))


@dataclass(frozen=True, slots=True, eq=False)
class Tracklet:
    """An unbroken part of a track: what is stored, and described, as one.

    Attributes:
        camera: whose it is.
        track_id: of its track.
        part: 0 for a track's first part, then 1, 2, ...: long tracks are cut.
        is_last: no further part of its track will come.
        label: class name.
        start_pts_s: of the first frame in which it was seen, seconds.
        end_pts_s: of the last.
        started_at: UTC seconds of the first.
        ended_at: of the last.
        clock: where the UTC times come from.
        frames: in which it was seen.
        best_score: highest score of a detection, in [0, 1].
        crops: the best pictures, spread over time, in order of time.
        faces: likewise of its face.
        reason: why there is no crop; "" where there is one.
        path: (M, 5) float32: seconds since `start_pts_s`, and the box there, xyxy pixels; in order of time.
        frame_width: of all its frames, pixels.
        frame_height: likewise.

    Raises:
        ValueError: a wrong dtype or shape.
    """

    camera: str
    track_id: int
    part: int
    is_last: bool
    label: str
    start_pts_s: float
    end_pts_s: float
    started_at: float
    ended_at: float
    clock: ClockSource
    frames: int
    best_score: float
    crops: tuple[Crop, ...]
    faces: tuple[Crop, ...]
    reason: str
    path: F32
    frame_width: int
    frame_height: int

    def __post_init__(self) -> None:
        expect("path", self.path, np.float32, (len(self.path), 5))
