"""`python -m tests.bench.cameras`: what live cameras cost, beside plain PyAV and OpenCV threads, in turn in one run.

Every picture carries its number, and the server notes when each was sent: so a side that gave another camera's or an
older picture would show, and the age of each picture is known to the millisecond.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.bench.calm import wait_for_calm
from tests.bench.table import table
from tests.kit.recordings import Scene, write_recording
from tests.kit.rtsp_server import RtspServer
from watchline.pipeline.bench.sheet import Others

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FPS: Final = 5.0
_WARM_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one side did with so many cameras.

    Attributes:
        fps: pictures taken a second of each camera: the least, the mean.
        age_ms: from sent to taken: median, 95 and 99 of 100.
        cpu_percent: of one core, all processes of the side.
        memory_bytes: shared pages counted once (PSS).
        others: cores that other programs but the server took.
    """

    side: str
    cameras: int
    least_fps: float
    mean_fps: float
    age_ms: tuple[float, float, float]
    cpu_percent: float
    memory_bytes: int
    threads: int
    others: float


def main() -> None:
    """Measures, prints a table, and writes the figures where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cameras", description=__doc__)
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--sides", nargs="+", default=["watchline", "watchline, 8 a process", "PyAV", "OpenCV"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=12.0, help="counted, of each side")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--clip", type=Path, help="what the cameras show; a made scene where left out")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    clip = None if arguments.clip is None else str(arguments.clip)
    scene = Scene(width=width, height=height, frames=1000, gop=50, bit_rate=2_000_000, clip=clip)
    with tempfile.TemporaryDirectory() as folder:
        recording = write_recording(Path(folder) / "scene.rec", scene)
        loads = [
            measure(side, cameras, recording, arguments.seconds)
            for cameras in arguments.cameras
            for _ in range(arguments.rounds)
            for side in arguments.sides
        ]
    print(shown(loads))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(load) for load in loads], indent=1))


def measure(side: str, cameras: int, recording: Path, seconds: float) -> Load:
    """Lets `side` read so many cameras."""
    wait_for_calm()
    with RtspServer(life_s=600) as server:
        mounts = [f"/{index}" for index in range(cameras)]
        for mount in mounts:
            server.add(mount, recording)
        command = [sys.executable, "-m", "tests.bench.cameras_side", side]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        print(json.dumps({"urls": [server.url(mount) for mount in mounts], "fps": FPS}), file=process.stdin, flush=True)
        time.sleep(_WARM_S + cameras / 8)
        whole, served = psutil.Process(process.pid), psutil.Process(server.pid)
        watch, begun_s = Others(), time.monotonic()
        before, server_before = cpu_s(whole), _own_s(served)
        time.sleep(seconds)
        used_s, server_s = cpu_s(whole) - before, _own_s(served) - server_before
        others, until_s = watch.cores(), time.monotonic()
        memory, threads = pss(whole), sum(one.num_threads() for one in tree(whole))
        taken = json.loads(process.communicate("\n", timeout=30)[0])
        pushes = [dict(reversed(server.pushes(mount))) for mount in mounts]
    wall_s = until_s - begun_s
    counted = [(camera, number, at_s) for camera, number, at_s in taken if begun_s <= at_s < until_s]
    unread = sum(number is None for _, number, _ in counted)
    if unread:
        raise RuntimeError(f"{side}: {unread} of {len(counted)} pictures are damaged")
    ages = sorted(1000 * (at_s - pushes[camera][number]) for camera, number, at_s in counted)
    rates = [sum(camera == index for camera, _, _ in counted) / wall_s for index in range(cameras)]
    told = tuple(ages[min(len(ages) - 1, int(len(ages) * part))] for part in (0.5, 0.95, 0.99))
    busy = others - (used_s + server_s) / wall_s  # `Others` counts all but this process
    load = Load(
        side, cameras, min(rates), statistics.mean(rates), told, 100 * used_s / wall_s, memory, threads, max(0.0, busy)
    )
    print(shown([load]), flush=True)
    return load


def shown(loads: list[Load]) -> str:
    """Returns the table."""
    head = ["side", "cameras", "fps, least", "age ms, p50", "p95", "p99", "CPU % a camera", "MB", "threads", "others"]
    rows = [
        [
            load.side,
            str(load.cameras),
            f"{load.least_fps:.2f}",
            *(f"{age:.0f}" for age in load.age_ms),
            f"{load.cpu_percent / load.cameras:.2f}",
            f"{load.memory_bytes / 1e6:.0f}",
            str(load.threads),
            f"{load.others:.2f}",
        ]
        for load in loads
    ]
    return table(head, rows)


def tree(process: psutil.Process) -> list[psutil.Process]:
    """Returns a process and its children."""
    return [process, *process.children(recursive=True)]


def _own_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def cpu_s(process: psutil.Process) -> float:
    """Returns what a process and its children used of the processor, seconds."""
    return sum(_own_s(one) for one in tree(process))


def pss(process: psutil.Process) -> int:
    """Returns the memory of a process and its children, bytes; shared pages count once."""
    return sum(one.memory_full_info().pss for one in tree(process))


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    main()
