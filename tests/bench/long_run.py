"""A tracker after minutes and after an hour: the time of an update, and the memory, at the end beside the beginning."""

from __future__ import annotations

import gc
import time
from typing import Final

import numpy as np
import psutil

from tests.worlds import churn
from watchline.trackers.build import PRESETS, TRACKERS, TrackerChoice, build_tracker
from watchline.trackers.kalman import F64

_LENGTHS: Final = (15_000, 100_000)  # frames: eight minutes and an hour at 30 a second


def compare() -> None:
    """Prints the median processor time of an update in the first and the last tenth of each run, and the growth."""
    print(f"  {'tracker':22}{'frames':>8}{'first us':>10}{'last us':>10}{'ratio':>8}{'MB more':>9}")
    for name in TRACKERS:
        for preset in PRESETS:
            for frames in _LENGTHS:
                choice = TrackerChoice(name, preset)
                spent, grown_bytes = _follow(choice, frames)
                first, last = (float(np.median(part)) * 1e6 for part in (spent[: frames // 10], spent[-frames // 10 :]))
                memory = f"{grown_bytes / 1e6:9.1f}"
                print(f"  {choice!s:22}{frames:8}{first:10.1f}{last:10.1f}{last / first:8.2f}{memory}")


def _follow(choice: TrackerChoice, frames: int) -> tuple[F64, int]:
    """Returns the seconds that each update took, and how much more memory the process has than after a tenth."""
    tracker, process, spent, early_bytes, shown = build_tracker(choice), psutil.Process(), np.zeros(frames), 0, 0
    for i, (found, time_s) in enumerate(churn(frames)):
        begin = time.thread_time_ns()
        tracks = tracker.update(found, time_s)
        spent[i] = (time.thread_time_ns() - begin) / 1e9
        shown += len(tracks)
        if i == frames // 10:
            gc.collect()
            early_bytes = process.memory_info().rss
    assert shown > 8 * frames, (choice, shown)  # it followed them all the time
    gc.collect()
    return spent, process.memory_info().rss - early_bytes


if __name__ == "__main__":
    compare()
