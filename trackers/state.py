"""What a tracker knows, outside of it: to be kept, and given to a tracker of its kind after a restart.

A restart of a program need not end tracks, nor give an id twice: see `Tracker.save` and `Tracker.restore`.
"""

from __future__ import annotations

import io
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from watchline.streams.errors import UsageError

_FORM: Final = "watchline tracks"
_VERSION: Final = 1
_MOST_TRACKS: Final = 1_000_000  # no scene holds more; a larger number is damage
_MOST: Final = 1e100  # far beyond any box or variance, and its square is still a number


@dataclass(frozen=True, slots=True, eq=False)
class TrackerState:
    """The live tracks, the clock and the next id of one tracker.

    Attributes:
        tracker: name of its kind; both backends of a kind understand the other's state.
        now_s: time of its last frame, seconds; minus infinity where there was none.
        next_id: the id that the next new track gets, from 1.
        live: (N,) structured, the tracker's own table: its fields differ from kind to kind, but `track_id`
            ascends, times are in fields whose names end in "_s".
    """

    tracker: str
    now_s: float
    next_id: int
    live: NDArray[np.void]

    def moved_to(self, now_s: float) -> Self:
        """Returns the same state with `now_s` for a clock: the time between is as if it had not been.

        For a restart where the source's time begins anew, or where an outage should not count as time unseen.

        Raises:
            UsageError: `now_s` is not a number.
        """
        if not math.isfinite(now_s):
            raise UsageError(f"now_s is {now_s}; want the time of the last frame in seconds")
        live = self.live.copy()
        if len(live):
            for name in (name for name in live.dtype.names or () if name.endswith("_s")):
                # No time may round to later than now: `rows_for` would take that for damage.
                live[name] = np.minimum(live[name] + (now_s - self.now_s), now_s)
        return type(self)(self.tracker, now_s if self.now_s > -math.inf else self.now_s, self.next_id, live)

    def to_bytes(self) -> bytes:
        """Returns the state as a line of JSON and the table behind it: some 250 bytes a track, 800 for ocsort."""
        table = io.BytesIO()
        np.save(table, self.live, allow_pickle=False)
        head = {
            "form": _FORM,
            "version": _VERSION,
            "tracker": self.tracker,
            "now_s": self.now_s if self.now_s > -math.inf else None,
            "next_id": self.next_id,
            "crc32": zlib.crc32(table.getvalue()),
        }
        return json.dumps(head).encode() + b"\n" + table.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Returns the state that `to_bytes` made into `data`.

        Raises:
            UsageError: it is damaged, no saved state, or of a version that is not known here.
        """
        line, _, table = data.partition(b"\n")
        try:
            head = json.loads(line)
            if head["form"] != _FORM:
                raise ValueError(head["form"])
            if head["version"] != _VERSION:
                raise UsageError(
                    f"saved tracks of version {head['version']}, known here: {_VERSION}; start without them"
                )
            if zlib.crc32(table) != head["crc32"]:
                raise ValueError("checksum")
            now_s = -math.inf if head["now_s"] is None else float(head["now_s"])
            live = np.load(io.BytesIO(table), allow_pickle=False)
            return cls(str(head["tracker"]), now_s, int(head["next_id"]), live)
        except (ValueError, KeyError, TypeError, OverflowError, EOFError, MemoryError) as error:
            raise UsageError(
                f"{len(data)} bytes are no saved tracks, or damaged; start without them: ids begin anew"
            ) from error

    def rows_for(self, tracker: str, layout: np.dtype[Any]) -> NDArray[np.void]:
        """Returns a copy of the table for a tracker of the kind `tracker`, checked.

        Args:
            tracker: name of the kind that is to go on with it.
            layout: of its table.

        Raises:
            UsageError: it was another kind of tracker, another layout, or holds what no tracker would save.
        """
        if self.tracker != tracker:
            raise UsageError(f"saved tracks are of {self.tracker}, not of {tracker}; start without them")
        problem = self._problem(layout)
        if problem:
            raise UsageError(f"saved tracks of {tracker} cannot be used: {problem}; start without them")
        return self.live.copy()

    def _problem(self, layout: np.dtype[Any]) -> str:
        """Returns what is wrong with the table; "" where nothing is."""
        if self.live.dtype != layout or self.live.ndim != 1:
            return "another version of watchline made them"
        if len(self.live) > _MOST_TRACKS:
            return f"{len(self.live)} tracks"
        ids = self.live["track_id"]
        if self.next_id < 1 or (np.diff(ids, prepend=0) <= 0).any() or (ids >= self.next_id).any():
            return f"ids do not ascend from 1 to below {self.next_id}"
        if math.isnan(self.now_s) or self.now_s == math.inf or (len(ids) > 0 and self.now_s == -math.inf):
            return f"their time is {self.now_s}"
        for name in layout.names or ():
            if not _sane(self.live[name], name, self.now_s):
                return f"{name} holds what no tracker saves"
        return ""


def _sane(values: NDArray[Any], name: str, now_s: float) -> bool:
    if values.dtype.names:
        return all(_sane(values[inner], inner, now_s) for inner in values.dtype.names)
    if name.endswith("_s"):
        return bool((values <= now_s).all())  # minus infinity: never
    if name in ("p_place", "p_speed") and not (values >= 0).all():
        return False
    if name == "state":
        return bool((values <= 2).all())
    with np.errstate(invalid="ignore"):  # some of the many NaNs warn when they are copied
        return bool((np.abs(values.astype(np.float64)) <= _MOST).all())
