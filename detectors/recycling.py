"""Memory that is used again: copies of large arrays without fresh pages for each."""

from __future__ import annotations

import sys
import threading
from typing import Final

import numpy as np

from watchline.detectors.boxes import F32

_MOST: Final = 32  # arrays that are kept


def _references(arrays: list[F32]) -> list[int]:
    """Returns how many references there are to each array, those of the list and of this question among them."""
    return [sys.getrefcount(array) for array in arrays]


_UNHELD: Final = _references([np.empty(0, np.float32)])[0]  # of an array that only a list knows; Pythons differ


class Recycler:
    """Copies arrays into memory that nobody holds any more: neither the copy given out before, nor a view of it.

    The system hands fresh memory out page by page, each at its first touch: for the outputs of a network that takes
    longer than the copy itself.

    >>> recycler = Recycler()
    >>> one = recycler.copy(np.zeros(3, np.float32))
    >>> two = recycler.copy(np.ones(3, np.float32))
    >>> one.tolist(), two.tolist()
    ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    """

    def __init__(self) -> None:
        self._arrays: list[F32] = []
        self._lock = threading.Lock()

    def copy(self, array: F32) -> F32:
        """Returns a copy of `array`, float32."""
        own = self._take(array.shape)
        np.copyto(own, array)
        return own

    def _take(self, shape: tuple[int, ...]) -> F32:
        with self._lock:
            for own, references in zip(self._arrays, _references(self._arrays), strict=True):
                if own.shape == shape and references == _UNHELD:
                    return own
            own = np.empty(shape, np.float32)
            self._arrays = [*self._arrays[-_MOST + 1 :], own]
            return own
