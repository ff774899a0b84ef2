"""Measuring on a machine that other programs use: wait for them, see what they took, and leave spoilt runs out."""

from __future__ import annotations

import time
from typing import Final

from watchline.pipeline.bench.sheet import Others

CALM_CORES: Final = 0.25  # what others may take of the machine
MOST_TRIES: Final = 2  # rounds for each one that is to count
_WITHIN_S: Final = 60.0
_LOOK_S: Final = 1.0


def wait_for_calm() -> None:
    """Returns once others leave the machine alone, or when that has taken too long."""
    end_s = time.monotonic() + _WITHIN_S
    while time.monotonic() < end_s:
        watch = Others()
        time.sleep(_LOOK_S)
        if watch.cores() <= CALM_CORES:
            return


def left_out(calm: int, tried: int) -> str:
    """Returns what a reader should know where `tried - calm` rounds were disturbed; "" for nothing."""
    if calm == tried:
        return ""
    what = "they are left out" if calm else "they count all the same, for there are no others: trust CPU time alone"
    return f"{tried - calm} of {tried} rounds were disturbed by other programs; {what}"
