"""The whole road on a quiet machine, and while another process keeps a core busy: who loses more than its share?

`python -m tests.bench.contention`. Of two cores one of which is shared with a process of equal priority, one and a half
are ours: fps should stay at 0.75 of what they were. The system need not divide so evenly, so what the other one really
got is measured, too. Engines whose threads wait for each other in a busy loop (OpenMP) lose far more, for each waits
for the one that was put off. ultralytics leaves PyTorch one thread of two cores, with which there is nobody to wait
for; here it gets as many as ours, set after its first frame.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from tests.bench.calm import CALM_CORES, MOST_TRIES, left_out, wait_for_calm
from tests.bench.peers_venv import ROOT
from tests.bench.road import Round, Side, Task, sides_of
from tests.bench.table import table

_MOST_S: Final = 600  # after which a spinner ends by itself, whatever became of this process
_PEER_S: Final = 15.0
_NOISE: Final = 0.07  # of the share: what two runs of the same differ by
_SPIN: Final = """
import os, sys, time
os.sched_setaffinity(0, [int(sys.argv[1])])
end, parent = time.monotonic() + float(sys.argv[2]), os.getppid()
print("ready", flush=True)
while time.monotonic() < end and os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


class Spinner:
    """A process that wants all of one core: a context manager that ends it.

    Args:
        core: that it keeps to.
    """

    def __init__(self, core: int) -> None:
        command = [sys.executable, "-c", _SPIN, str(core), str(_MOST_S)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the busy process did not start")
        self._seen = psutil.Process(self._process.pid)
        self._since_s, self._cpu_before_s = time.perf_counter(), self._cpu_s()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def cores(self) -> float:
        """Returns how much of a core it got so far."""
        return (self._cpu_s() - self._cpu_before_s) / (time.perf_counter() - self._since_s)

    def _cpu_s(self) -> float:
        times = self._seen.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Pair:
    """One side, once alone and once beside a busy process.

    Attributes:
        quiet: alone.
        busy: beside it.
        taken: cores that the busy process got.
    """

    quiet: Round
    busy: Round
    taken: float

    @property
    def others(self) -> float:
        """Cores that yet other programs took, in the worse of both runs."""
        return max(self.quiet.cost.others, self.busy.cost.others - self.taken)

    @property
    def kept(self) -> float:
        """Which part of its frames a second it kept."""
        return self.busy.steady_fps / self.quiet.steady_fps

    def left(self, cores: int) -> float:
        """Returns which part of `cores` the system left for it and all else."""
        return (cores - self.taken) / cores


def fair_share(cores: int) -> float:
    """Returns the part of `cores` that is left when one of them is shared with one busy thread of equal priority.

    >>> fair_share(2)
    0.75
    """
    return (cores - 0.5) / cores


def compare(task: Task, python: Path, rounds: int) -> None:
    """Runs every side in turn, alone and beside a busy process, and prints who kept how much.

    Args:
        task: what every side does.
        python: of the venv with the peer.
        rounds: that count, of each side; those that other programs disturbed are repeated, as often again at most.
    """
    if not hasattr(os, "sched_getaffinity"):
        print("  this system cannot keep a process to a core")
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("  one core alone: there is no other one to be busy")
        return
    sides = sides_of(replace(task, threads=len(cores), peer_threads=len(cores), peer_seconds=_PEER_S), python)
    pairs: dict[str, list[Pair]] = {name: [] for name in sides}
    for number in range(MOST_TRIES * rounds):
        for name, side in sides.items():
            if len(_calm(pairs[name])) >= rounds:
                continue
            if not number:
                side()
            pair = _pair(side, cores[-1])
            pairs[name].append(pair)
            figures = f"{pair.quiet.steady_fps:8.1f} -> {pair.busy.steady_fps:6.1f} fps, kept {pair.kept:.2f}"
            print(f"  {name:20}{figures}; it got {pair.taken:.2f} cores, others {pair.others:.2f}", flush=True)
    for name, each in pairs.items():
        remark = left_out(len(_calm(each)), len(each))
        print(f"  {name}: {remark}" if remark else "", end="\n" * bool(remark))
        pairs[name] = _calm(each) or each
    print(table(_HEAD, [_row(name, each, len(cores)) for name, each in pairs.items()]))
    print(f"fair share: ({len(cores)} - 0.5) / {len(cores)} = {fair_share(len(cores)):.2f}; left: less what it got")
    _check(pairs, len(cores))


def _calm(pairs: Sequence[Pair]) -> list[Pair]:
    """Returns the pairs that no other program disturbed."""
    return [pair for pair in pairs if pair.others <= CALM_CORES]


def _pair(side: Side, core: int) -> Pair:
    wait_for_calm()
    quiet = side()
    wait_for_calm()
    with Spinner(core) as spinner:
        busy = side()
        return Pair(quiet, busy, spinner.cores())


_HEAD: Final = (
    *("side", "fps alone", "beside a busy process", "kept", "of its share", "of what was left"),
    *("CPU ms a frame", "beside", "other's cores", "ran on"),
)


def _row(name: str, pairs: Sequence[Pair], cores: int) -> tuple[str, ...]:
    kept = statistics.median(pair.kept for pair in pairs)
    of_left = statistics.median(pair.kept / pair.left(cores) for pair in pairs)
    return (
        name,
        f"{statistics.median(pair.quiet.steady_fps for pair in pairs):.1f}",
        f"{statistics.median(pair.busy.steady_fps for pair in pairs):.1f}",
        f"{kept:.2f}",
        f"{kept / fair_share(cores):.2f}",
        f"{of_left:.2f}",
        f"{statistics.median(pair.quiet.steady_cpu_ms for pair in pairs):.1f}",
        f"{statistics.median(pair.busy.steady_cpu_ms for pair in pairs):.1f}",
        f"{statistics.median(pair.taken for pair in pairs):.2f}",
        pairs[0].busy.ran,
    )


def _check(pairs: Mapping[str, Sequence[Pair]], cores: int) -> None:
    """Says whose loss is more than its share: what is fair, or what the system left where it gave the other more."""
    fair = fair_share(cores)
    for name, each in pairs.items():
        kept, left = statistics.median(p.kept for p in each), statistics.median(p.left(cores) for p in each)
        said = "at most its share" if kept >= min(fair, left) - _NOISE else "more than its share"
        print(f"  {name} lost {said}: it kept {kept:.2f}; fair {fair:.2f}, left {left:.2f}, noise {_NOISE:.2f}")


def main() -> None:
    """Runs this benchmark alone."""
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.contention", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each side, alone and beside a busy process")
    parser.add_argument("--clip", type=Path, default=data / "clips" / "people-walking.mp4")
    parser.add_argument("--model", type=Path, default=data / "models" / "yolov8n.pt")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="venv that `make peers` made")
    arguments = parser.parse_args()
    task = Task(arguments.clip, arguments.model, threads=0)
    compare(task, arguments.peers / "bin" / "python", arguments.rounds)


if __name__ == "__main__":
    main()
