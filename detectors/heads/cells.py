"""What the heads of all families share: the grid of cells, the choice of rows, the check of shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from watchline.detectors.boxes import F32
from watchline.streams.errors import ModelError


def cell_count(size: tuple[int, int], strides: Sequence[int]) -> int:
    """Returns how many cells an input of `size` (height, width) has on all levels together.

    >>> cell_count((640, 640), (8, 16, 32))
    8400
    """
    return sum((size[0] // stride) * (size[1] // stride) for stride in strides)


@lru_cache(maxsize=32)
def grid(size: tuple[int, int], strides: tuple[int, ...], anchors: int = 1) -> tuple[F32, F32]:
    """Returns the cells of all levels, row by row, each `anchors` times on end; read-only, and shared.

    Returns:
        Column and row of each cell (A, 2) float32, and pixels a cell (A, 1) float32.

    >>> grid((8, 16), (8,))[0].tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    cells = []
    for stride in strides:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        cells.append(np.repeat(np.stack([columns.ravel(), rows.ravel()], axis=1), anchors, axis=0).astype(np.float32))
    steps = np.repeat(np.array(strides, np.float32), [len(level) for level in cells])[:, None]
    corners = np.concatenate(cells)
    corners.setflags(write=False)
    steps.setflags(write=False)
    return corners, steps


def logistic(values: F32) -> F32:
    """Returns 1 / (1 + exp(-values)) without overflow.

    >>> logistic(np.float32([-1000, 0, 1000])).tolist()
    [0.0, 0.5, 1.0]
    """
    small = np.exp(-np.abs(values))
    result: F32 = np.where(values >= 0, np.float32(1), small) / (1 + small)
    return result


def least_logit(least_score: float) -> float:
    """Returns a number a little below the one whose logistic is `least_score`: a cheap first sieve."""
    if least_score <= 0 or least_score >= 1:
        return -math.inf if least_score <= 0 else 15.0
    return math.log(least_score / (1 - least_score)) - 0.01


def expect_output(output: F32, want: tuple[int, ...], what: str) -> None:
    """Refuses an output of another shape than `want`; -1 stands for any length.

    Raises:
        ModelError: says what came and what a head of this kind has.
    """
    if output.ndim != len(want) or any(n not in (-1, m) for n, m in zip(want, output.shape, strict=True)):
        shown = ", ".join("anchors" if n == -1 else str(n) for n in want)
        raise ModelError(f"the network's output is {output.shape}, {what} has ({shown})")
