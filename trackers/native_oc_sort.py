"""OC-SORT in C++: the Python twin's answers, ids and boxes alike, at a small part of the cost."""

from __future__ import annotations

from watchline.trackers.native_byte_track import NativeTracker, built
from watchline.trackers.oc_sort import LIVE, OC_SORT, OcSortOptions
from watchline.trackers.tracker import TrackIds


class NativeOcSort(NativeTracker):
    """Follows the objects of one camera as `OcSort` does.

    Source: native/oc_sort.cc. Twin: `OcSort`, whose docstring says what comes out; ids are equal and boxes equal to the
    last bit, whatever comes in.

    Raises:
        UsageError: there is no native build here; see `NATIVE`.
    """

    def __init__(self, options: OcSortOptions | None = None, ids: TrackIds | None = None) -> None:
        option = options or OcSortOptions()
        core = built().OcSort(
            det_score=option.det_score,
            low_score=option.low_score,
            min_iou=option.min_iou,
            low_iou=option.low_iou,
            inertia=option.inertia,
            direction_s=option.direction_s,
            confirm_hits=option.confirm_hits,
            lost_s=option.lost_s,
            coast_s=option.coast_s,
            report_detection=option.box == "detection",
        )
        super().__init__(core, OC_SORT, LIVE, ids or TrackIds())
