from numpy import float32, int32, intp, uint8
from numpy.typing import NDArray

def pack(pixels: NDArray[uint8], out: NDArray[float32], pad: int, top: int, left: int) -> None: ...
def best_classes(
    scores: NDArray[float32], least_score: float
) -> tuple[NDArray[intp], NDArray[float32], NDArray[int32]]: ...
def nms(
    xyxy: NDArray[float32],
    score: NDArray[float32],
    class_id: NDArray[int32],
    iou: float,
    limit: int = 300,
    agnostic: bool = False,
) -> NDArray[intp]: ...
