"""ByteTrack: every box counts. Sure detections begin tracks; the unsure ones keep known tracks alive.

Source: Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every Detection Box, ECCV 2022 (arXiv 2110.06864).
What differs from the authors' program, on purpose: a score equal to a threshold counts; classes never mix; life is in
seconds and frame intervals may vary; a removed track is gone; two tracks of one object are joined in the same frame;
an unsure detection also brings a lost track back, at a little less overlap (in synthetic crowds of 200: HOTA 76 to 81);
the filter's aspect keeps up with the boxes: a width that was wrong once goes in frames, not in a second (81.2 to 83.3
there; on four MOT17 sequences 39.1 to 40.1, of cars in KITTI 60.3 to 62.3).

Two more differences keep apart those who cross. Two tracks that lived side by side are two objects, however much they
overlap: who is hidden behind another is not that other's duplicate (crowds of 500: 69.5 to 71.5; 48 people who cross a
square: 79.6 to 86.6). And sure and unsure detections are assigned at once, not one after the other, where who is in
front could take the track of who is half hidden (crowds of 500: 71.5 to 72.7; 80 people on the square: 79.7 to 82.9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.detections import Detections
from watchline.streams.errors import UsageError
from watchline.trackers.associate import Candidates, Index, assign, iou_cost
from watchline.trackers.kalman import F64, MOTION, follow_xyah, predict_xyah, start_xyah, xyah_to_xyxy, xyxy_to_xyah
from watchline.trackers.settings import expect_within
from watchline.trackers.table import STEP_S, TrackTable
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import Tracks, TrackState

BYTE_TRACK: Final = "bytetrack"

LIVE: Final = np.dtype(
    [
        ("track_id", np.int64),
        ("state", np.uint8),
        ("class_id", np.int32),
        ("score", np.float32),
        ("born_s", np.float64),
        ("seen_s", np.float64),
        ("detection", np.int32),
        ("motion", MOTION),  # of the box as xyah
    ]
)


@dataclass(frozen=True, slots=True)
class ByteTrackOptions:
    """What a ByteTrack may be told.

    Attributes:
        high_score: detections from here on are sure: they count for more, and confirm new tracks.
        low_score: detections from here up to `high_score` keep known tracks alive or bring them back.
        new_score: detections from here on begin a track; not below `high_score`.
        high_cost: largest cost, 1 - IoU, of a pair with a high score.
        low_cost: the same for a pair with a low score; at their limits, either kind is worth the same.
        tentative_cost: the same for the second sight of a track.
        fuse_score: multiply the IoU of high-score pairs by the score.
        duplicate_iou: a seen and a lost track that overlap more are one object, if the seen one is the later.
        lost_s: seconds that a track may go unseen, so also the longest frame interval that can be followed.
        coast_s: seconds that an unseen track is still reported, where it is expected; 0: not at all.
        box: "filtered", the Kalman filter's; "detection", as detected.

    Raises:
        UsageError: a value outside its range.
    """

    high_score: float = 0.5
    low_score: float = 0.1
    new_score: float = 0.6
    high_cost: float = 0.8
    low_cost: float = 0.6
    tentative_cost: float = 0.7
    fuse_score: bool = True
    duplicate_iou: float = 0.85
    lost_s: float = 1.0
    coast_s: float = 0.0
    box: Literal["filtered", "detection"] = "filtered"

    def __post_init__(self) -> None:
        if self.box not in ("filtered", "detection"):
            raise UsageError(f'box is "{self.box}"; take "filtered" or "detection"')
        scores = [("high_score", 0, 1), ("low_score", 0, self.high_score), ("new_score", self.high_score, 1)]
        costs = [(name, 0, 0.99) for name in ("high_cost", "low_cost", "tentative_cost")]
        times = [("lost_s", 0, 86400), ("coast_s", 0, 86400)]
        expect_within(self, *scores, *costs, ("duplicate_iou", 0, 1), *times)


class ByteTrack(TrackTable):
    """Follows the objects of one camera; a `Tracker` in NumPy.

    The tracks come out ascending by id. Ids are given in the order of falling scores, so the order of the
    detections within a frame changes nothing but the row numbers. Detections in the first frame, also
    after `reset`, are believed at once; later ones when they are seen in the next frame again.
    """

    def __init__(self, options: ByteTrackOptions | None = None, ids: TrackIds | None = None) -> None:
        super().__init__(BYTE_TRACK, LIVE, ids or TrackIds())
        self._options = options or ByteTrackOptions()

    def update(self, detections: Detections, time_s: float) -> Tracks:
        """Takes one frame's detections and returns the tracks seen in it; see `Tracker.update`."""
        newborn = TrackState.CONFIRMED if self._now_s == -math.inf else TrackState.TENTATIVE
        self._predict(time_s)
        option, live, frame = self._options, self._live, Candidates.of(detections)
        tentative = live["state"] == TrackState.TENTATIVE

        free = self._match(~tentative, frame, np.flatnonzero(frame.score >= option.low_score), option.high_cost)
        free = free[frame.score[free] >= option.high_score]
        free = self._match(tentative, frame, free, option.tentative_cost)

        unseen = live["seen_s"] < time_s
        live["state"][unseen] = TrackState.LOST
        self._live = live[~(unseen & tentative)]
        self._join_duplicates()
        self._begin(frame, free[frame.score[free] >= option.new_score], newborn)
        return self._report(detections.xyxy)

    def _predict(self, time_s: float) -> None:
        """Moves the clock and the tracks that are not too old on to `time_s`."""
        before_s = self._now_s
        self._move_clock(time_s, self._options.lost_s)
        live = self._live
        live["motion"]["speed"][live["state"] == TrackState.LOST, 3] = 0  # an unseen object keeps its height
        live["motion"] = predict_xyah(live["motion"], float(self._since(before_s)) / STEP_S)

    def _match(self, which: NDArray[np.bool_], frame: Candidates, boxes: Index, limit: float) -> Index:
        """Gives `boxes`, rows of `frame`, to the live tracks that are `which`; returns the boxes that are left."""
        live, tracks = self._live, np.flatnonzero(which)
        expected, weight = xyah_to_xyxy(live["motion"]["place"][tracks]), self._weight(frame.score[boxes])
        cost = iou_cost(expected, frame.xyxy[boxes], live["class_id"][tracks], frame.class_id[boxes], weight)
        pairs = assign(cost, limit)
        matched, seen = tracks[pairs.rows], boxes[pairs.columns]
        live["motion"][matched] = follow_xyah(live["motion"][matched], xyxy_to_xyah(frame.xyxy[seen]))
        self._see(matched, frame, seen, TrackState.CONFIRMED)
        return boxes[pairs.free_columns]

    def _weight(self, score: F32) -> F64:
        """Returns what the overlaps of detections count for, by their (N,) `score`."""
        option = self._options
        sure = score.astype(np.float64) if option.fuse_score else 1.0
        return np.where(score >= option.high_score, sure, (1 - option.high_cost) / (1 - option.low_cost))

    def _see(self, tracks: Index, frame: Candidates, boxes: Index, state: TrackState) -> None:
        """Notes that `tracks`, rows of the live ones, are seen now as `boxes`, rows of `frame`."""
        live = self._live
        live["state"][tracks], live["seen_s"][tracks] = state, self._now_s
        for name in ("score", "class_id", "detection"):
            live[name][tracks] = getattr(frame, name)[boxes]

    def _join_duplicates(self) -> None:
        """Joins lost tracks with the later one that covers them, under the id of the longest life; its own in a tie."""
        live = self._live
        seen, lost = (np.flatnonzero(live["state"] == state) for state in (TrackState.CONFIRMED, TrackState.LOST))
        boxes, class_id = xyah_to_xyxy(live["motion"]["place"]), live["class_id"]
        cost = iou_cost(boxes[lost], boxes[seen], class_id[lost], class_id[seen])
        life, identity = self._since(live["born_s"]) - self._since(live["seen_s"]), live[["track_id", "born_s"]]
        for old, new in [(lost[i], seen[j]) for i, j in np.argwhere(cost < 1 - self._options.duplicate_iou)]:
            if live["seen_s"][old] >= live["born_s"][new]:
                continue  # they lived side by side: two objects, one behind the other
            if life[old] > life[new] and live["state"][old] == TrackState.LOST:
                identity[new], life[new] = identity[old], self._since(live["born_s"][old])  # a view: writes to live
            live["state"][old] = TrackState.REMOVED
        self._live = np.sort(live[live["state"] != TrackState.REMOVED], order="track_id")

    def _begin(self, frame: Candidates, boxes: Index, state: TrackState) -> None:
        """Begins a track with each of `boxes`, rows of `frame`."""
        fresh = np.zeros(len(boxes), LIVE)
        fresh["track_id"], fresh["born_s"] = [self._ids.next() for _ in boxes], self._now_s
        fresh["motion"] = start_xyah(xyxy_to_xyah(frame.xyxy[boxes]))
        self._live = np.concatenate([self._live, fresh])
        self._see(np.arange(len(self._live) - len(boxes), len(self._live)), frame, boxes, state)

    def _report(self, detected: F32) -> Tracks:
        """Returns the confirmed tracks: all that are not lost now, and those that coast."""
        seen, lost = (self._live["state"] == state for state in (TrackState.CONFIRMED, TrackState.LOST))
        places, given = xyah_to_xyxy(self._live["motion"]["place"]), self._options.box == "detection"
        return self._tracks(seen, lost, places, detected if given else None, self._options.coast_s)
