"""`make bench`: correctness first, then times, both sides in turn, and the ratio."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench import contention, decode, long_run, pack, road
from watchline.detectors.catalog import Catalog
from watchline.detectors.fetch import default_cache, fetch
from watchline.pipeline.machine import usable_cpus
from watchline.pipeline.model import load_model

ROOT: Final = Path(__file__).resolve().parent.parent.parent


def main() -> None:
    """Runs the benchmarks."""
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each side")
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="threads of our side of the road")
    parser.add_argument("--clip", type=Path, default=data / "clips" / "people-walking.mp4")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="venv that `make peers` made")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    arguments = parser.parse_args()
    arguments.data = data
    for name in [arguments.only] if arguments.only else PARTS:
        PARTS[name](arguments)


def _pack(arguments: argparse.Namespace) -> None:
    print("pack: a resized 640x360 picture into a 3x384x640 network input")
    pack.compare(arguments.rounds)


def _trackers(_arguments: argparse.Namespace) -> None:
    print("trackers: one update against the size of the crowd, beside other makers' trackers", flush=True)
    subprocess.run([sys.executable, "-m", "tests.bench.tracker_peers"], cwd=ROOT, check=True)


def _long_runs(_arguments: argparse.Namespace) -> None:
    print("long runs: an update after minutes and after an hour")
    long_run.compare()


def _decode(arguments: argparse.Namespace) -> None:
    print("decode: a network's output to its detections, after suppression")
    task = _task(arguments)
    network = load_model(str(task.model), default_cache(), lambda entry: fetch(entry, default_cache())).onnx
    crowded = arguments.data / "clips" / "pedestrians.mp4"
    decode.compare(arguments.rounds, network, [task.clip, crowded] if crowded.exists() else [task.clip])


def _road(arguments: argparse.Namespace) -> None:
    task = _task(arguments)
    print(f"road: {task.clip.name}, persons, {task.model.name}, ByteTrack, no video written", flush=True)
    reference = arguments.data / "detections" / f"{task.clip.stem}.yolov8n.json"
    road.compare(road.sides_of(task, _peer(arguments)), reference, arguments.rounds)


def _contention(arguments: argparse.Namespace) -> None:
    print("contention: the same road while another process takes a core", flush=True)
    contention.compare(_task(arguments), _peer(arguments), arguments.rounds)


def _task(arguments: argparse.Namespace) -> road.Task:
    """Returns the work on the road: the clip and the model that are here, or else those of the catalog."""
    catalog = Catalog.load()
    clip = arguments.clip if arguments.clip.exists() else fetch(catalog[catalog.default_clip], default_cache())
    return road.Task(clip, fetch(catalog[catalog.default_model], default_cache()), arguments.threads)


def _peer(arguments: argparse.Namespace) -> Path:
    python: Path = arguments.peers / "bin" / "python"
    return python


PARTS: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "pack": _pack,
    "trackers": _trackers,
    "long-runs": _long_runs,
    "decode": _decode,
    "road": _road,
    "contention": _contention,
}


if __name__ == "__main__":
    main()
