"""ByteTrack in C++ beside its Python twin: equal answers first, then the time of one update against the crowd."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from tests.worlds import World, crowd
from watchline.trackers.byte_track import ByteTrack
from watchline.trackers.kalman import F64
from watchline.trackers.native_byte_track import NATIVE, NativeByteTrack
from watchline.trackers.tracker import Tracker
from watchline.trackers.tracks import Tracks

_CROWDS = (10, 50, 200, 500)  # people in a 1920 x 1080 picture
_FRAMES = 100


def compare(rounds: int) -> None:
    """Prints the processor time of an update for both, median and 95th percentile over frames, and how it grows."""
    if not NATIVE:
        print("  the native module is not built here")
        return
    makers: dict[str, Callable[[], Tracker]] = {"python": ByteTrack, "native": NativeByteTrack}
    medians: dict[str, list[float]] = {name: [] for name in makers}
    print(f"  {'us CPU an update':18}", " ".join(f"{people:>17}" for people in _CROWDS))
    scenes = [crowd(people, _FRAMES) for people in _CROWDS]
    for scene in scenes:
        _assert_equal(scene)
    for name, make in makers.items():
        times = [_times(make, scene, rounds * (10 if name == "native" else 1)) * 1e6 for scene in scenes]
        medians[name] = [float(np.median(each)) for each in times]
        cells = [f"{np.median(each):8.1f} /{np.percentile(each, 95):7.1f}" for each in times]
        print(f"  {name:18}", " ".join(f"{cell:>17}" for cell in cells))
    ratios = [slow / fast for slow, fast in zip(medians["python"], medians["native"], strict=True)]
    print(f"  {'ratio':18}", " ".join(f"{ratio:17.1f}" for ratio in ratios))
    for name, values in medians.items():
        growth = math.log(values[-1] / values[1]) / math.log(_CROWDS[-1] / _CROWDS[1])
        print(f"  {name:8} grows with the crowd to the power of {growth:.2f} from {_CROWDS[1]} to {_CROWDS[-1]}")


def _assert_equal(scene: World) -> None:
    native, twin = NativeByteTrack(), ByteTrack()
    for frame, at in zip(scene.frames, scene.times, strict=True):
        ours, theirs = native.update(frame, at), twin.update(frame, at)
        for name in Tracks.__slots__:
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), (name, at)


def _times(make: Callable[[], Tracker], scene: World, passes: int) -> F64:
    """Returns the seconds that each frame's update took, the least of all passes: others use the machine too."""
    least = np.full(len(scene.frames), np.inf)
    for _ in range(passes):
        tracker, spent = make(), []
        for frame, at in zip(scene.frames, scene.times, strict=True):
            begin = time.thread_time_ns()
            tracker.update(frame, at)
            spent.append(time.thread_time_ns() - begin)
        least = np.minimum(least, np.array(spent) / 1e9)
    return least
