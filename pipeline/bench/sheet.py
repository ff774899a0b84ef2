"""The sheet: all that a benchmark measured, and on what."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from watchline.pipeline.bench.consistency import Consistency
from watchline.pipeline.machine import usable_cpus

OURS, THEIRS = "watchline", "ultralytics"
NETWORK, DETECTOR = "network", "detector"
_MUCH: Final = 0.1  # of the cores
_COUNTED: Final = {True: 8, False: None}  # Linux counts guests twice, in the last fields


@dataclass(frozen=True, slots=True)
class Row:
    """What one side took for one part of the work at one batch size.

    Attributes:
        side: `OURS` or `THEIRS`.
        runtime: what ran it, such as "onnxruntime 1.31.1".
        part: `NETWORK`, inference alone; or `DETECTOR`, letterbox, inference, reading and suppression.
        batch: frames a call.
        fps: frames a second by the clock, median of the turns.
        p50_ms: of a call, milliseconds by the clock; half of them are faster.
        p95_ms: 95 % of them are faster.
        cpu_ms: processor time of the process a frame, milliseconds, median of the turns.
        peak_memory_bytes: of the process, all parts up to this one; 0: the system does not tell.
    """

    side: str
    runtime: str
    part: str
    batch: int
    fps: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What it ran on.

    Attributes:
        cpu: model, as the system names it.
        cores: that this process may use.
        memory_bytes: of the machine.
        system: operating system and architecture.
        others: cores that other programs took meanwhile, on average; -1: the system does not tell.
    """

    cpu: str
    cores: int
    memory_bytes: int
    system: str
    others: float

    @property
    def is_shared(self) -> bool:
        """Whether other programs took much of it."""
        return self.others > _MUCH * self.cores


@dataclass(frozen=True, slots=True)
class Sheet:
    """One benchmark.

    Attributes:
        model: as the user said it.
        sha256: of that file.
        family: of the network.
        task: of the network.
        size: height and width of the network's input, pixels.
        pictures: what it was run on.
        held_bytes: pictures that each side held: part of its memory.
        seconds: that each row was timed for.
        threads: of each side.
        device: that ours really ran on.
        provider: the runtime's name of it.
        note: why it is no better device.
        against: the checkpoint of the original; "" for none.
        rows: what was measured.
        consistency: with the original; None without one.
        machine: what it ran on.
        versions: of ours and, by side, of theirs.
        remarks: what a reader must know.
    """

    model: str
    sha256: str
    family: str
    task: str
    size: tuple[int, int]
    pictures: str
    held_bytes: int
    seconds: float
    threads: int
    device: str
    provider: str
    note: str
    against: str
    rows: tuple[Row, ...]
    consistency: Consistency | None
    machine: Machine
    versions: Mapping[str, Mapping[str, str]]
    remarks: tuple[str, ...]

    def to_json(self) -> str:
        """Returns the sheet as JSON, with the ratios."""
        ratios = [{"part": r.part, "batch": r.batch, **asdict(self.ratio(r))} for r in self.rows if self.other(r)]
        return json.dumps(asdict(self) | {"ratios": ratios}, indent=2)

    def other(self, row: Row) -> Row | None:
        """Returns the row of the original that stands against one of ours; None: there is none."""
        same = (r for r in self.rows if (r.side, r.part, r.batch) == (THEIRS, row.part, row.batch))
        return next(same, None) if row.side == OURS else None

    def ratio(self, row: Row) -> Ratio:
        """Returns one of our rows beside the original's; there must be one."""
        other = self.other(row)
        assert other is not None
        known = row.peak_memory_bytes and other.peak_memory_bytes
        return Ratio(
            fps=row.fps / other.fps,
            cpu=other.cpu_ms / max(row.cpu_ms, 1e-6),
            memory=row.peak_memory_bytes / other.peak_memory_bytes if known else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours beside the original.

    Attributes:
        fps: how many times its frames a second.
        cpu: how many times less processor time a frame.
        memory: what part of its memory; 0: not known.
    """

    fps: float
    cpu: float
    memory: float


def this_machine(others: float) -> Machine:
    """Returns what this process runs on; `others` as in `Machine`."""
    import psutil

    system = f"{platform.system()} {platform.machine()}"
    return Machine(_cpu_name(), usable_cpus(), int(psutil.virtual_memory().total), system, others)


class Others:
    """Watches how much of the machine other programs take, from when it is made."""

    def __init__(self) -> None:
        self._begin = _spent()

    def cores(self) -> float:
        """Returns the cores that others took on average; children that still run count as others. -1: not known."""
        if sys.platform == "win32":  # it does not tell what ended children took
            return -1.0
        (wall, busy, own), (wall_now, busy_now, own_now) = self._begin, _spent()
        return max(0.0, (busy_now - busy - own_now + own) / max(wall_now - wall, 1e-3))


def _spent() -> tuple[float, float, float]:
    """Returns seconds by the clock, of all processors, and of this process and its ended children."""
    import psutil

    spent = psutil.cpu_times()
    idle = spent.idle + getattr(spent, "iowait", 0.0)
    return time.monotonic(), sum(spent[: _COUNTED[sys.platform == "linux"]]) - idle, sum(os.times()[:4])


def _cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Returns the processor's name, with what tells its generation on Linux."""
    try:
        pairs = [line.partition(":") for line in cpuinfo.read_text("utf-8", "replace").split("\n\n")[0].splitlines()]
    except OSError:
        return platform.processor() or platform.machine()
    said = {name.strip(): value.strip() for name, _, value in pairs}
    if "model name" not in said:
        return platform.processor() or platform.machine()
    wide = [word for word in ("avx512_bf16", "avx512_vnni", "amx_tile") if word in said.get("flags", "").split()]
    return f"{said['model name']} (family {said.get('cpu family', '?')}" + "".join(f", {word}" for word in wide) + ")"
