"""What this process and its children take of the machine."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """This process and its children, summed.

    Attributes:
        cpu_s: processor time since the start, that of children that have ended included.
        resident_bytes: memory held; what processes share counts in each.
        descriptors: open files and connections; 0 where the system does not count them.
        threads: that run or wait.
        processes: how many there are, this one included.
        started_at: when this process began, UTC seconds since 1970.
    """

    cpu_s: float
    resident_bytes: int
    descriptors: int
    threads: int
    processes: int
    started_at: float


class ProcessWatch:
    """Looks at this process and its children. Safe to share between threads."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._started_at = self._own.create_time()
        self._lock = threading.Lock()
        self._cpu_s = 0.0  # never told less than before: a child's time may be missed while it ends

    def facts(self) -> ProcessFacts:
        """Returns how things stand; a child that ends meanwhile is left out."""
        cpu_s, resident, descriptors, threads, processes = 0.0, 0, 0, 0, 0
        for process in (self._own, *self._children()):
            with suppress(psutil.Error), process.oneshot():
                cpu_s += sum(process.cpu_times()[:4])  # own and ended children's, user and system
                resident += process.memory_info().rss
                threads += process.num_threads()
                processes += 1
                descriptors += process.num_fds() if hasattr(process, "num_fds") else 0
        with self._lock:
            self._cpu_s = max(self._cpu_s, cpu_s)
            return ProcessFacts(self._cpu_s, resident, descriptors, threads, processes, self._started_at)

    def _children(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return self._own.children(recursive=True)
        return []
