"""Tracks: the objects that one tracker follows, as they are in one frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.detectors.detections import I32, Rows

I64: TypeAlias = NDArray[np.int64]


class TrackState(IntEnum):
    """Where a track is in its life."""

    TENTATIVE = 0  # seen, not yet believed
    CONFIRMED = 1
    LOST = 2  # not seen now, may come back
    REMOVED = 3  # gone for good; its id never returns


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The objects that one tracker follows: row i of every array is one track.

    Attributes:
        track_id: (N,) int64, from 1, unique within a camera for good.
        xyxy: (N, 4) float32, pixels of the full frame; a filtered box may reach beyond the picture.
        score: (N,) float32 in [0, 1], of the last matched detection.
        class_id: (N,) int32, of the last matched detection.
        state: (N,) uint8, a `TrackState`.
        age_s: (N,) float32, seconds since the first detection.
        detection: (N,) int32, row in the frame's `Detections`; -1 where the track is coasting.

    >>> len(Tracks.empty())
    0
    """

    track_id: I64
    xyxy: F32
    score: F32
    class_id: I32
    state: NDArray[np.uint8]
    age_s: F32
    detection: I32

    def __post_init__(self) -> None:
        n = len(self.track_id)
        expect("track_id", self.track_id, np.int64, (n,))
        expect("xyxy", self.xyxy, np.float32, (n, 4))
        expect("score", self.score, np.float32, (n,))
        expect("class_id", self.class_id, np.int32, (n,))
        expect("state", self.state, np.uint8, (n,))
        expect("age_s", self.age_s, np.float32, (n,))
        expect("detection", self.detection, np.int32, (n,))

    @classmethod
    def empty(cls) -> Self:
        """Returns no tracks."""
        return cls(
            track_id=np.empty(0, np.int64),
            xyxy=np.empty((0, 4), np.float32),
            score=np.empty(0, np.float32),
            class_id=np.empty(0, np.int32),
            state=np.empty(0, np.uint8),
            age_s=np.empty(0, np.float32),
            detection=np.empty(0, np.int32),
        )

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(N,) bool: has the track a detection in this frame? Else it is coasting."""
        return self.detection >= 0

    def __getitem__(self, rows: Rows) -> Self:
        return type(self)(
            self.track_id[rows],
            self.xyxy[rows],
            self.score[rows],
            self.class_id[rows],
            self.state[rows],
            self.age_s[rows],
            self.detection[rows],
        )
