"""Which numbers are told of each camera, under which names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal, TypeAlias

from watchline.pipeline.live.status import LaneStatus, Loss
from watchline.pipeline.live.tally import AGE_BOUNDS_S
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason
from watchline.streams.ledger import Drop

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

DROPS: Final = (*(str(reason) for reason in Drop), *(str(loss) for loss in Loss))
REASONS: Final = tuple(str(reason) for reason in Reason)
HEALED: Final = ("missing", "backwards", "jumped", "distrusted")


@dataclass(frozen=True, slots=True)
class CameraFamily:
    """One metric that each camera has.

    Attributes:
        name: of the metric.
        kind: its type.
        help: one sentence.
        series: of each sample its name and the label that it has beside the camera: `("", "")` where it has none.
        values: of each sample, in that order.
    """

    name: str
    kind: Kind
    help: str
    series: tuple[tuple[str, tuple[str, str]], ...]
    values: Callable[[LaneStatus], Iterable[float]]


_PLAIN: Final = ("", "")


def _one(name: str, kind: Kind, help_: str, value: Callable[[LaneStatus], float]) -> CameraFamily:
    return CameraFamily(name, kind, help_, ((name, _PLAIN),), lambda lane: (value(lane),))


def _by_reason(
    name: str, help_: str, reasons: tuple[str, ...], values: Callable[[LaneStatus], Iterable[float]]
) -> CameraFamily:
    return CameraFamily(name, "counter", help_, tuple((name, ("reason", reason)) for reason in reasons), values)


def _ages(lane: LaneStatus) -> tuple[float, ...]:
    summed = tuple(accumulate(lane.ages.counts))
    return (*summed, lane.ages.total, summed[-1])


_AGE: Final = "watchline_frame_age_seconds"
_AGE_SERIES: Final = (
    *((f"{_AGE}_bucket", ("le", repr(bound))) for bound in AGE_BOUNDS_S),
    (f"{_AGE}_bucket", ("le", "+Inf")),
    (f"{_AGE}_sum", _PLAIN),
    (f"{_AGE}_count", _PLAIN),
)

CAMERA_FAMILIES: Final = (
    _one("watchline_frames_received_total", "counter", "Frames decoded.", lambda lane: lane.received),
    _one("watchline_frames_processed_total", "counter", "Frames detected and tracked.", lambda lane: lane.processed),
    _by_reason(
        "watchline_frames_dropped_total",
        "Frames decoded, but not processed, by why.",
        DROPS,
        lambda lane: [lane.dropped.get(reason, 0) for reason in DROPS],
    ),
    _one("watchline_frames_in_flight", "gauge", "Frames that wait or are under way.", lambda lane: lane.in_flight),
    _one(
        "watchline_packets_undecodable_total",
        "counter",
        "Packets of which no picture could be made.",
        lambda lane: lane.ingest.counts.undecodable,
    ),
    _by_reason(
        "watchline_frame_times_healed_total",
        "Times of frames that were mended, by what was wrong.",
        HEALED,
        lambda lane: [lane.ingest.counts.healed.get(reason, 0) for reason in HEALED],
    ),
    _by_reason(
        "watchline_reconnects_total",
        "Connections and tries that failed, by why; each time it is tried again.",
        REASONS,
        lambda lane: [lane.ingest.reconnects.get(reason, 0) for reason in Reason],
    ),
    _one(
        "watchline_camera_up",
        "gauge",
        "1 while the camera gives pictures that change, else 0.",
        lambda lane: int(lane.ingest.state is CameraState.LIVE),
    ),
    _one(
        "watchline_camera_frozen",
        "gauge",
        "1 while the camera is connected, but gives the same picture again and again, else 0.",
        lambda lane: int(lane.ingest.state is CameraState.FROZEN),
    ),
    _one(
        "watchline_camera_last_frame_timestamp_seconds",
        "gauge",
        "When the last processed frame was captured, since 1970; 0 before the first.",
        lambda lane: lane.last_frame_at or 0,
    ),
    _one(
        "watchline_camera_idle_seconds",
        "gauge",
        "For how long no frame of the camera was processed; no clock that is set changes it.",
        lambda lane: lane.idle_s,
    ),
    CameraFamily(_AGE, "histogram", "How old frames were once tracked, from their capture.", _AGE_SERIES, _ages),
    _one(
        "watchline_detections_total",
        "counter",
        "Objects found, outside ignored regions.",
        lambda lane: lane.detections,
    ),
    _one(
        "watchline_detections_ignored_total",
        "counter",
        "Objects left out, for they stood in an ignored region.",
        lambda lane: lane.ignored,
    ),
    _one("watchline_tracks_total", "counter", "Tracks begun.", lambda lane: lane.tracks),
    _one(
        "watchline_active_tracks",
        "gauge",
        "Tracks seen in the last processed frame.",
        lambda lane: lane.active_tracks,
    ),
)
