"""ByteTrack in C++: the Python twin's answers, ids and boxes alike, at a small part of the cost."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.detections import Detections
from watchline.streams.errors import UsageError
from watchline.trackers.byte_track import BYTE_TRACK, LIVE, ByteTrackOptions
from watchline.trackers.state import TrackerState
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import Tracks


def _native() -> ModuleType | None:
    try:
        from watchline.trackers import _native as module
    except ImportError:  # the pure-Python wheel; a tracker's `backend` says which one runs
        return None
    return module


_module: Final = _native()
NATIVE: Final = _module is not None  # is there a native build?


def built() -> ModuleType:
    """Returns the native module of the trackers.

    Raises:
        UsageError: it is not built here; see `NATIVE`.
    """
    if _module is None:
        raise UsageError('the native trackers are not built here; take backend "python", or install a C++ compiler')
    return _module


class NativeTracker:
    """What the native trackers share: a `Tracker` whose update is one call into C++ without the GIL.

    Args:
        core: the tracker, of the module `built`.
        kind: its name in `TrackerState`.
        layout: of the twin's table; the tracks are saved as its bytes.
        ids: gives the new tracks theirs.
    """

    backend: Final = "native"

    def __init__(self, core: Any, kind: str, layout: np.dtype[Any], ids: TrackIds) -> None:
        self._core, self._kind, self._layout, self._ids = core, kind, layout, ids

    def reset(self) -> None:
        """Forgets every track; the ids go on."""
        self._core.reset()

    def update(self, detections: Detections, time_s: float) -> Tracks:
        """Takes one frame's detections and returns the tracks seen in it; see `Tracker.update`."""
        return _tracks(
            self._core.update(detections.xyxy, detections.score, detections.class_id, time_s, self._take_ids)
        )

    def save(self) -> TrackerState:
        """Returns what is known now; see `Tracker.save`."""
        now_s, rows = self._core.save()
        return TrackerState(self._kind, now_s, self._ids.upcoming, np.frombuffer(rows, self._layout))

    def restore(self, state: TrackerState) -> None:
        """Goes on from `state`; see `Tracker.restore`."""
        self._core.restore(state.now_s, state.rows_for(self._kind, self._layout).tobytes())
        self._ids.skip_to(state.next_id)

    def _take_ids(self, count: int) -> list[int]:
        return [self._ids.next() for _ in range(count)]


class NativeByteTrack(NativeTracker):
    """Follows the objects of one camera as `ByteTrack` does.

    Source: native/byte_track.cc. Twin: `ByteTrack`, whose docstring says what comes out; ids are equal and boxes equal
    to the last bit, whatever comes in.

    Raises:
        UsageError: there is no native build here; see `NATIVE`.
    """

    def __init__(self, options: ByteTrackOptions | None = None, ids: TrackIds | None = None) -> None:
        option = options or ByteTrackOptions()
        core = built().ByteTrack(
            high_score=option.high_score,
            low_score=option.low_score,
            new_score=option.new_score,
            high_cost=option.high_cost,
            low_cost=option.low_cost,
            tentative_cost=option.tentative_cost,
            fuse_score=option.fuse_score,
            duplicate_iou=option.duplicate_iou,
            lost_s=option.lost_s,
            coast_s=option.coast_s,
            report_detection=option.box == "detection",
        )
        super().__init__(core, BYTE_TRACK, LIVE, ids or TrackIds())


class _Open:
    """`Tracks` while they are written: to set the slots of a frozen one takes as long as to follow a small crowd."""

    __slots__ = Tracks.__slots__


def _tracks(arrays: tuple[NDArray[Any], ...]) -> Tracks:
    """Returns `Tracks` of arrays that are right by construction: checking them would double the time of an update."""
    tracks: Any = _Open()
    tracks.track_id, tracks.xyxy, floats, integers, tracks.state = arrays
    tracks.score, tracks.age_s = floats[0], floats[1]
    tracks.class_id, tracks.detection = integers[0], integers[1]
    tracks.__class__ = Tracks  # the slots are the same
    frozen: Tracks = tracks
    return frozen
