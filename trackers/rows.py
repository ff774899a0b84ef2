"""Boxes in and tracks out as the published programs have them: float64, and time counted in frames.

`Detections` and `Tracks` carry float32, which is all that a picture holds; a result that is to agree with a
published one to 1e-6 pixels cannot pass through them. `FrameStepper` is the seam for that, and `SteppedTracker`
puts any of them behind the `Tracker` seam.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np

from watchline.detectors.boxes import expect
from watchline.detectors.detections import I32, Detections
from watchline.trackers.kalman import F64
from watchline.trackers.state import TrackerState
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import I64, Tracks, TrackState

_KIND: Final = "reference"
_NO_TRACKS: Final = np.dtype([("track_id", np.int64)])
_FAR_PX: Final = float(np.finfo(np.float32).max)
_LEAST_PX: Final = float(np.finfo(np.float32).smallest_subnormal)


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """One frame's detections: row i of both arrays is one box.

    Attributes:
        xyxy: (N, 4) float64, pixels, each a number that float32 can hold, x1 <= x2 and y1 < y2. Real detectors
            clip boxes to no width at the edge of the picture, and the published programs take them.
        score: (N,) float64 in [0, 1].

    Raises:
        ValueError: a wrong dtype or shape, a box without height, a score outside [0, 1], NaN or infinity anywhere.
    """

    xyxy: F64
    score: F64

    def __post_init__(self) -> None:
        expect("xyxy", self.xyxy, np.float64, (len(self.xyxy), 4))
        expect("score", self.score, np.float64, (len(self.xyxy),))
        x1, y1, x2, y2 = self.xyxy.T
        with np.errstate(invalid="ignore", over="ignore"):
            good = (x2 >= x1) & (y2 - y1 >= _LEAST_PX) & (np.abs(self.xyxy) <= _FAR_PX).all(axis=1)
        if not good.all():
            raise ValueError(f"box {good.argmin()} has no height or is not finite: {self.xyxy[good.argmin()]}")
        good = (self.score >= 0) & (self.score <= 1)  # False for NaN too
        if not good.all():
            raise ValueError(f"score {good.argmin()} is outside [0, 1]: {self.score[good.argmin()]}")

    def __len__(self) -> int:
        return len(self.xyxy)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The tracks seen in one frame, in the tracker's own order: row i of every array is one track.

    Attributes:
        track_id: (N,) int64, from 1.
        xyxy: (N, 4) float64, pixels.
        score: (N,) float64, of the detection.
        detection: (N,) int32, row in the frame's `Boxes`; -1 where the track is coasting.

    >>> len(Rows.empty())
    0
    """

    track_id: I64
    xyxy: F64
    score: F64
    detection: I32

    def __post_init__(self) -> None:
        n = len(self.track_id)
        expect("track_id", self.track_id, np.int64, (n,))
        expect("xyxy", self.xyxy, np.float64, (n, 4))
        expect("score", self.score, np.float64, (n,))
        expect("detection", self.detection, np.int32, (n,))

    @classmethod
    def empty(cls) -> Self:
        """Returns no tracks."""
        return cls(np.empty(0, np.int64), np.empty((0, 4)), np.empty(0), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.track_id)


class FrameStepper(Protocol):
    """Follows the objects of one camera, one frame a call; frames are its clock."""

    @property
    def backend(self) -> str:
        """What does the work: "python" or "native"."""

    def step(self, xyxy: F64, score: F64) -> Rows:
        """Takes one frame's detections, `Boxes` as two arrays, and returns the tracks seen in it.

        To be called for every frame, empty ones too.

        Raises:
            ValueError: see `Boxes`.
        """

    def held(self) -> I64:
        """Returns the ids of all tracks that may be reported again, seen now or not, in no order."""

    def reset(self) -> None:
        """Forgets every track and starts at frame 1; the ids go on."""


class SteppedTracker:
    """A `FrameStepper` behind the `Tracker` seam.

    It counts calls, not seconds: `time_s` must rise, and gives the tracks their age, but a dropped frame
    is a frame that never was. Classes take no part; a track has that of the detection it is seen by.

    Args:
        stepper: does the work.
        ids: the same that `stepper` gives to its tracks.
    """

    def __init__(self, stepper: FrameStepper, ids: TrackIds) -> None:
        self._stepper, self._ids = stepper, ids
        self._forget()

    @property
    def backend(self) -> str:
        """What does the work: "python" or "native"."""
        return self._stepper.backend

    def reset(self) -> None:
        """Forgets every track; the ids go on."""
        self._stepper.reset()
        self._forget()

    def save(self) -> TrackerState:
        """Returns the clock and the next id alone: the published programs have no restart, so tracks end with one."""
        return TrackerState(_KIND, self._now_s, self._ids.upcoming, np.empty(0, _NO_TRACKS))

    def restore(self, state: TrackerState) -> None:
        """Forgets every track and goes on with the ids of `state`; see `Tracker.restore`."""
        state.rows_for(_KIND, _NO_TRACKS)
        self.reset()
        self._now_s = state.now_s
        self._ids.skip_to(state.next_id)

    def _forget(self) -> None:
        self._now_s = -math.inf
        self._born_s: dict[int, float] = {}  # of the tracks held, so no more than those

    def update(self, detections: Detections, time_s: float) -> Tracks:
        """Takes one frame's detections and returns the tracks seen in it; see `Tracker.update`."""
        if not math.isfinite(time_s) or time_s <= self._now_s:
            raise ValueError(f"time_s is {time_s}, want a number above {self._now_s}, the time of the frame before")
        self._now_s = time_s
        rows = self._stepper.step(detections.xyxy.astype(np.float64), detections.score.astype(np.float64))
        self._born_s = {track: self._born_s.get(track, time_s) for track in self._stepper.held().tolist()}
        born_s = np.array([self._born_s[track] for track in rows.track_id.tolist()], np.float64)
        return Tracks(
            track_id=rows.track_id,
            xyxy=np.clip(rows.xyxy, -_FAR_PX, _FAR_PX).astype(np.float32),
            score=rows.score.astype(np.float32),
            class_id=detections.class_id[rows.detection],
            state=np.full(len(rows), TrackState.CONFIRMED, np.uint8),
            age_s=(time_s - born_s).astype(np.float32),
            detection=rows.detection,
        )
