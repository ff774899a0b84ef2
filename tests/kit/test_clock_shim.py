"""The wall clock of a child moves when the test says so; its monotonic clock does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.clock_shim import ShiftedClock, require_clock_shim

TELL = """
import ctypes, datetime, sys, time
libc = ctypes.CDLL(None)
for line in sys.stdin:
    print(time.time(), datetime.datetime.now().timestamp(), libc.time(None), time.monotonic(), flush=True)
"""
WAIT = """
import ctypes, time
libc = ctypes.CDLL(None)
until = (ctypes.c_long * 2)(int(time.time()) + 1, 0)
semaphore = ctypes.create_string_buffer(64)
libc.sem_init(semaphore, 0, 0)
start = time.monotonic()
assert libc.sem_timedwait(semaphore, until) == -1
mutex, condition = ctypes.create_string_buffer(64), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
until = (ctypes.c_long * 2)(int(time.time()) + 1, 0)
assert libc.pthread_cond_timedwait(condition, mutex, until) != 0
print(time.monotonic() - start)
"""


@pytest.fixture
def clock(tmp_path: Path) -> ShiftedClock:
    require_clock_shim()
    return ShiftedClock(tmp_path)


@pytest.fixture
def child(clock: ShiftedClock) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", TELL],
        env=os.environ | clock.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def ask(child: subprocess.Popen[str]) -> list[float]:
    """Returns the child's time.time, datetime.now, C time and time.monotonic, each less our own."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    theirs = [float(word) for word in child.stdout.readline().split()]
    return [theirs[0] - time.time(), theirs[1] - time.time(), theirs[2] - time.time(), theirs[3] - time.monotonic()]


def test_the_wall_clock_moves_while_the_program_runs_and_the_monotonic_one_goes_on(
    clock: ShiftedClock, child: subprocess.Popen[str]
) -> None:
    for shift in (0.0, 3600.0, -10_800.0, 0.25, 0.0):
        clock.shift(shift)
        wall, date, whole, monotonic = ask(child)
        assert abs(wall - shift) < 0.1
        assert abs(date - shift) < 0.1
        assert -1.2 < whole - shift < 0.1  # whole seconds, rounded down
        assert abs(monotonic) < 0.1


@pytest.mark.parametrize("shift", [3600, -10_800])
def test_a_wait_until_a_wall_clock_time_takes_as_long_as_without_the_shift(clock: ShiftedClock, shift: int) -> None:
    clock.shift(shift)
    done = subprocess.run(
        [sys.executable, "-c", WAIT], env=os.environ | clock.environment(), capture_output=True, timeout=10, check=True
    )
    assert 0.0 <= float(done.stdout) < 2.5


def test_our_own_clock_is_not_touched(clock: ShiftedClock) -> None:
    before = time.time()
    clock.shift(3600)
    assert 0 <= time.time() - before < 1
    assert "LD_PRELOAD" not in os.environ or "clock_shim" not in os.environ["LD_PRELOAD"]
