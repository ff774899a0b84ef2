"""Whether this process may open as many more files and sockets as cameras will need."""

from __future__ import annotations

import sys
from pathlib import Path

from watchline.streams.errors import UsageError

_SPARE = 24  # for whatever else is opened for a moment: a file of results, a look at /proc, the start of a process
_OPEN = Path("/proc/self/fd")


def check_descriptors(camera: str, here: int, elsewhere: int, folder: Path = _OPEN) -> None:
    """Says before the start whether there will be enough.

    Args:
        camera: the one that is about to be added.
        here: how many more this process may need to open.
        elsewhere: how many its ingest process may need in all.
        folder: shows what this process has open.

    Raises:
        UsageError: there will not.
    """
    if sys.platform == "win32":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return
    try:
        held = sum(1 for _ in folder.iterdir())
    except OSError:
        held = limit  # nothing can be opened now, or nothing tells: then the first is to be expected
    need = max(held + here, elsewhere) + _SPARE
    if need > limit:
        raise UsageError(
            f'camera "{camera}": with it {need} open files and sockets may be needed, but only {limit} are allowed; '
            f"raise the limit (`ulimit -n {max(need, 4096)}`, or LimitNOFILE of the service), or use fewer cameras"
        )
