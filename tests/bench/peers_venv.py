"""Finds the venv with the tracker peers, and runs a benchmark in it: both sides in one process, one thread each."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
VENVS: Final = (".venv-peers", ".venv-tracker-peers")  # the heavy one holds the light one's peers too

_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
_QUIET: Final = {"YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}


def peers_python() -> Path | None:
    """Returns the Python of the best venv that make has finished; None: there is none."""
    return next((ROOT / venv / "bin" / "python" for venv in VENVS if (ROOT / venv / "installed").exists()), None)


def enter(module: str) -> None:
    """Starts `python -m module` again in the peers' venv with one thread a library; returns when this is that process.

    CPU time of one thread is the whole cost only where nothing is handed to other threads, and libraries read
    these settings once, as they are loaded.
    """
    python = peers_python()
    if python is None:
        print(
            "no tracker peers here: `make tracker-peers` makes a venv with them (and `make peers` one with PyTorch's)"
        )
        raise SystemExit(0)
    inside = Path(sys.prefix) == python.parent.parent
    if not inside or any(os.environ.get(name) != value for name, value in _ONE_THREAD.items()):
        sys.stdout.flush()
        os.chdir(ROOT)
        os.execve(python, [str(python), "-m", module, *sys.argv[1:]], os.environ | _ONE_THREAD | _QUIET)
