"""What a daemon and its children hold over time, and whether that grows."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

WARM_UP: Final = 0.2  # of the run, and of each process's life in it, that is not looked at
LEAST_SAMPLES: Final = 20  # below which nothing is said of growth
_MOST_POINTS: Final = 300  # of one life, whose pairs are looked at
_CPU_OVER_S: Final = 15.0  # calm time of this long is one point of processor time

# How much more may be held at the end of what was looked at than at its start, by the fitted line: a share of the
# usual, and at least so much, for a heap breathes by some megabytes, and cameras that connect hold a thread or two.
GROWTH: Final = 0.05
LEAST_GROWTH: Final = {"memory_bytes": 12 << 20, "threads": 2.0, "fds": 4.0}
CPU_GROWTH: Final = 0.25  # of CPU milliseconds a frame: other programs on the machine move it by so much


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment.

    Attributes:
        at_s: monotonic seconds.
        pid: of it.
        role: "daemon", "readers", "detector".
        calm: nothing befell the daemon then.
        memory_bytes: anonymous pages; what processes share does not count, nor do files.
        cpu_s: that it used.
        frames: that the daemon has processed.
    """

    at_s: float
    pid: int
    role: str
    calm: bool
    memory_bytes: int
    threads: int
    fds: int
    cpu_s: float
    frames: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of one number of one kind of process.

    Attributes:
        what: the number.
        role: of the processes.
        usual: its median.
        an_hour: by the fitted line.
        over_run: by the fitted line, over the time that was looked at.
        bound: that `over_run` may not exceed.
        samples: that it was fitted to.
    """

    what: str
    role: str
    usual: float
    an_hour: float
    over_run: float
    bound: float
    samples: int

    @property
    def wrong(self) -> list[str]:
        """What is wrong, in a sentence."""
        if self.samples < LEAST_SAMPLES or self.over_run <= self.bound:
            return []
        return [f"{self.what} of {self.role} grew by {self.over_run:.4g} from {self.usual:.4g}; bound {self.bound:.4g}"]


def look(pid: int, at_s: float, frames: int, *, calm: bool) -> list[Sample]:
    """Returns a sample of a daemon and each of its children; one that ends meanwhile is left out."""
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        found: list[Sample] = []
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.Error, OSError, ValueError), process.oneshot():
                role = "daemon" if process.pid == pid else role_of(process)
                times = process.cpu_times()
                found.append(
                    Sample(
                        at_s,
                        process.pid,
                        role,
                        calm,
                        _anonymous(process.pid),
                        process.num_threads(),
                        process.num_fds(),
                        times.user + times.system,
                        frames,
                    )
                )
        return found
    return []


def role_of(child: psutil.Process) -> str:
    """Returns what a child of the daemon does: "detector" or "readers"; "" for another.

    Raises:
        psutil.Error: it has ended.
    """
    command = " ".join(child.cmdline())
    words = {"isolated_child": "detector", "watchline: detector": "detector", "ingest_child": "readers"}
    return next((role for word, role in words.items() if word in command), "")


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Returns how each number of each kind of process grew, in calm moments, after the warm-up."""
    if not samples:
        return []
    begun_s, ended_s = samples[0].at_s, samples[-1].at_s
    from_s = begun_s + WARM_UP * (ended_s - begun_s)
    found = []
    for role in ("daemon", "readers", "detector"):
        lives = _lives((one for one in samples if one.role == role and one.calm and one.at_s >= from_s), begun_s)
        for what, least in LEAST_GROWTH.items():
            points = [[(one.at_s, float(getattr(one, what))) for one in life] for life in lives]
            found.append(_growth(what, role, points, ended_s - from_s, GROWTH, least))
    cost = _cpu_points([one for one in samples if one.at_s >= from_s])
    found.append(_growth("CPU ms a frame", "all", cost, ended_s - from_s, CPU_GROWTH, 0.0))
    return found


def _lives(samples: Iterable[Sample], begun_s: float) -> list[list[Sample]]:
    """Returns the samples of each process without its own warm-up, where it began later than the soak."""
    by_pid: dict[int, list[Sample]] = defaultdict(list)
    for one in samples:
        by_pid[one.pid].append(one)
    found = []
    for life in by_pid.values():
        first_s, last_s = life[0].at_s, life[-1].at_s
        warm_s = max(10.0, WARM_UP * (last_s - first_s)) if first_s > begun_s + 1 else 0.0
        found.append([one for one in life if one.at_s >= first_s + warm_s])
    return [life for life in found if len(life) > 1]


def _cpu_points(samples: Sequence[Sample]) -> list[list[tuple[float, float]]]:
    """Returns processor time a frame, of steps between calm looks at the same processes, some seconds a point."""
    looks = [list(its) for _, its in itertools.groupby(samples, lambda one: one.at_s)]
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    over_s = used_s = frames = 0.0
    for before, now in itertools.pairwise(looks):
        same = [one.pid for one in before] == [one.pid for one in now]
        if same and all(one.calm for one in (*before, *now)) and now[0].frames > before[0].frames:
            over_s += now[0].at_s - before[0].at_s
            used_s += sum(one.cpu_s for one in now) - sum(one.cpu_s for one in before)
            frames += now[0].frames - before[0].frames
        if over_s >= _CPU_OVER_S:
            found[now[0].pid].append((now[0].at_s, 1000 * used_s / frames))
            over_s = used_s = frames = 0.0
    return list(found.values())


def _growth(
    what: str,
    role: str,
    lives: Sequence[Sequence[tuple[float, float]]],
    over_s: float,
    share: float,
    least: float,
) -> Growth:
    values = [value for life in lives for _, value in life]
    usual = statistics.median(values) if values else 0.0
    slope = _slope(lives)
    return Growth(what, role, usual, 3600 * slope, over_s * slope, max(least, share * usual), len(values))


def _slope(lives: Sequence[Sequence[tuple[float, float]]]) -> float:
    """Returns the median slope of all pairs of points of one life that are far enough apart, a second (Theil-Sen)."""
    slopes: list[float] = []
    for life in lives:
        points = life[:: max(1, len(life) // _MOST_POINTS)]
        far_s = (points[-1][0] - points[0][0]) / 4 if points else 0.0
        slopes += [
            (later[1] - sooner[1]) / (later[0] - sooner[0])
            for sooner, later in itertools.combinations(points, 2)
            if later[0] - sooner[0] >= max(far_s, 1e-3)
        ]
    return statistics.median(slopes) if slopes else 0.0


def _anonymous(pid: int) -> int:
    words = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    return sum(int(words[words.index(name) + 1]) for name in ("Anonymous:", "Swap:")) << 10
