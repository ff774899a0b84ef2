"""What is kept of a camera's tracks over a restart, and how it is written."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from typing import Any, Final

from watchline.streams.errors import UsageError
from watchline.streams.frame import Frame
from watchline.trackers.state import TrackerState
from watchline.trackers.tracker import Tracker

_TRACKS: Final = "watchline kept tracks"
_IDS: Final = "watchline ids"
_VERSION: Final = 1
_MOST: Final = 1 << 62  # ids
BRIDGED_S: Final = 10.0  # a restart that is no longer ends no track
_LEAST_S: Final = 0.001  # between the last frame before a restart and the first after it, as the tracker sees it


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a tracker knows after a frame.

    Attributes:
        state: of the tracker.
        captured_at: when that frame was captured, UTC seconds.
    """

    state: TrackerState
    captured_at: float


@dataclass(frozen=True, slots=True)
class Kept:
    """What a tracker knew before a restart.

    Attributes:
        state: of the tracker, by the time of the stream of then.
        captured_at: when its last frame was captured, UTC seconds.
    """

    state: TrackerState
    captured_at: float

    def state_at(self, first: Frame) -> TrackerState:
        """Returns the state by the time of the stream of now: what passed between counts as time unseen.

        A restart of a few seconds does not: it is longer than a track lives unseen, but who stood there still does.

        Args:
            first: the first frame after the restart, which the tracker has not had yet. Where its clock is behind that
                of the last frame before, next to no time has passed.
        """
        away_s = first.captured_at - self.captured_at
        return self.state.moved_to(first.pts_s - (away_s if away_s > BRIDGED_S else _LEAST_S))

    def give_to(self, tracker: Tracker, first: Frame) -> str:
        """Has a tracker go on from here; returns "", or why it begins without: it is of another kind, say."""
        try:
            tracker.restore(self.state_at(first))
        except UsageError as error:
            return f'camera "{first.camera}": {error}'
        return ""


def kept_to_bytes(camera: str, snapshot: Snapshot) -> bytes:
    """Returns a line that heads the saved state, and that state."""
    state = snapshot.state.to_bytes()
    return _head(_TRACKS, camera, captured_at=snapshot.captured_at, crc32=zlib.crc32(state)) + state


def kept_from(data: bytes) -> Kept:
    """Returns what `kept_to_bytes` made into `data`.

    Raises:
        UsageError: it is damaged, of another version, or something else.
    """
    line, _, state = data.partition(b"\n")
    head = _headed(line, _TRACKS)
    captured_at = head.get("captured_at")
    if head.get("crc32") != zlib.crc32(state) or not isinstance(captured_at, float) or not math.isfinite(captured_at):
        raise UsageError(f"{len(data)} bytes are damaged saved tracks; start without them")
    return Kept(TrackerState.from_bytes(state), captured_at)


def mark_to_bytes(camera: str, mark: int) -> bytes:
    """Returns the line that says from which id on none was ever given."""
    return _head(_IDS, camera, reserved=mark, check=zlib.crc32(str(mark).encode()))


def mark_from(data: bytes) -> int:
    """Returns what `mark_to_bytes` made into `data`.

    Raises:
        UsageError: it is damaged, of another version, or something else.
    """
    head = _headed(data, _IDS)
    mark = head.get("reserved")
    if not isinstance(mark, int) or not 1 <= mark < _MOST or head.get("check") != zlib.crc32(str(mark).encode()):
        raise UsageError(f"{len(data)} bytes are damaged reserved ids")
    return mark


def _head(form: str, camera: str, **values: float) -> bytes:
    return json.dumps({"form": form, "version": _VERSION, "camera": camera, **values}).encode() + b"\n"


def _headed(line: bytes, form: str) -> dict[str, Any]:
    try:
        head = json.loads(line)
        known = head["form"] == form and head["version"] == _VERSION
    except (ValueError, KeyError, TypeError, RecursionError):
        known = False
    if not known:
        raise UsageError(f"no {form} of version {_VERSION}, or damaged; start without")
    return dict(head)
