"""Agreement: how far two models find the same objects in the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32, iou_matrix
from watchline.detectors.detections import Detections

Index: TypeAlias = NDArray[np.intp]

LOOSE_IOU: Final = 0.5
TIGHT_IOU: Final = 0.9
_SCORES: Final = tuple(round(step / 100, 2) for step in range(1, 100))  # that may be suggested


@dataclass(frozen=True, slots=True)
class Agreement:
    """What model B finds of what model A finds. Shares are in [0, 1], and 1 where there is nothing to find.

    Attributes:
        score: what counts as found, by either model.
        boxes_a: boxes of A that count.
        boxes_b: the same of B.
        matched: pairs of them, of one class, that overlap by `LOOSE_IOU` or more.
        matched_tight: the same by `TIGHT_IOU`.
        found_fainter: share of A's boxes that B finds at all, whatever score it gives them.
        mean_iou: of the pairs of `matched`.
        score_bias: mean of B's score less A's, over the boxes of A that B finds at all.
        score_shift: mean of the absolute difference, over the same.
        score_shift_p95: its 95th percentile.
    """

    score: float
    boxes_a: int
    boxes_b: int
    matched: int
    matched_tight: int
    found_fainter: float
    mean_iou: float
    score_bias: float
    score_shift: float
    score_shift_p95: float

    @property
    def recall(self) -> float:
        """Share of A's boxes that B has."""
        return _share(self.matched, self.boxes_a)

    @property
    def precision(self) -> float:
        """Share of B's boxes that A has."""
        return _share(self.matched, self.boxes_b)

    @property
    def recall_tight(self) -> float:
        """Share of A's boxes that B has nearly to the pixel."""
        return _share(self.matched_tight, self.boxes_a)

    @property
    def precision_tight(self) -> float:
        """Share of B's boxes that A has nearly to the pixel."""
        return _share(self.matched_tight, self.boxes_b)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The scores at which B gives most nearly what A gives at its own.

    Attributes:
        score: least score of a detection, where recall and precision together are best.
        recall: of A's boxes, by B's from that score on.
        precision: the same.
        low_score: where B has as many boxes as A has from its own low score on: what keeps a track alive.
    """

    score: float
    recall: float
    precision: float
    low_score: float


def agreement(a: Sequence[Detections], b: Sequence[Detections], score: float = 0.25) -> Agreement:
    """Returns how far `b` agrees with `a`.

    Args:
        a: of the model to agree with, one a frame.
        b: of the other model, for the same frames. Either should hold boxes well below `score`, too: what became
            fainter is then told from what is gone.
        score: what counts as found, in [0, 1].

    Raises:
        ValueError: different numbers of frames.

    >>> one = Detections(np.float32([[0, 0, 10, 10]]), np.float32([0.5]), np.int32([0]))
    >>> same = agreement([one], [one])
    >>> same.recall, same.precision, same.mean_iou, same.score_shift
    (1.0, 1.0, 1.0, 0.0)
    """
    sure_a, sure_b = _from(a, score), _from(b, score)
    loose = [pairs(x, y, LOOSE_IOU) for x, y in zip(sure_a, sure_b, strict=True)]
    tight = sum(len(pairs(x, y, TIGHT_IOU)[0]) for x, y in zip(sure_a, sure_b, strict=True))
    ious = [_overlaps(x, y, rows) for x, y, rows in zip(sure_a, sure_b, loose, strict=True)]
    shifts = [np.empty(0, np.float64)]
    for x, y, faint, taken in zip(sure_a, sure_b, _below(b, score), loose, strict=True):
        shifts.append(y.score[taken[1]].astype(np.float64) - x.score[taken[0]])
        lost = x[np.setdiff1d(np.arange(len(x)), taken[0])]
        rows, columns = pairs(lost, faint, LOOSE_IOU)
        shifts.append(faint.score[columns].astype(np.float64) - lost.score[rows])
    shift, boxes_a, matched = np.concatenate(shifts), sum(map(len, sure_a)), sum(len(rows) for rows, _ in loose)
    return Agreement(
        score=score,
        boxes_a=boxes_a,
        boxes_b=sum(map(len, sure_b)),
        matched=matched,
        matched_tight=tight,
        found_fainter=_share(len(shift), boxes_a),
        mean_iou=float(np.concatenate(ious).mean()) if matched else 1.0,
        score_bias=float(shift.mean()) if len(shift) else 0.0,
        score_shift=float(np.abs(shift).mean()) if len(shift) else 0.0,
        score_shift_p95=float(np.percentile(np.abs(shift), 95)) if len(shift) else 0.0,
    )


def pairs(a: Detections, b: Detections, least_iou: float) -> tuple[Index, Index]:
    """Returns rows of `a` and of `b` that are one object: of one class, overlapping by `least_iou` or more.

    The pairs that overlap most come first, of equal ones the surest, and each box is in one pair at most. It does not
    matter which of both is `a`.

    Returns:
        Two (M,) index arrays, row i of one with row i of the other.
    """
    rows, columns = _candidates(a, b, least_iou)
    kept = _greedy(rows, columns)
    return rows[kept], columns[kept]


def _candidates(a: Detections, b: Detections, least_iou: float) -> tuple[Index, Index]:
    """Returns all pairs that may be one object, as (P,) rows of `a` and of `b`, the best first."""
    iou = iou_matrix(a.xyxy, b.xyxy)
    rows, columns = np.nonzero((iou >= least_iou) & (a.class_id[:, None] == b.class_id[None, :]))
    # The places break ties in a way that is the same from both sides.
    keys = (
        a.xyxy[rows].sum(axis=1) + b.xyxy[columns].sum(axis=1),
        a.score[rows] + b.score[columns],
        iou[rows, columns],
    )
    order = np.lexsort([-key for key in keys])
    return rows[order], columns[order]


def _greedy(rows: Index, columns: Index) -> Index:
    """Returns which pairs to keep so that each row and each column is in one at most, the first ones first."""
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    kept = []
    for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        if row not in taken_rows and column not in taken_columns:
            taken_rows.add(row)
            taken_columns.add(column)
            kept.append(i)
    return np.array(kept, np.intp)


def suggest_thresholds(
    a: Sequence[Detections], b: Sequence[Detections], score: float = 0.25, low_score: float = 0.1
) -> Thresholds:
    """Returns the scores at which `b` agrees best with what `a` holds from `score` and from `low_score` on.

    Args:
        a: of the model to agree with, one a frame.
        b: of the other model, for the same frames; scores below its faintest box cannot be suggested.
        score: what counts as found by A, in [0, 1].
        low_score: what A's tracks live on.

    >>> sure = Detections(np.float32([[0, 0, 10, 10]]), np.float32([0.5]), np.int32([0]))
    >>> faint = Detections(np.float32([[0, 0, 10, 10]]), np.float32([0.2]), np.int32([0]))
    >>> suggest_thresholds([sure], [faint]).score
    0.2
    """
    sure_a, scores_b = _from(a, score), _scores(b)
    boxes_a = sum(map(len, sure_a))
    candidates = [(*_candidates(x, y, LOOSE_IOU), y.score) for x, y in zip(sure_a, b, strict=True)]
    best = (-1.0, 0.0, score, 0)
    for least in _SCORES:
        hits = 0
        for rows, columns, scores in candidates:
            there = scores[columns] >= np.float32(least)
            hits += len(_greedy(rows[there], columns[there]))
        both = boxes_a + _at_least(scores_b, least)
        # F1 of recall and precision; of equal ones the score nearest to A's own.
        best = max(best, (2 * hits / both if both else 1.0, -abs(least - score), least, hits))
    _, _, chosen, hits = best
    return Thresholds(
        score=chosen,
        recall=_share(hits, boxes_a),
        precision=_share(hits, _at_least(scores_b, chosen)),
        low_score=min(chosen, _as_many(scores_b, _at_least(_scores(a), low_score), low_score)),
    )


def _as_many(scores: F32, wanted: int, usual: float) -> float:
    """Returns the score from which on nearest to `wanted` of `scores` lie; of equal ones the nearest to `usual`."""
    return min(_SCORES, key=lambda score: (abs(_at_least(scores, score) - wanted), abs(score - usual)))


def _at_least(scores: F32, score: float) -> int:
    return int((scores >= np.float32(score)).sum())


def _scores(found: Sequence[Detections]) -> F32:
    return np.concatenate([np.empty(0, np.float32), *(detections.score for detections in found)])


def _from(found: Sequence[Detections], score: float) -> list[Detections]:
    return [detections[detections.score >= np.float32(score)] for detections in found]


def _below(found: Sequence[Detections], score: float) -> list[Detections]:
    return [detections[detections.score < np.float32(score)] for detections in found]


def _overlaps(a: Detections, b: Detections, matched: tuple[Index, Index]) -> NDArray[np.floating]:
    """Returns the (M,) overlaps of matched boxes."""
    return iou_matrix(a.xyxy, b.xyxy)[matched]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
