from numpy import float32, uint8
from numpy.typing import NDArray

def pack(pixels: NDArray[uint8], out: NDArray[float32], pad: int, top: int, left: int) -> None: ...
