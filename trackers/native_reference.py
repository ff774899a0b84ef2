"""The `reference` trackers in C++: their Python twins' rows, ids and boxes alike, at a small part of the cost."""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray

from watchline.trackers.kalman import F64
from watchline.trackers.native_byte_track import built
from watchline.trackers.reference_options import ByteTrackReferenceOptions, OcSortReferenceOptions
from watchline.trackers.rows import Boxes, Rows
from watchline.trackers.tracker import TrackIds
from watchline.trackers.tracks import I64

_BUFFER_FPS: Final = 30  # the frame rate that track_buffer is meant for


class _NativeStepper:
    """What both share: a `FrameStepper` whose step is one call into C++ without the GIL."""

    backend: Final = "native"

    def __init__(self, core: Any, ids: TrackIds | None) -> None:
        self._core = core
        self._ids = ids or TrackIds()

    def reset(self) -> None:
        """Forgets every track and starts at frame 1; the ids go on."""
        self._core.reset()

    def held(self) -> I64:
        """Returns the ids of all tracks that may be reported again."""
        ids: I64 = self._core.held()
        return ids

    def step(self, xyxy: F64, score: F64) -> Rows:
        """Takes one frame's detections and returns the tracks seen in it; see `FrameStepper.step`."""
        arrays = self._core.step(xyxy, score, self._take_ids)
        if arrays is None:
            Boxes(xyxy, score)  # says what is wrong
            raise ValueError("xyxy and score are not one frame's boxes; see Boxes")
        return _rows(arrays)

    def _take_ids(self, count: int) -> list[int]:
        return [self._ids.next() for _ in range(count)]


class NativeByteTrackReference(_NativeStepper):
    """Follows the objects of one camera as the published program does; a `FrameStepper` in C++.

    Source: native/byte_track_reference.cc. Twin: `ByteTrackReference`, whose docstring says what comes out.

    Raises:
        UsageError: there is no native build here.
    """

    def __init__(self, options: ByteTrackReferenceOptions | None = None, ids: TrackIds | None = None) -> None:
        option = options or ByteTrackReferenceOptions()
        core = built().ByteTrackReference(
            track_thresh=option.track_thresh,
            match_thresh=option.match_thresh,
            buffer=int(option.frame_rate / _BUFFER_FPS * option.track_buffer),
            mot20=option.mot20,
        )
        super().__init__(core, ids)


class NativeOcSortReference(_NativeStepper):
    """Follows the objects of one camera as the published program does; a `FrameStepper` in C++.

    Source: native/oc_sort_reference.cc. Twin: `OcSortReference`, whose docstring says what comes out.

    Raises:
        UsageError: there is no native build here.
    """

    def __init__(self, options: OcSortReferenceOptions | None = None, ids: TrackIds | None = None) -> None:
        option = options or OcSortReferenceOptions()
        core = built().OcSortReference(
            det_thresh=option.det_thresh,
            max_age=option.max_age,
            min_hits=option.min_hits,
            iou_threshold=option.iou_threshold,
            delta_t=option.delta_t,
            inertia=option.inertia,
            use_byte=option.use_byte,
        )
        super().__init__(core, ids)


def _rows(arrays: tuple[NDArray[Any], ...]) -> Rows:
    """Returns `Rows` of arrays that are right by construction: checking them would cost more than a small crowd."""
    rows, put = Rows.__new__(Rows), object.__setattr__
    track_id, xyxy, score, detection = arrays
    put(rows, "track_id", track_id)
    put(rows, "xyxy", xyxy)
    put(rows, "score", score)
    put(rows, "detection", detection)
    return rows
