"""How good are tracks? HOTA, MOTA, IDF1 and ID switches against a ground truth in MOTChallenge files.

The measures are those of the library `motrics` (extra `eval`); here they are added up over sequences.

Source: Luiten et al., HOTA, IJCV 2020 (arXiv 2009.07736); Bernardin and Stiefelhagen, CLEAR MOT, 2008;
Ristani et al., IDF1, 2016 (arXiv 1609.01775).
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from watchline.streams.errors import StreamError, UsageError
from watchline.trackers.kalman import F64

if TYPE_CHECKING:
    from motrics import EvaluationResult

_WITH_DISTRACTORS: Final = ("MOT16", "MOT17", "MOT20")  # benchmarks whose truth names what a tracker may mistake


@dataclass(frozen=True, slots=True)
class Scores:
    """What tracks are worth: shares from 0 to 1 (`mota` may be negative), and a count.

    Attributes:
        hota: over all thresholds the mean of sqrt(detection * association accuracy).
        deta: detection accuracy.
        assa: association accuracy.
        mota: 1 - (misses + false boxes + switches) / true boxes.
        idf1: share of boxes under the right identity.
        switches: times that an object's id changed.
    """

    hota: float
    deta: float
    assa: float
    mota: float
    idf1: float
    switches: int


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """The counts behind the scores of one sequence, or of several: tallies add up, scores do not.

    Attributes:
        hits: (A,) float64, boxes found, for each of A thresholds of overlap.
        missed: (A,) float64.
        invented: (A,) float64.
        association: (A,) float64, sum of the association accuracy over hits.
        clear: (4,) float64: misses, false boxes, switches, true boxes at overlap 0.5.
        identity: (3,) float64: true, missed, false identities.
    """

    hits: F64
    missed: F64
    invented: F64
    association: F64
    clear: F64
    identity: F64

    @classmethod
    def of(cls, result: EvaluationResult) -> Self:
        """Returns the tally of one sequence."""
        hota, clear, identity = result.hota, result.clear, result.identity
        hits = np.array(hota.hota_tp_alphas, np.float64)
        return cls(
            hits,
            np.array(hota.hota_fn_alphas, np.float64),
            np.array(hota.hota_fp_alphas, np.float64),
            np.array(hota.assa_alphas, np.float64) * hits,
            np.array([clear.num_misses, clear.num_false_positives, clear.num_switches, clear.num_gt], np.float64),
            np.array([identity.idtp, identity.idfn, identity.idfp], np.float64),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def scores(self) -> Scores:
        """Returns the scores; 0 where there was nothing to find."""
        association = self.association / np.maximum(self.hits, 1e-10)
        detection = self.hits / np.maximum(self.hits + self.missed + self.invented, 1)
        *wrong, true_boxes = self.clear
        right, missed, false = self.identity
        return Scores(
            hota=float(np.sqrt(association * detection).mean()),
            deta=float(detection.mean()),
            assa=float(association.mean()),
            mota=1 - float(sum(wrong)) / max(1.0, float(true_boxes)),
            idf1=float(right / max(0.5, right + missed / 2 + false / 2)),
            switches=int(wrong[2]),
        )


def tally(name: str, truth: Path, tracks: Path) -> Tally:
    """Returns the counts of one sequence.

    Args:
        name: of the sequence; those of MOT16, MOT17 and MOT20 get their benchmark's treatment of distractors:
            a track on a still person, a reflection or the like counts neither way, and only people count.
        truth: MOTChallenge file frame,id,x,y,w,h,... of what was there.
        tracks: the same of what the tracker says.

    Raises:
        StreamError: a file cannot be read; names the line, the value and what to do.
        UsageError: the library is not installed.
    """
    try:
        import motrics
    except ModuleNotFoundError as error:
        raise UsageError("evaluation needs the package motrics; install watchline[eval]") from error
    for path in (truth, tracks):
        _check(path)
    found = motrics.load_motchallenge(tracks)
    if name.startswith(_WITH_DISTRACTORS):
        known = motrics.load_motchallenge_gt(truth)
        true_ids, true_boxes, ids, boxes = motrics.preprocess_motchallenge(known, found, benchmark=name[:5])
    else:
        true_ids, true_boxes, ids, boxes = motrics.align_frames(motrics.load_motchallenge(truth), found)
    return Tally.of(motrics.evaluate(motrics.Frames(true_ids, true_boxes), motrics.Frames(ids, boxes)))


def _check(path: Path) -> None:
    """Refuses a file that is no table of boxes, or that has an id twice in a frame."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "unknown").lower() if isinstance(error, OSError) else "no text"
        raise StreamError(f"{path}: cannot read ({reason}); give a MOTChallenge file") from error
    seen: set[tuple[float, float]] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        values = line.split(",")
        if len(values) < 6:
            raise StreamError(f"{path}: line {number}: {len(values)} values, want frame,id,x,y,w,h,...; mend the line")
        frame, track_id, *_ = (_number(value, f"{path}: line {number}") for value in values)
        if (frame, track_id) in seen:
            raise StreamError(
                f"{path}: line {number}: id {track_id:g} is there twice in frame {frame:g}; mend the file"
            )
        seen.add((frame, track_id))


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise StreamError(f'{where}: "{text.strip()}" is no number; mend or remove the line')
    return value
