"""Searches files in a process of its own: `python -m watchline.pipeline.store.searching FILE...`.

A process that has a store open must not open its file beside SQLite: closing it again would let go of SQLite's locks,
as POSIX has it, and another process could then write over what this one reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchline.pipeline.store.search import PRINT_BYTES, Search, Trace
from watchline.streams.errors import OutputError

_PROGRAM: Final = "watchline.pipeline.store.searching"


def search_files(prints: NDArray[np.uint8], files: Sequence[Path]) -> tuple[list[Trace], int]:
    """Returns the windows that lie in some files, and how many bytes were read.

    Args:
        prints: (N, PRINT_BYTES) uint8, of the windows.
        files: the first is there; others may go meanwhile, as the ballast does.

    Raises:
        OutputError: the files cannot be read.
    """
    if not files:
        return [], 0
    done = subprocess.run(  # noqa: S603  # our own module, no shell
        [sys.executable, "-P", "-m", _PROGRAM, *map(str, files)],
        input=prints.tobytes(),
        capture_output=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
        raise OutputError(f"{files[0]}: the search for what was erased did not come to its end: {said[-1]}")
    found = json.loads(done.stdout)
    return [Trace(window, files[file], offset) for window, file, offset in found["traces"]], found["bytes"]


def _main() -> None:
    prints = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(-1, PRINT_BYTES)
    search = Search(prints)
    traces: list[tuple[int, int, int]] = []
    total = 0
    for number, name in enumerate(sys.argv[1:]):
        try:
            found, size = search.in_file(Path(name))
        except FileNotFoundError:
            if not number:
                raise
            continue
        traces += [(trace.window, number, trace.offset) for trace in found]
        total += size
    json.dump({"traces": traces, "bytes": total}, sys.stdout)


if __name__ == "__main__":
    _main()
