"""ByteTrack as its authors published it, to the last detail, so that published results can be reproduced.

The details that a paper does not tell are kept, wanted or not; each is named where it happens. `byte_track`
is the tracker to use: it has them mended.

Source: Zhang et al., ByteTrack, ECCV 2022 (arXiv 2110.06864), and the behaviour of the authors' program of 2022-12-11.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import iou_matrix
from watchline.trackers.associate import Index, assign
from watchline.trackers.kalman import F64, MOTION, correct_xyah, drift_xyah, start_xyah, xyah_to_xyxy, xyxy_to_xyah
from watchline.trackers.reference_options import ByteTrackReferenceOptions
from watchline.trackers.rows import Boxes, Rows
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import I64

_LOW_SCORE: Final = 0.1
_NEW_MARGIN: Final = 0.1  # a new track needs this much more than track_thresh
_LOW_COST: Final = 0.5
_TENTATIVE_COST: Final = 0.7
_DUPLICATE_COST: Final = 0.15
_BUFFER_FPS: Final = 30  # the frame rate that track_buffer is meant for
_LAST_PIXEL: Final = np.array([0.0, 0, 1, 1])  # a box includes the pixel that its corner is in

_LIVE: Final = np.dtype(
    [
        ("track_id", np.int64),
        ("seen", np.bool_),  # in the list of tracked ones, confirmed or not; else in the list of lost ones
        ("confirmed", np.bool_),
        ("condemned", np.bool_),  # was removed: may not be in the list of lost ones any more
        ("first_frame", np.int64),
        ("last_frame", np.int64),
        ("score", np.float64),
        ("detection", np.int32),
        ("motion", MOTION),  # of the box as xyah
    ]
)
_Live: TypeAlias = NDArray[np.void]  # (N,) of _LIVE: the tracked list, then the lost list, each in its own order


class ByteTrackReference:
    """Follows the objects of one camera as the published program does; a `FrameStepper` in NumPy.

    The rows come out in the order of its list of tracked ones: by age in that list, where a new track comes
    before those found again in the same frame. Ids are taken at creation, so those of tracks that nobody
    confirms are missing in the output. Every track of the very first frame counts as confirmed.
    """

    backend: Final = "python"

    def __init__(self, options: ByteTrackReferenceOptions | None = None, ids: TrackIds | None = None) -> None:
        self._options = options or ByteTrackReferenceOptions()
        self._ids = ids or TrackIds()
        self._buffer = int(self._options.frame_rate / _BUFFER_FPS * self._options.track_buffer)
        self.reset()

    def reset(self) -> None:
        """Forgets every track and starts at frame 1; the ids go on."""
        self._live: _Live = np.empty(0, _LIVE)
        self._frame = 0

    def held(self) -> I64:
        """Returns the ids of all tracks that may be reported again."""
        ids: I64 = self._live["track_id"].copy()
        return ids

    def step(self, xyxy: F64, score: F64) -> Rows:
        """Takes one frame's detections and returns the tracks seen in it; see `FrameStepper.step`."""
        boxes, option, live = Boxes(xyxy, score), self._options, self._live
        self._frame += 1
        high = np.flatnonzero(score > option.track_thresh)
        low = np.flatnonzero((score > _LOW_SCORE) & (score < option.track_thresh))
        tentative = live["seen"] & ~live["confirmed"]
        known = np.flatnonzero(~tentative)  # tracked ones before lost ones, as the list has them
        self._predict(known)

        missed, high = self._match(known, boxes, high, option.match_thresh, fuse=not option.mot20)
        missed, _ = self._match(missed[live["seen"][missed]], boxes, low, _LOW_COST, fuse=False)
        _, high = self._match(np.flatnonzero(tentative), boxes, high, _TENTATIVE_COST, fuse=not option.mot20)
        fresh = self._begin(boxes, high[score[high] >= option.track_thresh + _NEW_MARGIN])
        self._sort_lists(missed, fresh)
        self._drop_duplicates()
        return self._report()

    def _predict(self, tracks: Index) -> None:
        """Moves `tracks` on by a frame; tentative ones are never moved. An unseen object keeps its height."""
        motion = self._live["motion"][tracks]
        motion["speed"][~self._live["seen"][tracks], 3] = 0
        self._live["motion"][tracks] = drift_xyah(motion, steps=1)

    def _match(self, tracks: Index, boxes: Boxes, rows: Index, limit: float, *, fuse: bool) -> tuple[Index, Index]:
        """Gives `rows` of `boxes` to `tracks`, rows of the live ones; returns what is left of both."""
        live = self._live
        cost = _cost(xyah_to_xyxy(live["motion"]["place"][tracks]), boxes.xyxy[rows])
        if fuse:
            cost = 1 - (1 - cost) * boxes.score[rows]
        pairs = assign(cost, limit)
        matched, found = tracks[pairs.rows], rows[pairs.columns]
        live["motion"][matched] = correct_xyah(live["motion"][matched], xyxy_to_xyah(boxes.xyxy[found]))
        live["confirmed"][matched], live["last_frame"][matched] = True, self._frame
        live["score"][matched], live["detection"][matched] = boxes.score[found], found
        return tracks[pairs.free_rows], rows[pairs.free_columns]

    def _begin(self, boxes: Boxes, rows: Index) -> _Live:
        """Returns new tracks at `rows` of `boxes`."""
        fresh = np.zeros(len(rows), _LIVE)
        fresh["track_id"] = [self._ids.next() for _ in rows]
        fresh["seen"], fresh["confirmed"] = True, self._frame == 1
        fresh["first_frame"] = fresh["last_frame"] = self._frame
        fresh["score"], fresh["detection"] = boxes.score[rows], rows
        fresh["motion"] = start_xyah(xyxy_to_xyah(boxes.xyxy[rows]))
        return fresh

    def _sort_lists(self, missed: Index, fresh: _Live) -> None:
        """Makes the two lists anew: `missed` are lost now, `fresh` begin, tentative ones not seen are gone.

        A lost track whose time is over is condemned only after the list was cleared of the condemned, so it
        can be matched for one frame more. If it is, it lives on, but may not be lost again.
        """
        live, found = self._live, self._live["last_frame"] == self._frame
        tracked = np.concatenate([live[live["seen"] & found], fresh, live[~live["seen"] & found]])
        waiting = live[~live["seen"] & ~found & ~live["condemned"]]
        waiting["condemned"] = self._frame - waiting["last_frame"] > self._buffer
        lost = np.concatenate([waiting, live[missed[~live["condemned"][missed]]]])
        tracked["seen"], lost["seen"] = True, False
        self._live = np.concatenate([tracked, lost])

    def _drop_duplicates(self) -> None:
        """Of a tracked and a lost one that are nearly the same box the longer life stays; in a tie the lost one."""
        live = self._live
        corners, life = xyah_to_xyxy(live["motion"]["place"]), live["last_frame"] - live["first_frame"]
        tracked, lost = np.flatnonzero(live["seen"]), np.flatnonzero(~live["seen"])
        first, second = np.nonzero(_cost(corners[tracked], corners[lost]) < _DUPLICATE_COST)
        first, second = tracked[first], lost[second]
        longer = life[first] > life[second]
        stays = np.ones(len(live), bool)
        stays[second[longer]] = stays[first[~longer]] = False
        self._live = live[stays]

    def _report(self) -> Rows:
        shown = self._live[self._live["seen"] & self._live["confirmed"]]
        return Rows(
            track_id=shown["track_id"].copy(),
            xyxy=xyah_to_xyxy(shown["motion"]["place"]),
            score=shown["score"].copy(),
            detection=shown["detection"].copy(),
        )


def _cost(a: F64, b: F64) -> F64:
    """Returns (N, M) 1 - IoU of (N, 4) and (M, 4) xyxy whose lower right corners name the last pixel inside."""
    return 1 - iou_matrix(a + _LAST_PIXEL, b + _LAST_PIXEL).astype(np.float64)
