"""What the published trackers may be told, under their own names; for every implementation of them."""

from __future__ import annotations

from dataclasses import dataclass

from watchline.trackers.settings import expect_within


@dataclass(frozen=True, slots=True)
class ByteTrackReferenceOptions:
    """Options of the published ByteTrack.

    Attributes:
        track_thresh: detections above it are matched first, those from 0.1 to it second; one equal to it is lost.
        track_buffer: frames at 30 a second that a track may go unseen.
        match_thresh: largest cost, 1 - IoU * score, of a pair of the first round.
        mot20: leave the score out of the cost.
        frame_rate: of the input, frames a second; scales `track_buffer`.

    Raises:
        UsageError: a value outside its range.
    """

    track_thresh: float = 0.5
    track_buffer: int = 30
    match_thresh: float = 0.8
    mot20: bool = False
    frame_rate: float = 30.0

    def __post_init__(self) -> None:
        expect_within(
            self, ("track_thresh", 0, 1), ("match_thresh", 0, 1), ("track_buffer", 0, 100_000), ("frame_rate", 0, 1000)
        )


@dataclass(frozen=True, slots=True)
class OcSortReferenceOptions:
    """Options of the published OC-SORT.

    Attributes:
        det_thresh: detections above it are used; one equal to it is lost.
        max_age: frames that a track may go unseen.
        min_hits: detections in a row, after the first, before a track is reported.
        iou_threshold: least IoU of a pair.
        delta_t: frames back to the detection that a direction is taken from.
        inertia: weight of the direction beside the IoU.
        use_byte: match detections from 0.1 to `det_thresh` too, after the others.

    Raises:
        UsageError: a value outside its range.
    """

    det_thresh: float = 0.6
    max_age: int = 30
    min_hits: int = 3
    iou_threshold: float = 0.3
    delta_t: int = 3
    inertia: float = 0.2
    use_byte: bool = False

    def __post_init__(self) -> None:
        expect_within(self, ("det_thresh", 0, 1), ("iou_threshold", 0, 1), ("inertia", 0, 1))
        expect_within(self, ("max_age", 0, 100_000), ("min_hits", 0, 100_000), ("delta_t", 1, 1000))
