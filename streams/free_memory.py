"""How much memory this process may still take: of the machine, and of the cgroups that bind it."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
OWN_STATUS = Path("/proc/self/status")


def usable_memory_bytes(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Returns how much memory is free for this process: what the system can give, within its cgroups' limits.

    Args:
        cgroups: where the system shows its cgroups.
        own: where it says which are this process's.
    """
    import psutil

    free = int(psutil.virtual_memory().available)
    for folder in cgroup_folders(cgroups, own, "memory"):
        for word in words_of(folder / "memory.max") or words_of(folder / "memory.limit_in_bytes"):
            if word.isdecimal():
                free = min(free, max(0, int(word) - _held_bytes(folder)))
    return free


def give_back_memory() -> None:
    """Gives what was freed back to the system where the C library can (glibc), in about a millisecond.

    Connections that come and go on many threads else leave holes: 10 MB were measured for eight cameras.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def total_memory_bytes(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Returns how much memory this process could have if nothing else ran: the machine's, within its cgroups' limits.

    Args:
        cgroups: see `usable_memory_bytes`.
        own: see `usable_memory_bytes`.
    """
    import psutil

    limits = [
        int(word)
        for folder in cgroup_folders(cgroups, own, "memory")
        for word in words_of(folder / "memory.max") or words_of(folder / "memory.limit_in_bytes")
        if word.isdecimal()
    ]
    return min([int(psutil.virtual_memory().total), *limits])


def own_memory_bytes(status: Path = OWN_STATUS) -> int:
    """Returns what this process holds for itself, swapped out or not; 0 where nothing tells."""
    words = words_of(status)
    names = [name for name in ("RssAnon:", "VmSwap:") if name in words]
    return sum(int(words[words.index(name) + 1]) for name in names) << 10


def _held_bytes(folder: Path) -> int:
    """Returns what a cgroup holds and cannot give back: all it uses, less the files that are only cached."""
    used = words_of(folder / "memory.current") or words_of(folder / "memory.usage_in_bytes")
    told = words_of(folder / "memory.stat")
    cached = told[told.index("inactive_file") + 1] if "inactive_file" in told[:-1] else "0"
    return max(0, int(used[0]) - int(cached)) if used and used[0].isdecimal() and cached.isdecimal() else 0


def cgroup_folders(cgroups: Path, own: Path, controller: str) -> Iterator[Path]:
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


def words_of(path: Path) -> list[str]:
    """Returns the words of a small file; none where it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []
