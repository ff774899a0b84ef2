"""Where the time of a run goes: processor and wall seconds, a stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class StageTime:
    """What one stage used.

    Attributes:
        name: the stage.
        cpu_s: processor time of its threads, seconds.
        wall_s: time its threads were at work, waiting for others left out, summed over threads, seconds.
    """

    name: str
    cpu_s: float
    wall_s: float


class Stopwatch:
    """Sums the time that threads spend in named stages. Safe to use from several threads.

    >>> watch = Stopwatch()
    >>> with watch.stage("decode"):
    ...     pass
    >>> [stage.name for stage in watch.times()]
    ['decode']
    >>> [stage.name for stage in watch.times(cpu_s=1.0)]
    ['decode', 'other']
    """

    def __init__(self) -> None:
        self._times: dict[str, StageTime] = {}
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time of its block, in this thread, as `name`'s."""
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            with self._lock:
                so_far = self._times.get(name, StageTime(name, 0.0, 0.0))
                self._times[name] = StageTime(name, so_far.cpu_s + cpu, so_far.wall_s + wall)

    def times(self, cpu_s: float | None = None) -> tuple[StageTime, ...]:
        """Returns a record a stage, in the order of their first use.

        Args:
            cpu_s: processor time of the whole process, seconds. What of it no stage used is then given as `OTHER`: a
                runtime and an encoder may compute in threads of their own.
        """
        with self._lock:
            times = tuple(self._times.values())
        if cpu_s is None:
            return times
        return *times, StageTime(OTHER, max(0.0, cpu_s - sum(time.cpu_s for time in times)), 0.0)
