"""What the published trackers may be told, under their own names; for every implementation of them."""

from __future__ import annotations

from dataclasses import dataclass

from watchline.streams.errors import UsageError


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
        _expect(self, ("track_thresh", "match_thresh"), 0, 1)
        _expect(self, ("track_buffer",), 0, 100_000)
        _expect(self, ("frame_rate",), 0, 1000)


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
        _expect(self, ("det_thresh", "iou_threshold", "inertia"), 0, 1)
        _expect(self, ("max_age", "min_hits"), 0, 100_000)
        _expect(self, ("delta_t",), 1, 1000)


def _expect(options: object, names: tuple[str, ...], low: float, high: float) -> None:
    for name in names:
        value = getattr(options, name)
        if not low <= value <= high:  # NaN too
            raise UsageError(f"{name} is {value}; take a value from {low} to {high}")
