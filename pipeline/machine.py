"""What this process may use of the machine, and what it has used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from watchline.streams.free_memory import CGROUPS, OWN_CGROUPS, cgroup_folders, usable_memory_bytes, words_of

__all__ = [
    "leave_no_core",
    "peak_memory_bytes",
    "peak_told_by",
    "return_memory_early",
    "usable_cpus",
    "usable_memory_bytes",
]

_M_MMAP_THRESHOLD = -3  # malloc.h
_OWN_STATUS = Path("/proc/self/status")


def usable_cpus(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Returns how many processors this process may use: affinity and quotas of its cgroups counted, at least 1.

    Args:
        cgroups: where the system shows its cgroups.
        own: where it says which are this process's.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in cgroup_folders(cgroups, own, "cpu"):
        # Version 2 has both numbers in one file, "max" for no quota; version 1 in two, -1 for none.
        words = words_of(folder / "cpu.max") or [
            *words_of(folder / "cpu.cfs_quota_us"),
            *words_of(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            cpus = min(cpus, int(words[0]) // int(words[1]))
    return max(1, cpus)


def peak_told_by(status: Path) -> int:
    """Returns the most memory that a process ever held, bytes, as its /proc/PID/status says; 0 where nothing does."""
    words = words_of(status)
    return int(words[words.index("VmHWM:") + 1]) * 1024 if "VmHWM:" in words else 0


def peak_memory_bytes(status: Path = _OWN_STATUS) -> int:
    """Returns the most memory that this process ever held (resident set), bytes.

    What Linux counts for `getrusage` starts at what the process that started this one held; its own file does not.
    """
    told = peak_told_by(status)
    if told:
        return told
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def return_memory_early() -> None:
    """Makes glibc give large freed blocks back to the system at once; does nothing elsewhere.

    By itself glibc learns from each freed picture to keep the next ones in its per-thread heaps, where they leave
    holes: on a 720p file that cost 45 MB of 230 MB. Fresh pages for each picture would cost time, so what is made anew
    for every frame (RGB, outputs, the drawn picture) is made in memory of ours that is used again.
    """
    import ctypes

    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def leave_no_core() -> None:
    """Makes a crash leave no image of this process's memory, in which passwords and pictures stand; nor its children's.

    Linux hands an image to a program whatever this bound is, where one is set up; systemd's and Debian's keep to it.
    """
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
