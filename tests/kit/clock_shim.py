"""A wall clock that a test moves under a running program; the monotonic clock goes on as ever."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from tests.kit.require import skip_or_fail

SOURCE = Path(__file__).with_name("clock_shim.c")
NS_PER_S = 1_000_000_000
BUILD_S = 60.0


class ShiftedClock:
    """The wall clock of the programs that are started with `environment()`.

    Only programs that ask the C library are fooled; that is Python, FFmpeg, GStreamer, and what `date` prints.

    Args:
        folder: where the library and the file with the shift are put; they must outlive the programs.

    Example:
        clock = ShiftedClock(tmp_path)
        child = subprocess.Popen([...], env=os.environ | clock.environment())
        clock.shift(-10_800)  # three hours back, from now on
    """

    def __init__(self, folder: Path) -> None:
        self._library = build(folder)
        self._offset = folder / "clock-offset"
        self._offset.write_bytes(struct.pack("=q", 0))

    def environment(self) -> dict[str, str]:
        """Returns the variables that a child process needs, to be laid over its others."""
        preloaded = [str(self._library), *os.environ.get("LD_PRELOAD", "").split()]
        return {"LD_PRELOAD": " ".join(preloaded), "WATCHLINE_KIT_CLOCK": str(self._offset)}

    def shift(self, seconds: float) -> None:
        """Sets how far the wall clock is from the true time: not added to an earlier shift; 0 puts it right."""
        with self._offset.open("r+b", buffering=0) as file:  # in place: the programs have this very file mapped
            file.write(struct.pack("=q", round(seconds * NS_PER_S)))


def require_clock_shim() -> None:
    """Skips (or fails, see `skip_or_fail`) the test where the library cannot be built or loaded."""
    if not sys.platform.startswith("linux"):
        skip_or_fail("shifting a program's clock is made for Linux only")
    if _compiler() is None:
        skip_or_fail("no C compiler here; install gcc")


def build(folder: Path) -> Path:
    """Compiles the library into `folder` and returns its path.

    Raises:
        RuntimeError: there is no C compiler, or it refused the source.
    """
    compiler = _compiler()
    if compiler is None:
        raise RuntimeError("no C compiler here; install gcc")
    library = folder / "clock_shim.so"
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return library


def _compiler() -> str | None:
    return shutil.which("gcc") or shutil.which("cc")
