"""Runs a command as a user would, and reads what the system says it took."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took.

    Attributes:
        wall_s: from start to end.
        cpu_s: of the process and its ended children.
        peak_memory_bytes: of the largest process.
        stdout: what it printed.
    """

    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    stdout: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Runs `command` to its end; Linux and macOS.

    Raises:
        RuntimeError: it failed; holds the end of what it wrote.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if environment is None else subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    stdout = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {stdout[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, stdout)
