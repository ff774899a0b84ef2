from numpy import bool_, float32, int64, uint8
from numpy.typing import NDArray

def kernels() -> list[str]: ...
def top_k(
    rows: NDArray[float32],
    codes: NDArray[uint8],
    scale: NDArray[float32],
    rest: NDArray[float32],
    key: NDArray[int64],
    wanted: NDArray[bool_],
    queries: NDArray[float32],
    similarity: NDArray[float32],
    hit_key: NDArray[int64],
    kernel: str = "",
) -> None: ...
