"""Text files of detections and tracks, one box a line: read whole and checked, tracked, written to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import xyxy_to_tlwh
from watchline.detectors.detections import Detections
from watchline.streams.errors import StreamError
from watchline.trackers.rows import FrameStepper, Rows
from watchline.trackers.tracker import Tracker
from watchline.trackers.tracks import I64

F64: TypeAlias = NDArray[np.float64]
Layout: TypeAlias = Literal["tlwh", "xyxy"]
LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)

_FORMS: Final = {"tlwh": "frame,id,x,y,w,h,score", "xyxy": "frame,x1,y1,x2,y2,score"}
_MOST_FRAMES: Final = 10_000_000  # four days at 30 a second: beyond it a frame number is a mistake
_FAR_PX: Final = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class DetectionFile:
    """The detections of one sequence, by frame; those of a frame in the order of the file.

    Attributes:
        frame: (N,) int64, from 1, never falling.
        xyxy: (N, 4) float64, pixels.
        score: (N,) float64 in [0, 1].
    """

    frame: I64
    xyxy: F64
    score: F64

    @property
    def last_frame(self) -> int:
        """The number of the last frame with a detection; 0 where there is none."""
        return int(self.frame.max(initial=0))

    def frames(self, count: int) -> Iterator[tuple[F64, F64]]:
        """Yields boxes (N, 4) and scores (N,) of every frame from 1 to `count`, empty ones too."""
        for start, end in pairwise(np.searchsorted(self.frame, np.arange(1, count + 2))):
            yield self.xyxy[start:end], self.score[start:end]


def read_detections(path: Path, layout: Layout) -> DetectionFile:
    """Returns the detections in a text file.

    Args:
        path: lines of numbers with commas between them; empty lines are skipped.
        layout: "tlwh": frame,id,x,y,w,h,score and whatever follows, as MOTChallenge has it;
            "xyxy": frame,x1,y1,x2,y2,score.

    Raises:
        StreamError: it cannot be read; names the line, the value and what to do.
    """
    numbers, rows = _read_numbers(path, layout)
    table = np.array(rows, np.float64).reshape(len(rows), len(_FORMS[layout].split(",")))
    frame, boxes, score = table[:, 0], table[:, -5:-1], table[:, -1]
    corner = boxes[:, 2:] + boxes[:, :2] if layout == "tlwh" else boxes[:, 2:]
    size = boxes[:, 2:] if layout == "tlwh" else boxes[:, 2:] - boxes[:, :2]
    faults = (
        ((frame < 1) | (frame > _MOST_FRAMES) | (frame % 1 != 0), "frame", f"want 1, 2, ... up to {_MOST_FRAMES}"),
        (~(np.abs(boxes) <= _FAR_PX).all(axis=1), "box", "want four finite numbers of pixels"),
        ((size[:, 0] < 0) | ~(corner[:, 1] > boxes[:, 1]), "box", _want_size(layout)),
        (~((score >= 0) & (score <= 1)), "score", "want a number from 0 to 1; rescale the scores"),
    )
    for bad, name, want in faults:
        if bad.any():
            row = int(bad.argmax())
            value = {"frame": frame[row], "score": score[row], "box": ",".join(f"{each:g}" for each in boxes[row])}[
                name
            ]
            raise StreamError(f"{path}: line {numbers[row]}: {name} is {value}; {want}")
    order = np.argsort(frame, kind="stable")
    xyxy = np.concatenate([boxes[:, :2], corner], axis=1)
    return DetectionFile(frame[order].astype(np.int64), xyxy[order], score[order])


def _want_size(layout: Layout) -> str:
    if layout == "tlwh":
        return "want x,y,w,h with w from 0 and h above 0"
    return "want x1,y1,x2,y2 with x2 from x1 and y2 above y1; or is it x,y,w,h (--boxes tlwh)?"


def _read_numbers(path: Path, layout: Layout) -> tuple[list[int], list[list[float]]]:
    """Returns line numbers, from 1, and the numbers of every line that is not empty, as many as the layout has."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StreamError(f"{path}: cannot read ({reason}); give a text file of detections") from error
    except UnicodeDecodeError as error:
        raise StreamError(f"{path}: no text (byte {error.start}); give a text file of detections") from error
    numbers, rows = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            numbers.append(number)
            rows.append(_read_line(line, layout, f"{path}: line {number}"))
    return numbers, rows


def _read_line(line: str, layout: Layout, where: str) -> list[float]:
    form = _FORMS[layout]
    names, values = form.split(","), line.split(",")
    if len(values) < len(names) or (layout == "xyxy" and len(values) > len(names)):
        other = next(each for each in LAYOUTS if each != layout)
        raise StreamError(
            f"{where}: {len(values)} values, want {form}; mend the line, or try --boxes {other} ({_FORMS[other]})"
        )
    row = []
    for name, value in zip(names, values, strict=False):
        try:
            row.append(float(value))
        except ValueError as error:
            raise StreamError(
                f'{where}: {name} is "{value.strip()}", want a number; mend or remove the line'
            ) from error
    return row


class TimedStepper:
    """A `Tracker` that is called as a `FrameStepper` is: frame i is at (i - 1) / fps seconds; boxes become float32.

    Attributes:
        dropped: boxes left out so far, because in float32 they have no area.
    """

    def __init__(self, tracker: Tracker, fps: float) -> None:
        self._tracker = tracker
        self._fps = fps
        self.dropped = 0
        self.reset()

    @property
    def backend(self) -> str:
        """What does the work: "python" or "native"."""
        return self._tracker.backend

    def reset(self) -> None:
        """Forgets every track and starts at frame 1; the ids go on."""
        self._tracker.reset()
        self._frames = 0

    def step(self, xyxy: F64, score: F64) -> Rows:
        """Takes one frame's detections and returns the tracks seen in it; see `FrameStepper.step`."""
        boxes = xyxy.astype(np.float32)
        real = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        self.dropped += len(boxes) - len(real)
        found = Detections(boxes[real], score[real].astype(np.float32), np.zeros(len(real), np.int32))
        tracks = self._tracker.update(found, self._frames / self._fps)
        self._frames += 1
        row = np.append(real, -1)[tracks.detection]  # a coasting track keeps its -1, and its last score
        shown = np.where(row < 0, tracks.score, np.append(score, 0)[row])
        return Rows(tracks.track_id, tracks.xyxy.astype(np.float64), shown, row.astype(np.int32))


def track_lines(found: DetectionFile, stepper: FrameStepper | TimedStepper, count: int) -> Iterator[str]:
    """Yields a line frame,id,x,y,w,h,score for every row of frames 1 to `count`, in the tracker's order.

    Every number is as short as can be without loss: read again it is the same float64.
    """
    for frame, (xyxy, score) in enumerate(found.frames(count), 1):
        rows = stepper.step(xyxy, score)
        table = np.column_stack([xyxy_to_tlwh(rows.xyxy), rows.score]).tolist()
        for track_id, values in zip(rows.track_id.tolist(), table, strict=True):
            yield f"{frame},{track_id},{','.join(map(repr, values))}"
