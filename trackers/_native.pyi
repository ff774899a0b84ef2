from collections.abc import Callable, Sequence
from typing import TypeAlias

from numpy import float32, float64, int32, int64, uint8
from numpy.typing import NDArray

def lapjv(cost: NDArray[float64], limit: float) -> tuple[NDArray[int32], NDArray[int32]]: ...
def assign_sparse(
    cost: NDArray[float64], limit: float, margin: float = 0.0
) -> tuple[NDArray[int32], NDArray[int32], bool]: ...

class _Tracker:
    def reset(self) -> None: ...
    def update(
        self,
        xyxy: NDArray[float32],
        score: NDArray[float32],
        class_id: NDArray[int32],
        time_s: float,
        take_ids: Callable[[int], Sequence[int]],
    ) -> tuple[
        NDArray[int64],  # ids
        NDArray[float32],  # boxes
        NDArray[float32],  # scores, ages
        NDArray[int32],  # classes, rows of detections
        NDArray[uint8],  # states
    ]: ...
    def save(self) -> tuple[float, bytes]: ...
    def restore(self, now_s: float, rows: bytes) -> None: ...

class ByteTrack(_Tracker):
    def __init__(
        self,
        *,
        high_score: float,
        low_score: float,
        new_score: float,
        high_cost: float,
        low_cost: float,
        tentative_cost: float,
        fuse_score: bool,
        duplicate_iou: float,
        lost_s: float,
        coast_s: float,
        report_detection: bool,
    ) -> None: ...

class OcSort(_Tracker):
    def __init__(
        self,
        *,
        det_score: float,
        low_score: float,
        min_iou: float,
        low_iou: float,
        inertia: float,
        direction_s: float,
        confirm_hits: int,
        lost_s: float,
        coast_s: float,
        report_detection: bool,
    ) -> None: ...

_RowArrays: TypeAlias = tuple[NDArray[int64], NDArray[float64], NDArray[float64], NDArray[int32]]

class ByteTrackReference:
    def __init__(self, *, track_thresh: float, match_thresh: float, buffer: int, mot20: bool) -> None: ...
    def reset(self) -> None: ...
    def held(self) -> NDArray[int64]: ...
    def step(
        self, xyxy: NDArray[float64], score: NDArray[float64], take_ids: Callable[[int], Sequence[int]]
    ) -> _RowArrays | None: ...

class OcSortReference:
    def __init__(
        self,
        *,
        det_thresh: float,
        max_age: int,
        min_hits: int,
        iou_threshold: float,
        delta_t: int,
        inertia: float,
        use_byte: bool,
    ) -> None: ...
    def reset(self) -> None: ...
    def held(self) -> NDArray[int64]: ...
    def step(
        self, xyxy: NDArray[float64], score: NDArray[float64], take_ids: Callable[[int], Sequence[int]]
    ) -> _RowArrays | None: ...
