"""The whole road: `watchline run` on both of its runtimes beside `ultralytics track`, on the same clip, in turn."""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.bench.calm import CALM_CORES, MOST_TRIES, left_out, wait_for_calm
from tests.bench.found import Found, agreed, of_ultralytics, of_watchline, recall, reference_of
from tests.bench.process import Cost, measure
from tests.bench.table import table
from watchline.detectors.agreement import LOOSE_IOU, TIGHT_IOU

_PEER_SCRIPT: Final = Path(__file__).parent / "ultralytics_track.py"
_IOUS: Final = (LOOSE_IOU, TIGHT_IOU)
_PERSON: Final = {"person": 0}
OURS: Final = "watchline"
OPENVINO: Final = "watchline, OpenVINO"
PEER: Final = "ultralytics"
_LEAST_RECALL: Final = {OURS: 0.99, OPENVINO: 0.98, PEER: 0.99}  # OpenVINO computes in bfloat16 where it can


@dataclass(frozen=True, slots=True)
class Task:
    """What every side does: persons are found and tracked by ByteTrack, and no video is written.

    Attributes:
        clip: a video.
        model: a checkpoint.
        threads: of ours: detections under way at once.
        peer_threads: of PyTorch; 0 leaves what ultralytics sets.
        peer_seconds: of work of PyTorch's at most; 0 for the whole clip.
    """

    clip: Path
    model: Path
    threads: int
    peer_threads: int = 0
    peer_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one side.

    Attributes:
        cost: what the whole process took.
        frames: processed.
        steady_fps: frames a second once all was loaded, as the program itself measured.
        steady_cpu_ms: processor time a frame, likewise.
        found: boxes and tracks.
        ran: what on, in words.
    """

    cost: Cost
    frames: int
    steady_fps: float
    steady_cpu_ms: float
    found: Found
    ran: str


Side: TypeAlias = Callable[[], Round]


def run_ours(task: Task, device: str) -> Round:
    """Runs `watchline run` on a device."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "watchline.pipeline.cli", "run", str(task.clip), "--model", str(task.model)]
        options = ["--no-video", "--save-detections", "--json", "--classes", "person", "--device", device]
        cost = measure([*command, *options, "--threads", str(task.threads), "--out", folder], {})
        summary = json.loads(cost.stdout)
        assert summary["status"] == "complete", summary["warnings"]
        found = of_watchline(Path(summary["folder"]), _PERSON)
    frames, machine = summary["frames"]["processed"], summary["machine"]
    ran = f"{machine['runtime']}, {machine['provider']}, {machine['threads']} threads"
    return Round(cost, frames, summary["fps"], 1e3 * summary["cpu_s"] / frames, found, ran)


def run_peer(python: Path, task: Task) -> Round:
    """Runs `ultralytics track`; its first frame, with which it sets itself up, is not in what is steady."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.jsonl"
        classes = ",".join(map(str, _PERSON.values()))
        words = [str(task.clip), str(task.model), classes, str(task.peer_threads), str(task.peer_seconds), str(file)]
        cost = measure([str(python), str(_PEER_SCRIPT), *words], {"YOLO_OFFLINE": "1", "YOLO_CONFIG_DIR": folder})
        said = json.loads(cost.stdout.strip().splitlines()[-1])
        found = of_ultralytics(file)
    frames = said["warm_frames"]
    ran = f"PyTorch, {said['threads']} thread{'s' * (said['threads'] > 1)}"
    return Round(cost, said["frames"], frames / said["warm_wall_s"], 1e3 * said["warm_cpu_s"] / frames, found, ran)


def sides_of(task: Task, python: Path) -> dict[str, Side]:
    """Returns the sides that can be run here, ours first."""
    sides: dict[str, Side] = {OURS: lambda: run_ours(task, "cpu")}
    if importlib.util.find_spec("openvino"):
        sides[OPENVINO] = lambda: run_ours(task, "openvino")
    else:
        print("  no OpenVINO here: the extra watchline[openvino] brings it")
    if python.exists():
        sides[PEER] = lambda: run_peer(python, task)
    else:
        print("  no peer here: `make peers` installs ultralytics into a second venv")
    return sides


def compare(sides: Mapping[str, Side], reference: Path, rounds: int) -> None:
    """Runs all sides in turn, a round first that does not count, and prints medians and ratios.

    Args:
        sides: what to run, by name.
        reference: the original's boxes in this clip; where it is missing no recall is told.
        rounds: that count; those that other programs disturbed are repeated, as often again at most.
    """
    rounds_done: list[dict[str, Round]] = []
    for name, side in sides.items():
        _check(name, side().found, reference)
    while len(rounds_done) < MOST_TRIES * rounds and sum(map(_is_calm, rounds_done)) < rounds:
        rounds_done.append({})
        for name, side in sides.items():
            wait_for_calm()
            done = rounds_done[-1][name] = side()
            values = " ".join(f"{value:9.1f}" for value in _figures([done]))
            print(f"  round {len(rounds_done)} {name:20}{values}; others took {done.cost.others:.2f} cores", flush=True)
    calm = [each for each in rounds_done if _is_calm(each)]
    print(left_out(len(calm), len(rounds_done)), end="\n" * (len(calm) < len(rounds_done)))
    runs = {name: [each[name] for each in calm or rounds_done] for name in sides}
    figures = {name: _figures(done) for name, done in runs.items()}
    rows = [(name, *(f"{value:.1f}" for value in values), runs[name][0].ran) for name, values in figures.items()]
    if PEER in figures:
        for name in (each for each in figures if each != PEER):
            ratios = (f"{a / b:.3f}" for a, b in zip(figures[name], figures[PEER], strict=True))
            rows.append((f"{name} / {PEER}", *ratios, ""))
    print(table(("median", *_TITLES, "ran on"), rows))
    _print_found({name: done[0].found for name, done in runs.items()}, reference)


def _is_calm(done: Mapping[str, Round]) -> bool:
    return max(each.cost.others for each in done.values()) <= CALM_CORES


def _check(name: str, found: Found, reference: Path) -> None:
    """Asserts, before any time counts, that a side finds what the original finds."""
    if reference.exists():
        had = recall(reference_of(reference, tuple(_PERSON.values())), found.boxes, LOOSE_IOU)
        assert had >= _LEAST_RECALL[name], f"{name}: recall of the original's boxes is {had:.4f}"


def _print_found(found: Mapping[str, Found], reference: Path) -> None:
    """Prints what of the original's boxes each side has, and how far the tracks are the peer's."""
    wanted = {PEER: found[PEER].boxes} if PEER in found else {}
    if reference.exists():
        wanted = {reference.name: reference_of(reference, tuple(_PERSON.values()))} | wanted
    rows = [
        (whose, f"{sum(map(len, want))}", name, *(f"{recall(want, each.boxes, iou):.4f}" for iou in _IOUS))
        for whose, want in wanted.items()
        for name, each in found.items()
        if name != whose
    ]
    if rows:
        print(table(("the original's boxes, as in", "boxes", "recall of", "at IoU 0.5", "at IoU 0.9"), rows))
    whose = next((name for name in (PEER, OURS) if name in found), "")
    rows = []
    for name in (each for each in found if each != whose):
        theirs = agreed(found[whose].tracks, found[name].tracks)
        ours = agreed(found[name].tracks, found[whose].tracks)
        rows.append((name, f"{theirs.tracks_a}", f"{theirs.matched}", f"{theirs.tracks_b}", f"{ours.matched}"))
    if rows:
        head = (f"tracks beside those of {whose}", "theirs", "of them ours has", "ours", "of them theirs has")
        print(table(head, rows))


_TITLES: Final = ("fps, whole", "fps, steady", "CPU s", "CPU ms a frame", "peak MB")


def _figures(rounds: Sequence[Round]) -> list[float]:
    return [
        statistics.median(r.frames / r.cost.wall_s for r in rounds),
        statistics.median(r.steady_fps for r in rounds),
        statistics.median(r.cost.cpu_s for r in rounds),
        statistics.median(r.steady_cpu_ms for r in rounds),
        statistics.median(r.cost.peak_memory_bytes / 1e6 for r in rounds),
    ]
