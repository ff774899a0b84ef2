"""Runs a command as a user would, and reads what the system says it took."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.pipeline.bench.sheet import Others
from watchline.pipeline.machine import peak_told_by

BUILD: Final = Path(__file__).parent.parent.parent / "build"

_LOOK_S: Final = 0.02  # a peak only grows, so but what the last moment adds is missed
# Python keeps what it compiled, as it does for whoever has not told it otherwise; the first round pays for it.
_COMPILED: Final = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(BUILD / "pycache")}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took.

    Attributes:
        wall_s: from start to end.
        cpu_s: of the process and its ended children.
        peak_memory_bytes: of the process.
        stdout: what it printed.
        others: cores that other programs took meanwhile, on average.
    """

    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    stdout: str
    others: float


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs `command` to its end; Linux and macOS.

    Raises:
        RuntimeError: it failed; holds the end of what it wrote.
    """
    watch, started = Others(), time.perf_counter()
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if environment is None else subprocess.PIPE,
        text=True,
        env={**os.environ, **_COMPILED, **(environment or {})},
    ) as process:
        peak, said = _Peak(process.pid), _Said(process)
        peak.start()
        said.start()
        assert process.stdout is not None
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s, others = time.perf_counter() - started, watch.cores()
        process.returncode = os.waitstatus_to_exitcode(status)
        peak.ended.set()
        peak.join()
        said.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {stdout[-2000:]}{said.text[-2000:]}")
    # Only where there is no /proc: what `getrusage` says begins with what this process held as it started that one.
    counted = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, peak.bytes or counted, stdout, others)


class _Said(threading.Thread):
    """Reads what a process says on stderr, which would else fill its pipe and stop it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(name="stderr", daemon=True)
        self._process = process
        self.text = ""

    def run(self) -> None:
        if self._process.stderr is not None:
            self.text = self._process.stderr.read()


class _Peak(threading.Thread):
    """Looks again and again at the most memory that a process ever held: gone once it has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(name="peak", daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.ended = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        while not self.ended.wait(_LOOK_S):
            self.bytes = max(self.bytes, peak_told_by(self._status))
