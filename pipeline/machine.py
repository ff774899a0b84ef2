"""What this process may use of the machine, and what it has used."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_M_MMAP_THRESHOLD = -3  # malloc.h
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_OWN_STATUS = Path("/proc/self/status")


def usable_cpus(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Returns how many processors this process may use: affinity and quotas of its cgroups counted, at least 1.

    Args:
        cgroups: where the system shows its cgroups.
        own: where it says which are this process's.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders(cgroups, own, "cpu"):
        # Version 2 has both numbers in one file, "max" for no quota; version 1 in two, -1 for none.
        words = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            cpus = min(cpus, int(words[0]) // int(words[1]))
    return max(1, cpus)


def usable_memory_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUPS) -> int:
    """Returns how much memory is free for this process: what the system can give, within its cgroups' limits.

    Args:
        cgroups: where the system shows its cgroups.
        own: where it says which are this process's.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    for folder in _folders(cgroups, own, "memory"):
        for word in _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes"):
            if word.isdecimal():
                free = min(free, int(word))
    return free


def _folders(cgroups: Path, own: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of this process's cgroups that `controller` obeys, each with all above it: all of them bind.

    A line of `own` is number:controllers:path; version 2 has the number 0 and no controllers. In a container the path
    may be one that only its host knows; the top folder is then the container's own. Where several controllers of
    version 1 share a folder, it may name them in another order than the line; a link then stands for each by itself.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        tops = dict.fromkeys([cgroups / controllers, cgroups / controller] if controllers else [cgroups])
        for top in tops:
            for depth in range(len(parts) + 1):
                yield top.joinpath(*parts[:depth])


def _words(path: Path) -> list[str]:
    """Returns the words of a small file; none where it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def peak_told_by(status: Path) -> int:
    """Returns the most memory that a process ever held, bytes, as its /proc/PID/status says; 0 where nothing does."""
    words = _words(status)
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
