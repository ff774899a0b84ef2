"""The letterbox pack: the native function beside its NumPy twin."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from watchline.detectors.letterbox import Pack, pack_native, pack_numpy


def compare(rounds: int) -> None:
    """Prints the processor time of both for a 720p frame's input; asserts equality first."""
    if pack_native is None:
        print("  the native module is not built here")
        return
    pixels = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    ours, twin = np.empty((3, 384, 640), np.float32), np.empty((3, 384, 640), np.float32)
    pack_native(pixels, ours, 114, 12, 0)
    pack_numpy(pixels, twin, 114, 12, 0)
    assert ours.tobytes() == twin.tobytes()
    times = {"native": _best(pack_native, pixels, ours, rounds), "numpy": _best(pack_numpy, pixels, twin, rounds)}
    for name, seconds in times.items():
        print(f"  {name:8} {seconds * 1e3:7.3f} ms CPU a call")
    print(f"  ratio    {times['numpy'] / times['native']:7.1f}")


def _best(pack: Pack, pixels: np.ndarray, out: np.ndarray, rounds: int) -> float:
    def once() -> float:
        started = time.thread_time()
        for _ in range(50):
            pack(pixels, out, 114, 12, 0)
        return (time.thread_time() - started) / 50

    timed: Callable[[], float] = once
    return min(timed() for _ in range(5 * rounds))
