"""OC-SORT: observations lead, the filter follows. What was seen last finds a track again and mends its motion.

Source: Cao et al., Observation-Centric SORT, CVPR 2023 (arXiv 2203.14360).
What differs from the authors' program, on purpose: a score equal to a threshold counts; classes never mix; life is in
seconds and frame intervals may vary; pairs that do not overlap are never weighed; the box that begins a track is an
observation; a box after a gap is learnt once; a confirmed track is reported again at once after a miss; sizes lag less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections
from watchline.streams.errors import UsageError
from watchline.trackers.associate import Candidates, Index, agreement, assign, directions, iou_cost
from watchline.trackers.kalman import F64, MOTION, follow_xysr, predict_xysr, start_xysr, xysr_to_xyxy, xyxy_to_xysr
from watchline.trackers.settings import expect_within
from watchline.trackers.table import STEP_S, TrackTable
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import Tracks, TrackState

OC_SORT: Final = "ocsort"

_PAST: Final = 8  # observations kept of a track
_MOST_STOPS: Final = 30  # boxes made up on the way through a gap

LIVE: Final = np.dtype(
    [
        ("track_id", np.int64),
        ("state", np.uint8),
        ("class_id", np.int32),
        ("score", np.float32),
        ("born_s", np.float64),
        ("seen_s", np.float64),
        ("streak", np.int64),  # detections in a row
        ("missed", np.int64),  # frames since the last detection
        ("detection", np.int32),
        ("direction", np.float64, (2,)),  # unit vector x, y that the object moves in; zeros: not known
        ("past", np.float64, (_PAST, 4)),  # xyxy of the last observations, newest first,
        ("past_s", np.float64, (_PAST,)),  # and their times
        ("motion", MOTION),  # of the box as xysr, as it was at `seen_s`
    ]
)


@dataclass(frozen=True, slots=True)
class OcSortOptions:
    """What an OC-SORT may be told.

    Attributes:
        det_score: detections from here on are matched first and begin tracks.
        low_score: detections from here up to `det_score` keep known tracks alive; equal to it: none do.
        min_iou: least IoU of a pair.
        low_iou: the same for a pair with a low score.
        inertia: how much a full turn away from a track's direction counts beside the IoU.
        direction_s: seconds back to the box that a direction is taken from.
        confirm_hits: detections in a row, the first counts, before a track is reported.
        lost_s: seconds that a track may go unseen, so also the longest frame interval that can be followed.
        coast_s: seconds that an unseen track is still reported, where it is expected; 0: not at all.
        box: "detection", as detected; "filtered", the Kalman filter's: smoother, better where boxes jitter.

    Raises:
        UsageError: a value outside its range.
    """

    det_score: float = 0.6
    low_score: float = 0.1
    min_iou: float = 0.3
    low_iou: float = 0.3
    inertia: float = 0.2
    direction_s: float = 0.1
    confirm_hits: int = 2
    lost_s: float = 1.0
    coast_s: float = 0.0
    box: Literal["filtered", "detection"] = "filtered"

    def __post_init__(self) -> None:
        if self.box not in ("filtered", "detection"):
            raise UsageError(f'box is "{self.box}"; take "filtered" or "detection"')
        scores = [("det_score", 0, 1), ("low_score", 0, self.det_score)]
        pairs = [("min_iou", 0.01, 1), ("low_iou", 0.01, 1), ("inertia", 0, 1), ("direction_s", 0, 10)]
        times = [("lost_s", 0, 86400), ("coast_s", 0, 86400)]
        expect_within(self, *scores, *pairs, ("confirm_hits", 1, 1000), *times)


class OcSort(TrackTable):
    """Follows the objects of one camera; a `Tracker` in NumPy.

    The tracks come out ascending by id. Ids are given in the order of falling scores, so the order of the
    detections within a frame changes nothing but the row numbers. Detections in the first frame, also
    after `reset`, are believed at once; later ones when they are seen in `confirm_hits` frames in a row.
    """

    def __init__(self, options: OcSortOptions | None = None, ids: TrackIds | None = None) -> None:
        super().__init__(OC_SORT, LIVE, ids or TrackIds())
        self._options = options or OcSortOptions()

    def update(self, detections: Detections, time_s: float) -> Tracks:
        """Takes one frame's detections and returns the tracks seen in it; see `Tracker.update`."""
        option, frame, first = self._options, Candidates.of(detections), self._now_s == -math.inf
        self._move_clock(time_s, option.lost_s)
        live = self._live
        high = np.flatnonzero(frame.score >= option.det_score)
        low = np.flatnonzero((frame.score >= option.low_score) & (frame.score < option.det_score))
        expected = self._expected()
        missed, new = self._match(np.arange(len(live)), frame, high, expected, option.min_iou, self._turns())
        missed, _ = self._match(missed, frame, low, expected, option.low_iou)
        missed, new = self._match(missed, frame, new, live["past"][:, 0], option.min_iou)
        live["missed"][missed] += 1
        live["streak"][missed] = 0
        self._begin(frame, new)
        self._live["state"][self._live["streak"] >= (1 if first else option.confirm_hits)] = TrackState.CONFIRMED
        return self._report(detections.xyxy)

    def _expected(self) -> F64:
        """Returns (N, 4) xyxy, where each track's motion leads until now."""
        steps = self._since(self._live["seen_s"])[:, None] / STEP_S
        return xysr_to_xyxy(predict_xysr(self._live["motion"], steps)["place"])

    def _turns(self) -> F64:
        """Returns (N, 4) xyxy, each track's oldest observation of the last `direction_s` seconds; else its newest."""
        recent = (self._since(self._live["past_s"]) <= self._options.direction_s).sum(axis=1)
        return np.asarray(self._live["past"][np.arange(len(recent)), np.maximum(recent - 1, 0)], np.float64)

    def _match(
        self, tracks: Index, frame: Candidates, boxes: Index, places: F64, least: float, turn: F64 | None = None
    ) -> tuple[Index, Index]:
        """Gives `boxes`, rows of `frame`, to `tracks`, rows of the live ones, by overlap with the tracks' `places`.

        With `turn`, a box that lies on from there in the track's direction is preferred. Returns what is left of both.
        """
        live, seen = self._live, frame.xyxy[boxes]
        cost = iou_cost(places[tracks], seen, live["class_id"][tracks], frame.class_id[boxes])
        apart = cost > 1 - least
        if turn is not None:
            away = directions(turn[tracks, None], seen[None])
            cost -= self._options.inertia * agreement(away, live["direction"][tracks, None]) * frame.score[boxes]
        cost[apart] = 9  # never
        pairs = assign(cost, 1)
        self._see(tracks[pairs.rows], frame, boxes[pairs.columns])
        return tracks[pairs.free_rows], boxes[pairs.free_columns]

    def _see(self, tracks: Index, frame: Candidates, boxes: Index) -> None:
        """Gives `boxes`, rows of `frame`, to `tracks`, rows of the live ones, and mends their motion through a gap."""
        live, known, box = self._live, self._live[tracks], frame.xyxy[boxes]
        live["direction"][tracks] = directions(self._turns()[tracks], box)
        steps, stops = self._since(known["seen_s"]) / STEP_S, np.minimum(known["missed"] + 1, _MOST_STOPS)
        live["motion"][tracks] = follow_xysr(known["motion"], known["past"][:, 0], box, steps, stops)
        self._note(tracks, frame, boxes)

    def _note(self, tracks: Index, frame: Candidates, boxes: Index) -> None:
        """Writes down that `tracks`, rows of the live ones, are seen now as `boxes`, rows of `frame`."""
        live = self._live
        for name, now in (("past", frame.xyxy[boxes]), ("past_s", self._now_s)):
            live[name][tracks, 1:] = live[name][tracks, :-1]
            live[name][tracks, 0] = now
        live["seen_s"][tracks], live["missed"][tracks] = self._now_s, 0
        live["streak"][tracks] += 1
        for name in ("score", "class_id", "detection"):
            live[name][tracks] = getattr(frame, name)[boxes]

    def _begin(self, frame: Candidates, boxes: Index) -> None:
        """Begins a track with each of `boxes`, rows of `frame`."""
        fresh = np.zeros(len(boxes), LIVE)
        fresh["track_id"], fresh["born_s"], fresh["past_s"] = [self._ids.next() for _ in boxes], self._now_s, -math.inf
        fresh["motion"] = start_xysr(xyxy_to_xysr(frame.xyxy[boxes]))
        self._live = np.concatenate([self._live, fresh])
        self._note(np.arange(len(self._live) - len(boxes), len(self._live)), frame, boxes)

    def _report(self, detected: F32) -> Tracks:
        """Returns the confirmed tracks that are seen now, and those that coast."""
        confirmed, seen = self._live["state"] == TrackState.CONFIRMED, self._live["missed"] == 0
        given = detected if self._options.box == "detection" else None
        return self._tracks(confirmed & seen, confirmed & ~seen, self._expected(), given, self._options.coast_s)
