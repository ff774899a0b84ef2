"""Masks: from a segmenting network's prototypes to a grid over each box, to pixels, to COCO run lengths."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.detections import U8

GRID: Final = 64  # 256 input pixels of a YOLOv8: only a box of 40 % of the picture's side and more loses detail


def sample(coefficients: F32, prototypes: F32, xyxy: F32, size: tuple[int, int]) -> U8:
    """Returns the masks of boxes, each as a grid over its box.

    Args:
        coefficients: (N, M) float32, what a box makes of each prototype.
        prototypes: (M, h, w) float32, over the whole input of the network.
        xyxy: (N, 4) float32, boxes in pixels of the input, inside it.
        size: height and width of the input, pixels.

    Returns:
        (N, GRID, GRID) uint8, 255 times the logistic of the weighted prototypes, interpolated between their cells.

    Source: YOLACT (Bolya et al., 2019) for the weighted prototypes.

    >>> sample(np.float32([[9]]), np.float32([[[-1, 1]]]), np.float32([[0, 0, 8, 8]]), (8, 8))[0, 0, [0, -1]].tolist()
    [0, 255]
    """
    _, height, width = prototypes.shape
    scale = np.array([width / size[1], height / size[0]] * 2, np.float32)
    masks = np.empty((len(xyxy), GRID, GRID), np.uint8)
    for i, (x0, y0, x1, y1) in enumerate(xyxy * scale):
        rows, columns = _middles(y0, y1, GRID), _middles(x0, x1, GRID)
        top, bottom = int(max(rows[0], 0)), int(max(rows[-1], 0)) + 2
        left, right = int(max(columns[0], 0)), int(max(columns[-1], 0)) + 2
        logits = np.tensordot(coefficients[i], prototypes[:, top:bottom, left:right], axes=1)
        picked = _interpolate(logits, rows - np.float32(top), columns - np.float32(left))
        masks[i] = np.rint(255 / (1 + np.exp(-np.clip(picked, -30, 30))))
    return masks


def paint(mask: U8, xyxy: F32, height: int, width: int) -> tuple[int, int, NDArray[np.bool_]]:
    """Returns the pixels of one mask: the left and top pixel of its box in the frame, and which pixels are in.

    Args:
        mask: (G, G) uint8, as in `MaskDetections.masks`.
        xyxy: (4,) its box, pixels of the frame.
        height: of the frame, pixels.
        width: of the frame, pixels.

    Returns:
        Left, top, and (h, w) bool; h and w may be 0 for a box thinner than a pixel.

    >>> left, top, inside = paint(np.full((64, 64), 255, np.uint8), np.float32([1, 2, 4, 4]), 9, 9)
    >>> left, top, inside.shape, bool(inside.all())
    (1, 2, (2, 3), True)
    """
    x0, y0, x1, y1 = (float(v) for v in xyxy)
    # A pixel is in the box where its middle is.
    left, top = max(0, int(np.ceil(x0 - 0.5))), max(0, int(np.ceil(y0 - 0.5)))
    right, bottom = min(width, int(np.ceil(x1 - 0.5))), min(height, int(np.ceil(y1 - 0.5)))
    across = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - x0)) * np.float32(mask.shape[1] / (x1 - x0))
    down = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - y0)) * np.float32(mask.shape[0] / (y1 - y0))
    half = np.float32(0.5)
    return left, top, _interpolate(mask.astype(np.float32), down - half, across - half) >= 127.5


def run_lengths(left: int, top: int, inside: NDArray[np.bool_], height: int, width: int) -> list[int]:
    """Returns COCO's run lengths of a mask over the whole frame: out, in, out, ..., down each column, left to right.

    Args:
        left: first column of `inside` in the frame.
        top: first row of `inside` in the frame.
        inside: (h, w) bool, which pixels are in.
        height: of the frame, pixels.
        width: of the frame, pixels.

    Returns:
        Lengths whose sum is height * width; the first may be 0.

    >>> run_lengths(1, 0, np.array([[True], [False]]), 2, 3)
    [2, 1, 3]
    """
    columns = np.zeros((inside.shape[1], height + 1), np.int8)  # a gap below each column keeps runs of two apart
    columns[:, top : top + inside.shape[0]] = inside.T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=np.int8(0)))
    edges -= edges // (height + 1)  # without the gaps
    edges += left * height
    starts, ends = edges[::2], edges[1::2]
    # A run that goes on from the foot of a column to the head of the next is one run.
    apart = np.flatnonzero(starts[1:] != ends[:-1])
    starts = np.concatenate([starts[:1], starts[1:][apart]])
    ends = np.concatenate([ends[:-1][apart], ends[-1:]])
    bounds = np.stack([starts, ends], axis=1).ravel()
    return [int(n) for n in np.diff(bounds, prepend=0, append=height * width)]


def _middles(low: float, high: float, count: int) -> F32:
    """Returns where the middles of `count` equal parts of [low, high] lie, counted from the middle of cell 0."""
    step = (high - low) / count
    return (low + step * (np.arange(count, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)).astype(np.float32)


def _interpolate(values: NDArray[Any], rows: F32, columns: F32) -> F32:
    """Returns `values` (h, w) between its cells, at every row and column; at its border as at its last cell."""
    y0, y1, down = _between(rows, values.shape[0])
    x0, x1, across = _between(columns, values.shape[1])
    lines = values[y0] * (1 - down)[:, None] + values[y1] * down[:, None]
    return np.asarray(lines[:, x0] * (1 - across) + lines[:, x1] * across, np.float32)


def _between(places: F32, length: int) -> tuple[NDArray[np.intp], NDArray[np.intp], F32]:
    places = np.clip(places, 0, length - 1)
    low = np.minimum(places.astype(np.intp), max(length - 2, 0))
    return low, np.minimum(low + 1, length - 1), np.asarray(places - low, np.float32)
