"""Boxes: the one overlap measure and the border crossings between formats. Inside, a box is xyxy float32 pixels."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]


def expect(name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    """Refuses an array of another dtype or shape; -1 in `shape` stands for any length.

    Raises:
        ValueError: names the array, what is wanted and what came.
        TypeError: it is no array at all.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: want an array of {np.dtype(dtype)}, got {type(array).__name__}")
    fits = array.ndim == len(shape) and all(want in (-1, got) for want, got in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits:
        raise ValueError(f"{name}: want {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")


def iou_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns the intersection over union of every box in `a` with every box in `b`.

    Args:
        a: (N, 4) xyxy, pixels.
        b: (M, 4) xyxy, same picture as `a`.

    Returns:
        (N, M) in [0, 1], dtype of the inputs; 0 where boxes only touch or have no area. N or M may be 0.

    >>> iou_matrix(np.float32([[0, 0, 10, 10]]), np.float32([[5, 0, 15, 10]])).round(3)
    array([[0.333]], dtype=float32)
    """
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.prod(np.clip(sides, 0, None), axis=2)
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=1), np.prod(b[:, 2:] - b[:, :2], axis=1)
    union = area_a[:, None] + area_b[None, :] - shared
    result: NDArray[np.floating] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def cxcywh_to_xyxy(boxes: F32) -> F32:
    """Returns (N, 4) xyxy of (N, 4) centre x, centre y, width, height.

    >>> cxcywh_to_xyxy(np.float32([[5, 5, 10, 4]]))
    array([[ 0.,  3., 10.,  7.]], dtype=float32)
    """
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def xyxy_to_tlwh(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns (N, 4) left, top, width, height of (N, 4) xyxy.

    >>> xyxy_to_tlwh(np.float32([[0, 3, 10, 7]]))
    array([[ 0.,  3., 10.,  4.]], dtype=float32)
    """
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def clip_to_picture(boxes: F32, height: int, width: int) -> F32:
    """Returns a copy of (N, 4) xyxy with every corner moved into [0, width] x [0, height]."""
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
