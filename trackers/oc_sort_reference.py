"""OC-SORT as its authors published it, to the last detail, so that published results can be reproduced.

The details that a paper does not tell are kept, wanted or not; each is named where it happens. The ids of new
tracks depend on which pairs without overlap the solver happens to choose, so the solver is `lap`'s, always.

Source: Cao et al., Observation-Centric SORT, CVPR 2023 (arXiv 2203.14360), and the behaviour of the authors' program
of 2026-04-21.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import iou_matrix
from watchline.trackers import kalman
from watchline.trackers.associate import Assignment, Index, assign, drop_apart
from watchline.trackers.kalman import F64, I64, MOTION
from watchline.trackers.reference_options import OcSortReferenceOptions
from watchline.trackers.rows import Boxes, Rows
from watchline.trackers.tracker import TrackIds

_LOW_SCORE: Final = 0.1
_NONE: Final = -1  # every field of an observation that is missing, as the program has it
_NEVER: Final = -(2**31)  # an age that no track has, not even before its birth
_SHORT: Final = 1e-6  # pixels; keeps directions finite

_Live: TypeAlias = NDArray[np.void]  # (N,) of the tracker's own dtype, in the order of creation


class OcSortReference:
    """Follows the objects of one camera as the published program does; a `FrameStepper` in NumPy.

    The rows come out youngest track first, with the detection's box and score. The box that a track begins
    with is no observation: such a track has no direction and cannot be found again by its last box. One that
    began with a box without width is NaN while it is reported, and then dropped.
    """

    backend: Final = "python"

    def __init__(self, options: OcSortReferenceOptions | None = None, ids: TrackIds | None = None) -> None:
        self._options = options or OcSortReferenceOptions()
        self._ids = ids or TrackIds()
        self._dtype = _live_dtype(self._options.delta_t)
        self.reset()

    def reset(self) -> None:
        """Forgets every track and starts at frame 1; the ids go on."""
        self._live: _Live = np.empty(0, self._dtype)
        self._frame = 0

    def held(self) -> I64:
        """Returns the ids of all tracks that may be reported again."""
        ids: I64 = self._live["track_id"].copy()
        return ids

    def step(self, xyxy: F64, score: F64) -> Rows:
        """Takes one frame's detections and returns the tracks seen in it; see `FrameStepper.step`."""
        boxes, option = Boxes(xyxy, score), self._options
        self._frame += 1
        high = np.flatnonzero(score > option.det_thresh)
        low = np.flatnonzero((score > _LOW_SCORE) & (score < option.det_thresh))
        expected = self._predict()
        earlier = self._observation_back()  # of every track, before this frame changes them

        pairs = self._first_round(boxes, high, expected, earlier)
        self._see(pairs.columns, boxes, high[pairs.rows], earlier)
        new, missed = high[pairs.free_rows], pairs.free_columns
        if option.use_byte:
            _, missed = self._later_round(boxes, low, missed, expected, earlier)
        new, missed = self._later_round(boxes, new, missed, self._live["last"][:, :4], earlier)
        self._miss(missed)
        self._begin(boxes, new)
        rows = self._report()
        self._live = self._live[self._live["unseen"] <= option.max_age]
        return rows

    def _predict(self) -> F64:
        """Moves all tracks on by a frame, drops those without a box then, and returns the (N, 4) xyxy expected."""
        live = self._live
        live["motion"] = kalman.predict_xysr(live["motion"], steps=1)
        live["age"] += 1
        live["streak"][live["unseen"] > 0] = 0
        live["unseen"] += 1
        expected = kalman.xysr_to_xyxy(live["motion"]["place"])
        real = np.isfinite(expected).all(axis=1)
        self._live = live[real]
        return expected[real]

    def _observation_back(self) -> F64:
        """Returns (N, 5) each track's oldest observation (xyxy, score) of the last `delta_t` frames; else its last."""
        live, rows = self._live, np.arange(len(self._live))
        back = live["last"].copy()
        for frames in range(1, self._options.delta_t + 1):
            slot = (live["age"] - frames) % self._options.delta_t
            known = live["past_age"][rows, slot] == live["age"] - frames
            back[known] = live["past"][rows, slot][known]
        return back

    def _first_round(self, boxes: Boxes, high: Index, expected: F64, earlier: F64) -> Assignment:
        """Returns pairs of `high` boxes (rows) and all tracks (columns) by overlap and direction."""
        option, seen = self._options, boxes.xyxy[high]
        overlap = iou_matrix(seen, expected).astype(np.float64)
        near = overlap > option.iou_threshold
        if near.size and near.sum(axis=0).max() == 1 and near.sum(axis=1).max() == 1:
            rows, columns = np.nonzero(near)  # nothing to decide: the direction is not asked
            free = (np.flatnonzero(~near.any(axis=axis)) for axis in (1, 0))
            return Assignment(rows, columns, *free)
        away = _directions(earlier[None, :, :4], seen[:, None])
        cosine = (away * self._live["direction"]).sum(axis=2).clip(-1, 1)
        bonus = (math.pi / 2 - np.arccos(cosine)) / math.pi * (earlier[:, 4] >= 0) * option.inertia
        pairs = assign(-(overlap + bonus * boxes.score[high][:, None]), math.inf)
        return drop_apart(pairs, overlap, option.iou_threshold)

    def _later_round(self, boxes: Boxes, rows: Index, tracks: Index, places: F64, earlier: F64) -> tuple[Index, Index]:
        """Gives `rows` of `boxes` to `tracks` by their overlap with the tracks' `places`; returns what is left of both.

        Where nothing overlaps enough, what is left keeps its order; else it is sorted.
        """
        overlap = iou_matrix(boxes.xyxy[rows], places[tracks]).astype(np.float64)
        if overlap.max(initial=0) <= self._options.iou_threshold:
            return rows, tracks
        pairs = drop_apart(assign(-overlap, math.inf), overlap, self._options.iou_threshold)
        self._see(tracks[pairs.columns], boxes, rows[pairs.rows], earlier)
        return np.sort(rows[pairs.free_rows]), np.sort(tracks[pairs.free_columns])

    def _see(self, tracks: Index, boxes: Boxes, rows: Index, earlier: F64) -> None:
        """Notes that `tracks` are seen as `rows` of `boxes`; a box after a gap is learnt twice, as the program does."""
        live, option = self._live, self._options
        box = np.column_stack([boxes.xyxy[rows], boxes.score[rows]])
        seen, age = kalman.xyxy_to_xysr(boxes.xyxy[rows]), live["age"][tracks]
        known = live["last"][tracks].sum(axis=1) >= 0  # so a box far outside the picture counts as none
        live["direction"][tracks[known]] = _directions(earlier[tracks[known], :4], box[known, :4])
        back = (live["last"][tracks, 4] >= 0) & (live["unseen"][tracks] > 1)
        found = tracks[back]
        live["motion"][found] = kalman.retrace_xysr(
            live["frozen"][found], kalman.xyxy_to_xysr(live["last"][found, :4]), seen[back], live["unseen"][found]
        )
        live["motion"][tracks] = kalman.correct_xysr(live["motion"][tracks], seen)
        live["last"][tracks], live["past"][tracks, age % option.delta_t] = box, box
        live["past_age"][tracks, age % option.delta_t] = age
        live["unseen"][tracks] = 0
        live["streak"][tracks] += 1
        live["score"][tracks], live["detection"][tracks] = boxes.score[rows], rows

    def _miss(self, tracks: Index) -> None:
        """Keeps the motion of `tracks` as it is in the first frame that they are not seen in."""
        first = tracks[self._live["unseen"][tracks] == 1]
        self._live["frozen"][first] = self._live["motion"][first]

    def _begin(self, boxes: Boxes, rows: Index) -> None:
        """Begins a track with each of `rows` of `boxes`, in their order."""
        fresh = np.zeros(len(rows), self._dtype)
        fresh["track_id"] = [self._ids.next() for _ in rows]
        fresh["last"], fresh["past_age"] = _NONE, _NEVER
        fresh["score"], fresh["detection"] = boxes.score[rows], rows
        fresh["motion"] = kalman.start_xysr(kalman.xyxy_to_xysr(boxes.xyxy[rows]))
        self._live = np.concatenate([self._live, fresh])

    def _report(self) -> Rows:
        live, option = self._live, self._options
        shown = (live["unseen"] == 0) & ((live["streak"] >= option.min_hits) | (self._frame <= option.min_hits))
        seen = live[shown][::-1]
        filtered, observed = kalman.xysr_to_xyxy(seen["motion"]["place"]), seen["last"]
        return Rows(
            track_id=seen["track_id"].copy(),
            xyxy=np.where(observed.sum(axis=1, keepdims=True) < 0, filtered, observed[:, :4]),
            score=seen["score"].copy(),
            detection=seen["detection"].copy(),
        )


def _live_dtype(delta_t: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("track_id", np.int64),
            ("age", np.int64),  # frames since the first
            ("unseen", np.int64),  # frames since the last detection
            ("streak", np.int64),  # detections in a row
            ("direction", np.float64, (2,)),  # unit vector x, y; zeros: not known
            ("last", np.float64, (5,)),  # last observation: xyxy, score
            ("past", np.float64, (delta_t, 5)),  # that of age a is in row a % delta_t
            ("past_age", np.int64, (delta_t,)),
            ("score", np.float64),
            ("detection", np.int32),
            ("motion", MOTION),  # of the box as xysr
            ("frozen", MOTION),  # as it was in the first frame of the gap that is on
        ]
    )


def _directions(start: F64, end: F64) -> F64:
    """Returns (..., 2) unit vectors from the centres of (..., 4) xyxy `start` to those of `end`."""
    way = (end[..., :2] + end[..., 2:]) / 2 - (start[..., :2] + start[..., 2:]) / 2
    unit: F64 = way / (np.sqrt(np.square(way).sum(axis=-1, keepdims=True)) + _SHORT)
    return unit
