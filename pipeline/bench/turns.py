"""One side of a benchmark: a process that does its share when it is its turn, and waits without work in between.

It needs the standard library alone, and Python 3.9: the original's side runs it in the user's own venv. Requests and
answers are lines of JSON; see `Turns.serve`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TextIO

MOST_REASON = 500

Call = Callable[[], int]  # one call of what is measured; returns how many frames it did


class Side(Protocol):
    """What is measured."""

    def facts(self) -> dict[str, object]:
        """Returns what really runs."""

    def calls(self, part: str, turn: int) -> list[Call]:
        """Returns one call for each worker, its input ready; turn after turn it is other frames."""

    def find(self) -> list[list[list[float]]]:
        """Returns what is found in each frame: rows of x1, y1, x2, y2 in pixels, score and class."""


def claim_stdout() -> TextIO:
    """Returns the stream for the answers, and sends all else that anybody prints to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def serve(answers: TextIO, make: Callable[[], Side]) -> int:
    """Answers requests until there are no more; returns the exit status.

    The first line says that the side is ready, with its facts. Then come `{"part": ..., "turn": ..., "seconds": ...}`,
    answered by what the turn took, and `{"find": true}`. What fails is answered by `{"error": "the reason"}`.
    """
    try:
        side = make()
        _say(answers, {"ok": side.facts()})
        for line in sys.stdin:
            request = json.loads(line)
            _say(answers, {"ok": side.find() if "find" in request else _turn(side, **request)})
    except Exception as error:  # noqa: BLE001  # the border of the process: whatever it is becomes one line
        words = " ".join(str(error).split()) or "no message"
        told = words if type(error).__module__.startswith("watchline") else f"{type(error).__name__}: {words}"
        _say(answers, {"error": told[:MOST_REASON]})
        return 1
    return 0


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _turn(side: Side, part: str, turn: int, seconds: float) -> dict[str, object]:
    """Returns what a turn took: frames, seconds by the clock and by the processor, every call's, and peak memory."""
    calls = side.calls(part, turn)
    for call in calls:  # warm: memory is claimed, caches are filled
        call()
    frames = [0] * len(calls)
    latencies: list[list[float]] = [[] for _ in calls]

    def work(worker: int) -> None:
        until = time.perf_counter() + seconds
        while True:
            begin = time.perf_counter()
            frames[worker] += calls[worker]()
            end = time.perf_counter()
            latencies[worker].append(end - begin)
            if end >= until:
                return

    started, cpu = time.perf_counter(), time.process_time()
    _together(work, len(calls))
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "frames": sum(frames),
        "latencies_s": [round(latency, 7) for of_worker in latencies for latency in of_worker],
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _together(work: Callable[[int], None], workers: int) -> None:
    """Runs `work` once a worker, at the same time; what fails in one is raised here."""
    failed: list[BaseException] = []

    def guarded(worker: int) -> None:
        try:
            work(worker)
        except BaseException as error:  # noqa: BLE001  # raised below
            failed.append(error)

    if workers == 1:
        work(0)
        return
    threads = [threading.Thread(target=guarded, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def peak_memory_bytes() -> int:
    """Returns the most memory that this process ever held, bytes; 0: the system does not tell.

    Linux counts into `ru_maxrss` what the process held that started this one, so it is not asked there.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        import psutil
    except ImportError:
        return 0
    return int(getattr(psutil.Process().memory_info(), "peak_wset", 0))
