"""`python -m tests.bench.daemon`: what the whole daemon does with so many cameras, and what that costs.

RTSP cameras of a real clip, the real command, a real detector. At every look, twice a second, the frames of each camera
must add up exactly, or nothing is told. The server of the cameras is not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.bench.calm import wait_for_calm
from tests.bench.cameras import cpu_s, pss, tree
from tests.bench.table import table
from tests.kit.daemon import DaemonProcess
from tests.kit.recordings import Scene, write_recording
from tests.kit.rtsp_server import RtspServer
from tests.soak.daemon_counts import check_cameras
from watchline.pipeline.bench.sheet import Others

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CLIP: Final = "clips/people-walking.mp4"
MODEL: Final = "models/yolov8n.pt"
_CONNECT_S: Final = 60.0
_WARM_S: Final = 5.0
_LOOK_S: Final = 0.5

Cameras = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is measured, the same of all loads.

    Attributes:
        model: name or file.
        recording: what each camera shows.
        fps: frames to analyse a second, of each camera.
        seconds: counted.
        imgsz: side of the network's input, pixels; None for the model's own.
    """

    model: str
    recording: Path
    fps: float
    seconds: float
    imgsz: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What the daemon did with so many cameras on a device.

    Attributes:
        fps: frames analysed a second, of each camera: least, mean, most.
        received_fps: frames decoded a second, mean.
        age_ms: from a frame's capture until it was tracked: median, 95 and 99 of 100.
        dropped: frames a second of all cameras, by reason.
        cpu_percent: of one core, the daemon and its children.
        memory_bytes: of them, shared pages counted once (PSS).
        others: cores that other programs but the server took.
        looks: at which every count was right.
    """

    device: str
    cameras: int
    fps: tuple[float, float, float]
    received_fps: float
    age_ms: tuple[float, float, float]
    dropped: dict[str, float]
    cpu_percent: float
    memory_bytes: int
    threads: int
    others: float
    looks: int

    @property
    def fairness(self) -> float:
        """Frames of the camera that has most for one of that which has least."""
        return self.fps[2] / self.fps[0] if self.fps[0] else float("inf")


def main() -> None:
    """Measures, prints a table, and writes the figures where asked."""
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.daemon", description=__doc__)
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--devices", nargs="+", default=_devices())
    parser.add_argument("--seconds", type=float, default=30.0, help="counted, of each load")
    parser.add_argument("--fps", type=float, default=5.0, help="asked for, of each camera")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--clip", type=Path, default=data / CLIP)
    parser.add_argument("--model", default=str(data / MODEL))
    parser.add_argument("--imgsz", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="an SVG of the figures (needs `make tracker-peers`)")
    arguments = parser.parse_args()
    if arguments.plot and not arguments.json:
        parser.error("--plot draws what --json keeps: name that file, too")
    if not arguments.clip.exists():
        sys.exit(f"no clip at {arguments.clip}; set WATCHLINE_TEST_DATA to the folder that holds clips/ and models/")
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(width=width, height=height, frames=1000, gop=50, bit_rate=2_000_000, clip=str(arguments.clip))
        recording = write_recording(Path(folder) / "scene.rec", scene)
        asked = Asked(arguments.model, recording, arguments.fps, arguments.seconds, arguments.imgsz)
        loads = [measure(asked, device, count) for device in arguments.devices for count in arguments.cameras]
    print(shown(loads))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(load) for load in loads], indent=1))
    if arguments.plot:
        plot = [sys.executable, "-m", "tests.bench.daemon_plot", str(arguments.json.resolve())]
        subprocess.run([*plot, "--out", str(arguments.plot.resolve())], cwd=ROOT, check=True)


def measure(asked: Asked, device: str, cameras: int, *, calm: bool = True) -> Load:
    """Lets the daemon watch so many cameras.

    Args:
        asked: what is measured.
        device: of the network, as a site names it.
        cameras: how many.
        calm: wait until other programs leave the machine alone.

    Raises:
        RuntimeError: a count was wrong, or a camera gave no picture.
    """
    if calm:
        wait_for_calm()
    life_s = int(asked.seconds + _CONNECT_S + 120)
    with RtspServer(life_s=life_s) as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        mounts = [f"/{index}" for index in range(cameras)]
        for mount in mounts:
            server.add(mount, asked.recording)
        site = _site(asked, device, [server.url(mount) for mount in mounts])
        with DaemonProcess(Path(folder), site) as daemon:
            _wait_for_all(daemon)
            time.sleep(_WARM_S)
            load = _watch(daemon, asked, device, psutil.Process(server.pid))
            code, _ = daemon.stop()
    if code:
        raise RuntimeError(f"{device}, {cameras} cameras: the daemon ended with {code}: {daemon.lines[-5:]}")
    print(shown([load]), flush=True)
    return load


def shown(loads: Sequence[Load]) -> str:
    """Returns the table."""
    head = ["device", "cameras", "fps least", "mean", "most", "most/least", "age ms p50", "p95", "p99", "CPU %"]
    head += ["MB", "threads", "decoded fps", "others", "dropped a second"]
    rows = [
        [
            load.device,
            str(load.cameras),
            *(f"{fps:.2f}" for fps in load.fps),
            f"{load.fairness:.2f}",
            *(f"{age:.0f}" for age in load.age_ms),
            f"{load.cpu_percent:.0f}",
            f"{load.memory_bytes / 1e6:.0f}",
            str(load.threads),
            f"{load.received_fps:.1f}",
            f"{load.others:.2f}",
            ", ".join(f"{reason} {rate:.1f}" for reason, rate in load.dropped.items()) or "none",
        ]
        for load in loads
    ]
    return table(head, rows)


def _devices() -> list[str]:
    return ["cpu", "openvino"] if importlib.util.find_spec("openvino") else ["cpu"]


def _site(asked: Asked, device: str, urls: Sequence[str]) -> dict[str, Any]:
    model = {"model": asked.model, "device": device} | ({"imgsz": asked.imgsz} if asked.imgsz else {})
    return {
        "site": "bench",
        "defaults": {"fps": asked.fps},
        "models": {"people": model},
        "ingest": {"group_size": 4},
        "cameras": [{"id": f"camera-{index}", "url": url} for index, url in enumerate(urls)],
    }


def _wait_for_all(daemon: DaemonProcess) -> None:
    until_s = time.monotonic() + _CONNECT_S
    while not all(camera["processed"] for camera in daemon.cameras().values()):
        if time.monotonic() > until_s:
            silent = [name for name, camera in daemon.cameras().items() if not camera["processed"]]
            raise RuntimeError(f"no picture within {_CONNECT_S:g} s of {', '.join(silent)}: {daemon.lines[-5:]}")
        time.sleep(0.2)


def _watch(daemon: DaemonProcess, asked: Asked, device: str, server: psutil.Process) -> Load:
    whole = psutil.Process(daemon.process.pid)
    ages: dict[tuple[str, float], float] = {}
    watch, begun_s = Others(), time.monotonic()
    cpu_before, server_before = cpu_s(whole), sum(server.cpu_times()[:2])
    first = _look(daemon, ages)
    looks = 1
    while time.monotonic() - begun_s < asked.seconds:
        time.sleep(_LOOK_S)
        last = _look(daemon, ages)
        looks += 1
    wall_s = time.monotonic() - begun_s
    used_s, server_s = cpu_s(whole) - cpu_before, sum(server.cpu_times()[:2]) - server_before
    others = watch.cores() - (used_s + server_s) / wall_s
    rates = [(last[name]["processed"] - first[name]["processed"]) / wall_s for name in first]
    dropped = _dropped(last) - _dropped(first)
    received = sum(camera["received"] - first[name]["received"] for name, camera in last.items())
    ordered = sorted(1000 * age for age in ages.values()) or [float("nan")]
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.95, 0.99))
    return Load(
        device=device,
        cameras=len(first),
        fps=(min(rates), statistics.mean(rates), max(rates)),
        received_fps=received / wall_s / len(first),
        age_ms=(p50, p95, p99),
        dropped={reason: count / wall_s for reason, count in dropped.items()},
        cpu_percent=100 * used_s / wall_s,
        memory_bytes=pss(whole),
        threads=sum(one.num_threads() for one in tree(whole)),
        others=max(0.0, others),
        looks=looks,
    )


def _look(daemon: DaemonProcess, ages: dict[tuple[str, float], float]) -> Cameras:
    """Returns what the daemon says of its cameras, and notes the age of each newest frame; all counts must be right."""
    told = daemon.cameras()
    wrong = check_cameras(list(told.values()))
    if wrong:
        raise RuntimeError("; ".join(wrong))
    for name, camera in told.items():
        if camera["last_frame_at"] is not None:
            ages[name, camera["last_frame_at"]] = camera["latency_s"]
    return told


def _dropped(told: Cameras) -> Counter[str]:
    return sum((Counter(camera["dropped"]) for camera in told.values()), Counter())


if __name__ == "__main__":
    main()
