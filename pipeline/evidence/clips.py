"""Clips of a recording in which everyone but the subject is blurred, in every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, expect
from watchline.pipeline.evidence.blurring import Overlap, blurred, grown
from watchline.pipeline.files import writing
from watchline.streams.errors import StreamError, UsageError
from watchline.streams.frame import Frame

MOST_S: Final = 600.0  # of a clip
HOLD_S: Final = 1.0  # before the first box of somebody and after the last: trackers find late and lose early
_GROWS: Final = 0.5  # of a side, a second away from the nearest box
_GAP_S: Final = 2.0  # over a longer one nobody knows where the subject is


F64: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Where somebody was, box by box.

    Attributes:
        boxes: (M, 5) float64, the time in the source and xyxy, pixels of the frame; times grow, M is at least 1.

    Raises:
        ValueError: a wrong dtype or shape, or times that do not grow.
    """

    boxes: F64

    def __post_init__(self) -> None:
        expect("boxes", self.boxes, np.float64, (-1, 5))
        if not len(self.boxes) or not np.isfinite(self.boxes).all() or (np.diff(self.boxes[:, 0]) < 0).any():
            raise ValueError("boxes: want one or more, finite, in order of time")

    @classmethod
    def of(cls, path: F32, start_pts_s: float) -> Way:
        """Returns the way of a stored sighting.

        Args:
            path: (M, 5) float32, seconds since `start_pts_s` and box.
            start_pts_s: time of the sighting in its source, seconds.
        """
        boxes = path.astype(np.float64)
        boxes[:, 0] += start_pts_s
        return cls(boxes)

    def at(self, pts_s: float) -> F32 | None:
        """Returns the box (4,) at a time, between its neighbours; None where nobody knows it."""
        before, after = self._around(pts_s)
        if before is None or after is None or after[0] - before[0] > _GAP_S:
            return None
        share = (pts_s - before[0]) / (after[0] - before[0]) if after[0] > before[0] else 0.0
        return np.asarray(before[1:] + share * (after[1:] - before[1:]), np.float32)

    def covering(self, pts_s: float, hold_s: float = HOLD_S) -> F32 | None:
        """Returns a box (4,) that somebody does not leave between the boxes around a time; None where they were away.

        It spans both boxes, and grows with the time from the nearer one.
        """
        before, after = self._around(pts_s)
        around = [box for box in (before, after) if box is not None]
        away_s = min(abs(pts_s - box[0]) for box in around)
        if len(around) == 1 and away_s > hold_s:
            return None
        corners = np.array([box[1:] for box in around], np.float32)
        whole = np.concatenate([corners[:, :2].min(0), corners[:, 2:].max(0)])
        return grown(whole, _GROWS * min(away_s, 1.0))

    def _around(self, pts_s: float) -> tuple[F64 | None, F64 | None]:
        """Returns the last box up to a time, and the first from it on."""
        times = self.boxes[:, 0]
        last, first = np.searchsorted(times, pts_s, "right") - 1, np.searchsorted(times, pts_s, "left")
        return (self.boxes[last] if last >= 0 else None), (self.boxes[first] if first < len(times) else None)


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What a clip holds.

    Attributes:
        frames: how many.
        start_pts_s: time of the first in the source, seconds.
        end_pts_s: of the last.
        started_at: UTC seconds of the first.
        ended_at: of the last.
        clock: where these come from.
    """

    frames: int
    start_pts_s: float
    end_pts_s: float
    started_at: float
    ended_at: float
    clock: str


def write_clip(
    source: Path,
    out: Path,
    span: tuple[float, float],
    subject: Way | None,
    others: Sequence[Way],
    overlap: Overlap = Overlap.HEADS,
) -> ClipFacts:
    """Writes what a recording shows in a span of time to an MP4 file, without sound, everyone but the subject blurred.

    Only who has a way is blurred: give the ways of all that were seen, or found anew, from `HOLD_S` before the span to
    `HOLD_S` after it. The recording is decoded from its start.

    Args:
        source: the recording.
        out: the clip; replaced if it is there.
        span: from, to, seconds in the source; at most `MOST_S` long.
        subject: who stays; None: nobody.
        others: everybody else.
        overlap: what is done where another's box lies over the subject's.

    Raises:
        UsageError: the span is too long, or none.
        StreamError: the recording cannot be read, or shows nothing then.
        OutputError: the clip cannot be written.
    """
    from watchline.pipeline.video import VideoWriter
    from watchline.streams.opening import open_source

    start_s, end_s = span
    if not 0 < end_s - start_s <= MOST_S:
        raise UsageError(f"a clip from {start_s:g} to {end_s:g} s: want more than none, and at most {MOST_S:g} s")
    reading = open_source(str(source))
    part = out.with_name(out.name + ".part")
    first = last = None
    frames = 0
    try:
        writer = VideoWriter(part, reading.info.fps)
        with closing(writer):
            for frame in _within(iter(reading.read, None), start_s, end_s):
                found = [way.covering(frame.pts_s) for way in others]
                stays = subject.at(frame.pts_s) if subject else None
                boxes = [box for box in found if box is not None]
                writer.write(blurred(frame.rgb(), stays, boxes, overlap), frame.pts_s)
                first, last, frames = first or frame, frame, frames + 1
        if frames:
            with writing(out):
                part.replace(out)
    finally:
        reading.close()
        part.unlink(missing_ok=True)
    if first is None or last is None:
        raise StreamError(f"{source}: shows nothing from {start_s:g} to {end_s:g} s; it may be shorter")
    return ClipFacts(frames, first.pts_s, last.pts_s, first.captured_at, last.captured_at, first.clock.value)


def _within(frames: Iterator[Frame], start_s: float, end_s: float) -> Iterator[Frame]:
    for frame in frames:
        if frame.pts_s > end_s:
            return
        if frame.pts_s >= start_s:
            yield frame
