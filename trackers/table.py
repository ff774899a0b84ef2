"""What the trackers in NumPy share: a table of live tracks, a clock and ids; how they are saved, and reported."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.trackers.kalman import F64
from watchline.trackers.state import TrackerState
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import Tracks, TrackState

STEP_S: Final = 1 / 30  # the frame interval that the filters' noise was tuned for

_FAR_PX: Final = float(np.finfo(np.float32).max)

Live: TypeAlias = NDArray[np.void]  # (N,) of a tracker's own layout, ascending by track_id
Bools: TypeAlias = NDArray[np.bool_]


class TrackTable:
    """Live tracks of one camera; its subclasses are trackers, and say who belongs to which detection.

    Args:
        kind: the tracker's name in `TrackerState`.
        layout: of the table. It has track_id, state, class_id, score, born_s, seen_s and detection.
        ids: gives the new tracks theirs.
    """

    backend: Final = "python"

    def __init__(self, kind: str, layout: np.dtype[Any], ids: TrackIds) -> None:
        self._kind, self._layout, self._ids = kind, layout, ids
        self.reset()

    def reset(self) -> None:
        """Forgets every track; the ids go on."""
        self._live: Live = np.empty(0, self._layout)
        self._now_s = -math.inf  # no frame yet

    def save(self) -> TrackerState:
        """Returns what is known now; see `Tracker.save`."""
        return TrackerState(self._kind, self._now_s, self._ids.upcoming, self._live.copy())

    def restore(self, state: TrackerState) -> None:
        """Goes on from `state`; see `Tracker.restore`."""
        self._live = state.rows_for(self._kind, self._layout)
        self._now_s = state.now_s
        self._ids.skip_to(state.next_id)

    def _move_clock(self, time_s: float, lost_s: float) -> None:
        """Makes it `time_s` now; tracks unseen for more than `lost_s` are gone."""
        if not math.isfinite(time_s) or time_s <= self._now_s:
            raise ValueError(f"time_s is {time_s}, want a number above {self._now_s}, the time of the frame before")
        self._now_s = time_s
        self._live = self._live[self._since(self._live["seen_s"]) <= lost_s]

    def _since(self, time_s: F64 | float) -> F64:
        """Returns the seconds since `time_s`, to the microsecond: a far-off zero of time must not change results."""
        return np.asarray(self._now_s - time_s, np.float64).round(6)

    def _tracks(self, seen: Bools, coasting: Bools, places: F64, detected: F32 | None, coast_s: float) -> Tracks:
        """Returns the tracks that are seen, and those that coast and were seen at most `coast_s` ago.

        Args:
            seen: (N,) the confirmed ones that have a detection in this frame.
            coasting: (N,) the confirmed ones that have none.
            places: (N, 4) xyxy where the filter has them.
            detected: (M, 4) xyxy of the frame, to be reported for those that are seen; None: `places` for all.
            coast_s: 0 for none.
        """
        live, since = self._live, self._since(self._live["seen_s"])
        shown = seen | (coasting & (since <= coast_s) if coast_s > 0 else False)
        table, hidden = live[shown], ~seen[shown]
        xyxy = np.clip(places[shown], -_FAR_PX, _FAR_PX).astype(np.float32)
        if detected is not None:
            xyxy[~hidden] = detected[table["detection"][~hidden]]
        return Tracks(
            track_id=table["track_id"].copy(),
            xyxy=xyxy,
            score=table["score"].copy(),
            class_id=table["class_id"].copy(),
            state=np.where(hidden, TrackState.LOST, TrackState.CONFIRMED).astype(np.uint8),
            age_s=self._since(table["born_s"]).astype(np.float32),
            detection=np.where(hidden, -1, table["detection"]).astype(np.int32),
        )
