"""The whole road: `watchline run` beside `ultralytics track`, on the same clip, in turn."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.process import Cost, measure
from watchline.detectors.boxes import iou_matrix

_PEER_SCRIPT = Path(__file__).parent / "ultralytics_track.py"


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one side.

    Attributes:
        cost: what the whole process took.
        frames: processed.
        steady_fps: frames a second once the model was loaded, as the program itself measured.
    """

    cost: Cost
    frames: int
    steady_fps: float


def run_ours(clip: Path, model: Path, threads: int, reference: Path) -> Round:
    """Runs `watchline run` and asserts that its detections are the original's before any time counts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "watchline.pipeline.cli", "run", str(clip), "--model", str(model)]
        options = ["--no-video", "--save-detections", "--json", "--threads", str(threads), "--out", folder]
        cost = measure([*command, *options], {})
        summary = json.loads(cost.stdout)
        assert summary["status"] == "complete", summary["warnings"]
        if reference.exists():
            recall = _recall(reference, Path(summary["folder"]) / "detections.jsonl")
            assert recall >= 0.99, f"recall of the original's boxes is {recall:.4f}"
    return Round(cost, summary["frames"]["processed"], summary["fps"])


def run_peer(python: Path, clip: Path, model: Path, threads: int) -> Round:
    """Runs `ultralytics track` with ByteTrack."""
    cost = measure([str(python), str(_PEER_SCRIPT), str(clip), str(model), str(threads)], {"YOLO_OFFLINE": "1"})
    said = json.loads(cost.stdout.strip().splitlines()[-1])
    assert said["boxes"] > 0
    return Round(cost, said["frames"], said["frames"] / said["wall_s"])


def compare(ours: Callable[[], Round], peer: Callable[[], Round] | None, rounds: int) -> None:
    """Runs both sides in turn, one round each first that does not count, and prints medians and ratios."""
    sides: dict[str, Callable[[], Round]] = {"watchline": ours} | ({"ultralytics": peer} if peer else {})
    runs: dict[str, list[Round]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            done = side()
            if number:
                runs[name].append(done)
                print(f"  round {number} {name:12}", _row(_figures([done])), flush=True)
    figures = {name: _figures(done) for name, done in runs.items()}
    print(f"  {'median':20}", " ".join(f"{title:>12}" for title in _TITLES))
    for name, values in figures.items():
        print(f"  {name:20}", _row(values))
    if peer:
        ratios = [a / b for a, b in zip(figures["watchline"], figures["ultralytics"], strict=True)]
        print(f"  {'ratio':20}", _row(ratios, digits=3))


_TITLES = ("fps, whole", "fps, steady", "CPU s", "peak MB")


def _figures(rounds: list[Round]) -> list[float]:
    return [
        statistics.median(r.frames / r.cost.wall_s for r in rounds),
        statistics.median(r.steady_fps for r in rounds),
        statistics.median(r.cost.cpu_s for r in rounds),
        statistics.median(r.cost.peak_memory_bytes / 1e6 for r in rounds),
    ]


def _row(values: list[float], digits: int = 1) -> str:
    return " ".join(f"{value:12.{digits}f}" for value in values)


def _recall(reference: Path, detections: Path) -> float:
    """Returns the part of the reference's boxes that were found at IoU 0.9 with the same class."""
    found = {line["frame"]: line["detections"] for line in map(json.loads, detections.read_text().splitlines())}
    hits = total = 0
    for frame, boxes in json.loads(reference.read_text())["frames"].items():
        ours = found[int(frame)]
        want = np.array(boxes, np.float64).reshape(-1, 6)
        total += len(want)
        if ours:
            overlap = iou_matrix(want[:, 2:], np.array([d["xyxy"] for d in ours], np.float64))
            same = want[:, :1] == np.array([d["class_id"] for d in ours])[None]
            hits += int(((overlap >= 0.9) & same).any(axis=1).sum())
    return hits / total
