"""What this process may use of the machine, and what it has used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_M_MMAP_THRESHOLD = -3  # malloc.h
_MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")


def usable_cpus(cpu_max: Path = _CPU_MAX) -> int:
    """Returns how many processors this process may use: affinity and cgroup quota counted, at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
        if quota != "max":
            cpus = min(cpus, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: the affinity stands
    return max(1, cpus)


def usable_memory_bytes(memory_max: Path = _MEMORY_MAX) -> int:
    """Returns how much memory is free for this process: what the system can give, within the cgroup's limit."""
    import psutil

    free = psutil.virtual_memory().available
    try:
        limit = memory_max.read_text().strip()
        if limit != "max":
            free = min(free, int(limit))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: the system's figure stands
    return int(free)


def peak_memory_bytes() -> int:
    """Returns the most memory that this process ever held (resident set), bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def return_memory_early() -> None:
    """Makes glibc give large freed blocks back to the system at once; does nothing elsewhere.

    By itself glibc learns from each freed picture to keep the next ones in its per-thread heaps, where they leave
    holes: on a 720p file that cost 45 MB of 230 MB and saved no time.
    """
    import ctypes

    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 1 << 20)
