"""`make bench`: correctness first, then times, both sides in turn, and the ratio."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.bench import decode, long_run, pack, road
from watchline.detectors.catalog import Catalog
from watchline.detectors.fetch import default_cache, fetch
from watchline.pipeline.machine import usable_cpus
from watchline.pipeline.model import load_model

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> None:
    """Runs the benchmarks."""
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each side")
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="threads of each side")
    parser.add_argument("--clip", type=Path, default=data / "clips" / "people-walking.mp4")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="venv that `make peers` made")
    arguments = parser.parse_args()

    print("pack: a resized 640x360 picture into a 3x384x640 network input")
    pack.compare(arguments.rounds)

    print("trackers: one update against the size of the crowd, beside other makers' trackers", flush=True)
    subprocess.run([sys.executable, "-m", "tests.bench.tracker_peers"], cwd=ROOT, check=True)

    print("long runs: an update after minutes and after an hour")
    long_run.compare()

    catalog = Catalog.load()
    clip = arguments.clip if arguments.clip.exists() else fetch(catalog[catalog.default_clip], default_cache())
    model = fetch(catalog[catalog.default_model], default_cache())

    print("decode: a network's output to its detections, after suppression")
    network = load_model(str(model), default_cache(), lambda entry: fetch(entry, default_cache())).onnx
    crowded = data / "clips" / "pedestrians.mp4"
    decode.compare(arguments.rounds, network, [clip, crowded] if crowded.exists() else [clip])

    python = arguments.peers / "bin" / "python"
    print(f"road: {clip.name}, {model.name}, {arguments.threads} threads, no video written")
    peer = partial(road.run_peer, python, clip, model, arguments.threads) if python.exists() else None
    if peer is None:
        print("  no peer here: `make peers` installs ultralytics into a second venv")
    reference = data / "detections" / f"{clip.stem}.yolov8n.json"
    road.compare(partial(road.run_ours, clip, model, arguments.threads, reference), peer, arguments.rounds)


if __name__ == "__main__":
    main()
