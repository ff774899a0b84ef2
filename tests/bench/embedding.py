"""Describing people: ours beside torchreid's own code on PyTorch, from decoded frames to vectors, a thread each.

`python -m tests.bench.embedding [--rounds N] [--data FOLDER] [--peers PYTHON] [--sources FOLDER]`; --peers is the
Python of the venv that `make peers` makes, --sources a folder with torchreid's repository as torchreid. Both sides run
at once and take turns, the other one waiting. No time is told before both have given the same vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import onnx

from tests.bench.table import table
from tests.parity.test_osnet_fixtures import weights_of
from watchline.detectors.boxes import F32
from watchline.pipeline.bench.sheet import Others

ROOT: Final = Path(__file__).resolve().parent.parent.parent
OURS: Final = "watchline"
PEER: Final = "torchreid, PyTorch"
LEAST_COSINE: Final = 0.9999
LEAST_SPEED: Final = 5.0  # crops a processor second, ours / theirs
MOST_MEMORY: Final = 0.3
_MODEL: Final = "osnet_x0_25_msmt17.onnx"
_CLIP: Final = "people-walking"
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Turn:
    """One pass over the clip's people.

    Attributes:
        crops: described.
        cpu_s: of the process, from decoded frames to vectors.
        wall_s: likewise.
        peak_bytes: the most memory that the process held so far, decoding included.
        vectors: (crops, D) float32.
    """

    crops: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    vectors: F32


class Side:
    """A process that takes a turn when it is told to, and waits otherwise."""

    def __init__(self, command: Sequence[str], vectors: Path) -> None:
        self._vectors = vectors
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | _ONE_THREAD
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def turn(self) -> Turn:
        """Returns what the process tells of a turn, once it has taken it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._vectors}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return Turn(**json.loads(line), vectors=np.load(self._vectors))


def commands(data: Path, peers: Path, sources: Path, folder: Path) -> dict[str, list[str]]:
    """Returns how to start each side that is here, ours first."""
    model = data / "models" / _MODEL
    inputs = [str(data / "clips" / f"{_CLIP}.mp4"), str(data / "detections" / f"{_CLIP}.yolov8n.json")]
    ours = [sys.executable, "-m", "tests.bench.embedding_ours", *inputs, str(model), str(folder / "cache")]
    if not peers.exists() or not (sources / "torchreid").is_dir():
        print(f"  no peer here: `make peers` makes {peers}; --sources names a folder with torchreid's repository")
        return {OURS: ours}
    weights = folder / "weights.npz"
    arrays: dict[str, Any] = {n: array.astype(np.float32) for n, array in weights_of(onnx.load(model)).items()}
    np.savez(weights, **arrays)
    theirs = [str(peers), "-m", "tests.bench.embedding_torchreid", *inputs, str(weights), str(sources)]
    return {OURS: ours, PEER: theirs}


def least_cosine(ours: F32, theirs: F32) -> float:
    """Returns the least similarity of the vectors of one picture."""
    assert ours.shape == theirs.shape, f"{ours.shape} and {theirs.shape}"
    return float((ours.astype(np.float64) * theirs).sum(axis=1).min())


def compare(sides: Mapping[str, Side], rounds: int) -> dict[str, list[Turn]]:
    """Returns the turns of each side, after one that does not count and in which they must agree."""
    first = {name: side.turn() for name, side in sides.items()}
    if PEER in first:
        cosine = least_cosine(first[OURS].vectors, first[PEER].vectors)
        assert cosine >= LEAST_COSINE, f"the vectors differ: least cosine {cosine:.6f}, want {LEAST_COSINE}"
        print(f"  {first[OURS].crops} people, the same vectors: least cosine {cosine:.6f}", flush=True)
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    watch = Others()
    for _ in range(rounds):
        for name, side in sides.items():
            turns[name].append(side.turn())
    print(f"  {rounds} rounds in turn; other programs took {watch.cores():.2f} cores meanwhile")
    return turns


def figures(turns: Sequence[Turn]) -> tuple[float, float, float]:
    """Returns the median crops a processor second, the median crops a second, and the peak memory in MB."""
    speed = statistics.median(turn.crops / turn.cpu_s for turn in turns)
    pace = statistics.median(turn.crops / turn.wall_s for turn in turns)
    return speed, pace, max(turn.peak_bytes for turn in turns) / 1e6


def main() -> None:
    """Runs the benchmark and prints a table."""
    data = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers" / "bin" / "python")
    parser.add_argument("--sources", type=Path, default=Path(os.environ.get("WATCHLINE_UPSTREAM", ROOT / "upstream")))
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        started = commands(options.data, options.peers, options.sources, folder)
        sides = {n: stack.enter_context(Side(c, folder / f"{i}.npy")) for i, (n, c) in enumerate(started.items())}
        found = {name: figures(turns) for name, turns in compare(sides, options.rounds).items()}
    rows = [(name, *(f"{number:.1f}" for number in numbers)) for name, numbers in found.items()]
    if PEER in found:
        ratios = [a / b for a, b in zip(found[OURS], found[PEER], strict=True)]
        rows.append((f"{OURS} / {PEER}", *(f"{ratio:.3f}" for ratio in ratios)))
        rows.append(("wanted", f">= {LEAST_SPEED:g}", "", f"<= {MOST_MEMORY:g}"))
    print(table(("median", "crops / CPU s", "crops / s", "peak MB"), rows))


if __name__ == "__main__":
    main()
