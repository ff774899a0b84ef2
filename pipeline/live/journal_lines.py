"""What the journal of a camera says: a line a frame, a line where something is missing, a line that heads a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

from watchline.pipeline.live.outcome import Outcome
from watchline.pipeline.tables import json_line, track_rows
from watchline.trackers.tracks import Tracks

VERSION: Final = 1  # of the form of the lines


@dataclass(frozen=True, slots=True, eq=False)
class FrameLine:
    """One processed frame, without its pixels.

    Attributes:
        camera: its name.
        sequence: of the frame.
        pts_s: of the frame.
        since: when it was captured, UTC seconds.
        clock: where that comes from.
        clock_error_s: how far that may be off, seconds.
        tracks: seen there; may be empty.
        labels: class names.
    """

    camera: str
    sequence: int
    pts_s: float
    since: float
    clock: str
    clock_error_s: float
    tracks: Tracks
    labels: tuple[str, ...]

    @classmethod
    def of(cls, outcome: Outcome) -> FrameLine:
        """Returns what is worth a line; it does not hold the frame."""
        frame = outcome.frame
        return cls(
            frame.camera,
            frame.sequence,
            frame.pts_s,
            frame.captured_at,
            frame.clock.value,
            frame.clock_error_s,
            outcome.tracks,
            outcome.labels,
        )

    @property
    def at(self) -> float:
        """When it was captured, UTC seconds."""
        return self.since

    @property
    def highest_id(self) -> int:
        """The highest of its track ids; 0 without any."""
        return int(self.tracks.track_id.max()) if len(self.tracks) else 0

    def text(self) -> str:
        """Returns the line, without its end."""
        return json_line(
            {
                "type": "tracks",
                "camera": self.camera,
                "sequence": self.sequence,
                "pts_s": _number(self.pts_s, 6),
                "captured_at": _number(self.since, 3),
                "clock": self.clock,
                "clock_error_s": _number(self.clock_error_s, 6),
                "tracks": track_rows(self.tracks, self.labels),
            }
        )


@dataclass(frozen=True, slots=True)
class GapLine:
    """A time of which nothing is known.

    Attributes:
        camera: its name.
        since: when it began, UTC seconds.
        at: when it ended.
        reason: a word.
        lines: how many lines were lost in it; 0 where there were none to lose.
    """

    camera: str
    since: float
    at: float
    reason: str
    lines: int = 0

    @property
    def highest_id(self) -> int:
        """0: it tells of no tracks."""
        return 0

    def text(self) -> str:
        """Returns the line, without its end."""
        record: dict[str, object] = {
            "type": "gap",
            "camera": self.camera,
            "from": _number(self.since, 3),
            "to": _number(self.at, 3),
            "reason": self.reason,
        }
        return json_line({**record, "lines": self.lines} if self.lines else record)

    def with_more(self, line: Line) -> GapLine:
        """Returns the same gap with a line more that was lost in it."""
        lines = self.lines + (line.lines if isinstance(line, GapLine) and line.lines else 1)
        return GapLine(self.camera, min(self.since, line.since), max(self.at, line.at), self.reason, lines)


Line: TypeAlias = FrameLine | GapLine


def head_text(camera: str, at: float, highest_id: int) -> str:
    """Returns the first line of a file.

    Args:
        camera: whose file it is.
        at: time of its first line, UTC seconds.
        highest_id: of all ids in the files before it; ids go on from there even when those are gone.
    """
    return json_line(
        {"type": "file", "camera": camera, "version": VERSION, "from": _number(at, 3), "highest_id": highest_id}
    )


def _number(value: float, digits: int) -> float | None:
    """Returns a number as JSON can hold it; null where there is none."""
    return round(value, digits) if math.isfinite(value) else None
