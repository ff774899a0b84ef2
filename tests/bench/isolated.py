"""What a process of its own costs an engine: processor time a call, parent and process together, and the time it takes.

`python -m tests.bench.isolated NETWORK [--device cpu] [--size 384x640 --size 640x640] [--calls 100] [--callers 1]`

Both engines run in turn, call by call, so whatever else the machine does meets both. First their outputs are compared:
every bit must be the same.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.table import table
from watchline.detectors.boxes import F32
from watchline.detectors.engine import Engine
from watchline.detectors.isolated_engine import IsolatedEngine
from watchline.detectors.opening import open_engine

_WARM = 5
_CALLS_A_ROUND = 4


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds a call, on average of a few: of the processor, and of the clock on the wall."""

    cpu_s: float
    wall_s: float


def processor_s(pid: int | None) -> float:
    """Returns the processor time of this process and, where one is given, of another; Linux."""
    other_s = 0.0 if pid is None else time.clock_gettime(~pid << 3 | 2)  # the system's name of that process's clock
    return time.process_time() + other_s


def measured(work: Callable[[], object], pid: int | None, callers: int) -> Round:
    """Returns what a call costs as so many threads call at once."""

    def calls() -> None:
        for _ in range(_CALLS_A_ROUND):
            work()

    threads = [threading.Thread(target=calls) for _ in range(callers)]
    cpu_s, wall_s = processor_s(pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = callers * _CALLS_A_ROUND
    return Round((processor_s(pid) - cpu_s) / count, (time.perf_counter() - wall_s) / count)


def same(plain: Engine, isolated: Engine, size: tuple[int, int]) -> F32:
    """Returns a batch for which both engines give the same, to the last bit; so they do for others.

    Raises:
        SystemExit: they do not.
    """
    numbers = np.random.default_rng(7)
    for count in (1, 2, 1):
        batch = numbers.random((count, 3, *size), np.float32)
        for ours, theirs in zip(isolated.run(batch), plain.run(batch), strict=True):
            if ours.dtype != theirs.dtype or ours.shape != theirs.shape or ours.tobytes() != theirs.tobytes():
                raise SystemExit(f"outputs for {count} pictures of {size[0]}x{size[1]} differ")
    return batch


def compare(plain: Engine, isolated: IsolatedEngine, size: tuple[int, int], calls: int, callers: int) -> list[str]:
    """Returns a row of the table: what a call costs without a process of its own, and with one."""
    batch = same(plain, isolated, size)
    rounds: list[tuple[Round, Round]] = []
    for i in range(_WARM + calls // _CALLS_A_ROUND):
        sides = [(plain, None), (isolated, isolated.pid)]
        order = (0, 1) if i % 2 else (1, 0)  # neither is always the first
        found = {side: measured(lambda e=sides[side][0]: e.run(batch), sides[side][1], callers) for side in order}  # type: ignore[misc]
        if i >= _WARM:
            rounds.append((found[0], found[1]))
    cpu = [statistics.median(pair[side].cpu_s for pair in rounds) for side in (0, 1)]
    wall = [statistics.median(pair[side].wall_s for pair in rounds) for side in (0, 1)]
    total = [sum(pair[side].cpu_s for pair in rounds) for side in (0, 1)]
    ratio = statistics.median(pair[1].cpu_s / pair[0].cpu_s for pair in rounds)
    milliseconds = [f"{1000 * seconds:.2f}" for seconds in (*cpu, *wall)]
    return [f"{size[0]}x{size[1]}", *milliseconds, f"{ratio:.3f}", f"{total[1] / total[0]:.3f}"]


def main() -> None:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", action="append", default=[], help="HEIGHTxWIDTH")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--callers", type=int, default=1)
    options = parser.parse_args()
    sizes = [(int(h), int(w)) for h, _, w in (size.partition("x") for size in options.size or ["384x640", "640x640"])]
    plain = open_engine(options.network, options.device, workers=options.callers)
    head = ["size", "plain CPU ms", "isolated CPU ms", "plain ms", "isolated ms", "CPU ratio", "ratio of sums"]
    with IsolatedEngine(options.network, options.device, workers=options.callers) as isolated:
        rows = [compare(plain, isolated, size, options.calls, options.callers) for size in sizes]
    print(table(head, rows))


if __name__ == "__main__":
    main()
