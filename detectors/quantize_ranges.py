"""Ranges: between which numbers each tensor of a network lies, as 256 steps must cover them.

What lies outside a range is clipped, and a wide range has coarse steps: each method weighs that another way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]
Range: TypeAlias = tuple[float, float]
Method: TypeAlias = Literal["minmax", "ema", "percentile", "entropy"]

METHODS: Final[tuple[str, ...]] = get_args(Method)
BINS: Final = 2048  # of a histogram: 8 for each of 256 steps

_LEVELS: Final = 256
_EMA_WEIGHT: Final = 0.1  # of a new picture
_EMA_REACH: Final = 3.0  # mean deviations from the average that a picture may move it by
_LEFT_OUT: Final = 1e-5  # of all values, by percentile, half at either end
_ENTROPY_STEP: Final = 16  # bins between two ends that are tried
_EPSILON: Final = 1e-12


def minmax(extremes: F64) -> Range:
    """Returns the range of all values ever seen.

    Args:
        extremes: (pictures, 2) lowest and highest value of a tensor in each picture.

    >>> minmax(np.array([[-1.0, 2.0], [-3.0, 1.0]]))
    (-3.0, 2.0)
    """
    return float(extremes[:, 0].min()), float(extremes[:, 1].max())


def ema(extremes: F64) -> Range:
    """Returns the moving averages of both extremes; what lies far outside of the usual counts as less far.

    Args:
        extremes: (pictures, 2) lowest and highest value of a tensor in each picture, in the order of the pictures.
    """
    average, deviation = extremes[0].copy(), np.abs(extremes - np.median(extremes, axis=0)).mean(axis=0)
    for now in extremes[1:]:
        reach = _EMA_REACH * deviation
        average += _EMA_WEIGHT * (np.clip(now, average - reach, average + reach) - average)
    return float(average[0]), float(average[1])


def percentile(histogram: NDArray[np.int64], whole: Range) -> Range:
    """Returns the range without the rarest values at either end, one in a hundred thousand in all.

    Args:
        histogram: (bins,) counts.
        whole: where it begins and ends.
    """
    shares = np.cumsum(histogram) / max(1, histogram.sum())
    first = int(np.searchsorted(shares, _LEFT_OUT / 2, side="right"))
    last = int(np.searchsorted(shares, 1 - _LEFT_OUT / 2))
    edges = np.linspace(*whole, len(histogram) + 1)
    return float(edges[min(first, len(histogram) - 1)]), float(edges[min(last + 1, len(histogram))])


def entropy(histogram: NDArray[np.int64], whole: Range) -> Range:
    """Returns the range whose 256 steps lose least of what the distribution says (Kullback-Leibler divergence).

    Args:
        histogram: (bins,) counts.
        whole: where it begins and ends.

    Source: Migacz, 8-bit inference with TensorRT, GTC 2017; here each end is moved by itself.
    """
    edges = np.linspace(*whole, len(histogram) + 1)
    last = _entropy_end(histogram)
    first = len(histogram) - _entropy_end(histogram[::-1])
    # An end that is zero is so by the activation, and costs nothing to keep.
    low = float(edges[first]) if first < last else whole[0]
    return low, float(edges[last])


def _entropy_end(histogram: NDArray[np.int64]) -> int:
    """Returns how many bins to keep from the start."""
    bins, best = len(histogram), (np.inf, len(histogram))
    for end in range(bins, _LEVELS - 1, -_ENTROPY_STEP):
        best = min(best, (_divergence(histogram[:end], int(histogram[end:].sum())), end))
    return best[1]


def _divergence(kept: NDArray[np.int64], clipped: int) -> float:
    """Returns what is lost when `kept` bins are seen in 256 steps and `clipped` values fall onto the last bin."""
    starts = np.linspace(0, len(kept), _LEVELS, endpoint=False).astype(np.intp)
    counted = np.add.reduceat(kept, starts)
    filled = np.add.reduceat((kept > 0).astype(np.int64), starts)
    sizes = np.diff(np.append(starts, len(kept)))
    seen = np.where(kept > 0, np.repeat(counted / np.maximum(filled, 1), sizes), 0.0)
    true = kept.astype(np.float64)
    true[-1] += clipped
    if not seen.sum():
        return float(np.inf)
    p, q = true / true.sum(), seen / seen.sum()
    there = p > 0
    return float((p[there] * np.log(p[there] / np.maximum(q[there], _EPSILON))).sum())


BY_EXTREMES: Final[dict[str, Callable[[F64], Range]]] = {"minmax": minmax, "ema": ema}
BY_HISTOGRAM: Final[dict[str, Callable[[NDArray[np.int64], Range], Range]]] = {
    "percentile": percentile,
    "entropy": entropy,
}
