"""`make bench-models`: measures every model at hand and writes docs/benchmarks.md and its plot."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.bench.peers_venv import ROOT
from watchline.detectors.fetch import default_cache
from watchline.detectors.importer.description import hash_model
from watchline.detectors.manifest import Manifest
from watchline.detectors.opening import devices_of, open_engine
from watchline.pipeline.bench import show
from watchline.pipeline.bench.measure import Plan, Subject, measure
from watchline.pipeline.bench.plot import draw
from watchline.pipeline.bench.sheet import DETECTOR, NETWORK, OURS, Others, Sheet
from watchline.pipeline.machine import usable_cpus
from watchline.pipeline.model import ModelFile, imports, network_of
from watchline.streams.errors import WatchlineError

_SIZES: Final = ((384, 640), (640, 640))
_ORIGINAL: Final = "yolov8n.pt"
_INT8: Final = {"yolov8n-int8.onnx": "onnxruntime", "yolov8n-int8-openvino.onnx": "openvino"}  # made here, and for what
_CALIBRATION: Final = ("people-walking.mp4", "pedestrians.mp4")
_MODELS: Final = {  # file: what it is, where it does not say so
    _ORIGINAL: "",
    **dict.fromkeys(_INT8, ""),
    "yolov8n-pose_640.onnx": "",
    "yolov8n-seg_int8_dyn.onnx": "",
    "yolov8-lite-t-face.onnx": "yolov8-face",
    "y7plate_yolov7-lite-t.pt": "",
    "yolox_nano.onnx": "yolox",
    "face_detection_yunet_2026may.onnx": "",
    "scrfd_500m_bnkps.onnx": "",
}
_DEVICES: Final = ("cpu", "openvino")
_PORTED: Final = (  # what the porting project reported, in PyTorch and ported: frames a second, MB
    ("YOLOv8-face", (21.84, 72.17), (1254, 279)),
    ("YOLOv7", (21.84, 78.31), (1626, 592)),
    ("YOLOv6-face-S", (29.7, 96.58), (1440, 406)),
)
_NO_CORE: Final = (
    "there were no two idle cores; PyTorch's threads wait for each other in a busy loop (OpenMP), and collapse when "
    "another program takes a core: a ratio would say little"
)

Troubles = dict[str, list[str]]  # why something was not measured, and of what that holds

_INTRODUCTION: Final = """# What the models cost

`make bench-models` measured all of this and wrote this page, the porting project's figures apart. `watchline models
bench` does the same for a model of yours, on your machine: see `watchline models bench --help`.

Every side and batch size is a process of its own, so memory is its own. Both sides read the same pictures, held in
memory, and take turns. Where other programs shared the machine, trust processor time before frames a second.

- network: inference alone; detector: from a picture in memory to its boxes
- fps: by the clock; p50 and p95: of a call, all its frames; CPU ms: of the process, a frame; MB: its peak so far
- ratios: fps, how many times the original's; CPU, how many times less; memory, what part of it
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One sheet to measure: a model, and how."""

    subject: Subject
    plan: Plan


def main() -> None:
    """Measures and writes."""
    default = Path(os.environ.get("WATCHLINE_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(prog="make bench-models", description=__doc__)
    parser.add_argument("--data", type=Path, default=default, help="folder that holds models/ and clips/")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="venv that `make peers` made")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each row is timed for")
    parser.add_argument("--devices", default=",".join(_DEVICES), help="where ours runs, one after the other")
    parser.add_argument("--only", default=",".join(_MODELS), help="files of the models to measure; else all")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the page")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if not set(chosen) <= set(_MODELS):
        parser.error(f"--only {arguments.only}: want some of {', '.join(_MODELS)}")
    with tempfile.TemporaryDirectory(prefix="watchline-sheet-") as scratch:
        _write(arguments, {file: _MODELS[file] for file in chosen}, Path(scratch))


def _write(arguments: argparse.Namespace, chosen: Mapping[str, str], scratch: Path) -> None:
    """Measures the chosen models and writes the page and its plot."""
    clips, models = arguments.data / "clips", arguments.data / "models"
    usual = Plan(clip=str(clips / _CALIBRATION[0]), seconds=arguments.seconds)
    troubles: Troubles = {}
    devices = _at_hand(devices_of(arguments.devices), troubles)
    paths = {file: models / file for file in chosen}
    made = []
    for file in [file for file in _INT8 if file in chosen and (models / _ORIGINAL).exists()]:
        paths[file] = scratch / file
        if _fitting(file, devices):
            made.append(_make_int8(models / _ORIGINAL, [clips / name for name in _CALIBRATION], paths[file], troubles))
    beside: list[Sheet] = []
    python = arguments.peers / "bin" / "python"
    if not python.exists():
        _note(troubles, "`make peers` installs ultralytics into a second venv", "the original")
    elif (models / _ORIGINAL).exists():
        facing = replace(usual, against=models / _ORIGINAL, python=python)
        beside = list(_measured(_beside(paths, facing, devices, troubles), troubles))
    alone = list(_measured(_alone(paths, usual, devices, troubles), troubles))
    if not beside and not alone:
        sys.exit(f"no models in {models}; set WATCHLINE_TEST_DATA to the folder that holds models/ and clips/")
    arguments.out.mkdir(parents=True, exist_ok=True)
    if beside:
        (arguments.out / "benchmarks.svg").write_text(draw(beside[0]), "utf-8")
    left_out = [f"{', '.join(of)}: {why}".replace(f"{models}/", "") for why, of in troubles.items()]
    page = _page(beside, alone, left_out, made)
    (arguments.out / "benchmarks.md").write_text(page, "utf-8")
    print(f"wrote {arguments.out / 'benchmarks.md'}")


def _at_hand(devices: Sequence[str], troubles: Troubles) -> list[str]:
    """Returns the devices without those of a runtime that is not installed."""
    if importlib.util.find_spec("openvino"):
        return list(devices)
    missing = [device for device in devices if device.startswith("openvino")]
    for device in missing:
        _note(troubles, "OpenVINO is not installed; the extra watchline[openvino] brings it", device)
    return [device for device in devices if device not in missing]


def _fitting(file: str, devices: Sequence[str]) -> list[str]:
    """Returns the devices on which a model is measured: an int8 model has the form that one runtime computes well."""
    runtime = _INT8.get(file, "")
    return [device for device in devices if not runtime or device.startswith("openvino") == (runtime == "openvino")]


def _make_int8(original: Path, clips: Sequence[Path], out: Path, troubles: Troubles) -> str:
    """Quantizes the original as a user would; returns what the page says of it, "" where there is no such model."""
    print(f"{out.name}: quantizing {original.name}", flush=True)
    command = [sys.executable, "-m", "watchline.pipeline.cli", "models", "quantize", str(original), "--out", str(out)]
    command += ["--runtime", _INT8[out.name]]
    calibrate = [word for clip in clips if clip.exists() for word in ("--calibrate", str(clip))]
    done = subprocess.run([*command, *calibrate, "--force", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        _note(troubles, (done.stderr.strip().splitlines() or ["it could not be made"])[-1], out.name)
        return ""
    boxes = json.loads(done.stdout)["boxes"]
    size = f"{out.stat().st_size / 1e6:.1f} MB"
    return (
        f"{out.name} ({size}) is made of {original.name} by `watchline models quantize --runtime {_INT8[out.name]}`, "
        "calibrated on "
        f"{' and '.join(clip.name for clip in clips if clip.exists())}; on frames of them that were held out it has "
        f"{boxes['recall']:.1%} of the {boxes['boxes_a']} boxes of float32, {boxes['recall_tight']:.1%} to an IoU of "
        f"0.9, and {boxes['precision']:.1%} of its own are among them. The pictures of this "
        "page are of the same clip as some that calibrated it."
    )


def _measured(jobs: Iterator[Job], troubles: Troubles) -> Iterator[Sheet]:
    """Yields the sheets of `jobs`; why one could not be had goes into `troubles`."""
    for job in jobs:
        size = "x".join(map(str, job.plan.size)) if job.plan.size else "its own size"
        print(f"{job.subject.name}, {size}, {job.plan.device}, threads: {job.plan.threads}", flush=True)
        try:
            yield measure(job.subject, job.plan)
        except WatchlineError as error:
            _note(troubles, str(error), f"{job.subject.name} on {job.plan.device}")


def _note(troubles: Troubles, why: str, what: str) -> None:
    of = troubles.setdefault(why, [])
    if what not in of:
        of.append(what)


def _beside(paths: Mapping[str, Path], facing: Plan, devices: Sequence[str], troubles: Troubles) -> Iterator[Job]:
    """Yields the jobs beside the original: of itself all sizes, batches and threads, of its int8 form the usual one."""
    if _ORIGINAL in paths:
        subject = _subject(paths[_ORIGINAL], "")
        for device in devices:
            plan = replace(facing, device=device)
            for size in _SIZES:
                yield Job(subject, replace(plan, size=size, batches=(1, 2, 4)))
            if _idle_cores() < 1.8:
                _note(troubles, _NO_CORE, f"{_ORIGINAL} on {device}, two threads")
            else:
                yield Job(subject, replace(plan, size=_SIZES[0], threads=2))
    for file in [file for file in _INT8 if file in paths and paths[file].exists()]:
        subject = _subject(paths[file], "")
        for device in _fitting(file, devices):
            for size in _SIZES:
                yield Job(subject, replace(facing, device=device, size=size))


def _idle_cores() -> float:
    """Returns how many cores nobody used in the last two seconds."""
    others = Others()
    time.sleep(2)
    return usable_cpus() - others.cores()


def _alone(paths: Mapping[str, Path], usual: Plan, devices: Sequence[str], troubles: Troubles) -> Iterator[Job]:
    for file, path in paths.items():
        if not path.exists():
            if not any(file in of for of in troubles.values()):
                _note(troubles, "not at hand", file)
            continue
        try:
            subject = _subject(path, _MODELS[file])
            fixed = open_engine(subject.network, "cpu").fixed_size
        except WatchlineError as error:
            _note(troubles, str(error), file)
            continue
        for device in _fitting(file, devices):
            for size in (None,) if fixed else _SIZES:
                yield Job(subject, replace(usual, device=device, size=size))


def _subject(path: Path, family: str) -> Subject:
    network = network_of(ModelFile(path, Manifest(family=family)), imports(default_cache()))
    return Subject(path.name, hash_model(path), network)


def _page(beside: Sequence[Sheet], alone: Sequence[Sheet], troubles: Sequence[str], made: Sequence[str] = ()) -> str:
    sheets = [*beside, *alone]
    machine, others = sheets[0].machine, [sheet.machine.others for sheet in sheets]
    shared = sum(sheet.machine.is_shared for sheet in sheets)
    versions = dict(pair for sheet in sheets for pair in sheet.versions.items())
    system = f"{machine.cores} usable cores, {machine.memory_bytes / 1e9:.0f} GB, {machine.system}"
    taken = f"they took {min(others):.1f} to {max(others):.1f} of the {machine.cores} cores"
    held = f"{sheets[0].held_bytes / 1e6:.0f} MB of them are in each process's memory"
    lines = [
        _INTRODUCTION,
        "## The machine",
        "",
        f"- {machine.cpu}, {system}",
        f"- shared with other programs during {shared} of {len(sheets)} measurements: {taken}",
        *(f"- {side}: {', '.join(f'{k} {v}' for k, v in found.items())}" for side, found in versions.items()),
        f"- pictures: {sheets[0].pictures}; {held}; {sheets[0].seconds:g} s a row",
        *(f"- {sentence}" for sentence in made if sentence),
        "",
    ]
    if beside:
        lines += ["## Beside the original", "", *_beside_section(beside)]
    lines += ["## The ratio to beat", "", *_ported_section(beside)]
    if alone:
        lines += ["## Every model at hand", "", *_alone_section(alone)]
    if troubles:
        lines += ["## Not measured", "", *(f"- {trouble}" for trouble in troubles), ""]
    return "\n".join(lines)


def _beside_section(sheets: Sequence[Sheet]) -> list[str]:
    head: tuple[str, ...] = ()
    rows = []
    for sheet in sheets:
        names, cells = show.cells(sheet)
        head = ("model", "input", "threads", *names[:3], "ran on", *names[3:])
        for row, cell in zip(sheet.rows, cells, strict=True):
            where = _where(sheet) if row.side == OURS else row.runtime
            name = sheet.model if row.side == OURS else sheet.against
            rows.append((name, _size(sheet), str(sheet.threads), *cell[:3], where, *cell[3:]))
    table = show.markdown_table(head, rows, texts=(0, 1, 3, 5, 6))
    agreed = [
        f"- {sheet.model}, {_size(sheet)}, {_threads(sheet)}, {_where(sheet)}: {line}"
        for sheet in sheets
        for line in show.consistency(sheet)
    ]
    title = f"{sheets[0].against}: `ultralytics predict`, and ours."
    return [title, "", "![bars of the first rows](benchmarks.svg)", "", *table, "", *agreed, ""]


def _ported_section(beside: Sequence[Sheet]) -> list[str]:
    head = ("measured", "fps before", "fps after", "fps", "MB before", "MB after", "memory")
    rows = [_ported_row(f"{name}, ported, RTX card", fps, mb) for name, fps, mb in _PORTED]
    for sheet in beside:
        row = next(row for row in sheet.rows if (row.side, row.part, row.batch) == (OURS, DETECTOR, 1))
        other, ratio = sheet.other(row), sheet.ratio(row)
        assert other is not None
        name = f"{sheet.model}, {_size(sheet)}, {_where(sheet)}, {_threads(sheet)}"
        memory = (other.peak_memory_bytes / 1e6, row.peak_memory_bytes / 1e6)
        rows.append(_ported_row(name, (other.fps, row.fps), memory, f" (CPU {ratio.cpu:.2f}x)"))
    words = "What the porting project reported, PyTorch before and ported after, and below it what was measured here:"
    return [words, "", *show.markdown_table(head, rows), ""]


def _ported_row(name: str, fps: tuple[float, float], mb: tuple[float, float], more: str = "") -> tuple[str, ...]:
    speed, memory = f"{fps[1] / fps[0]:.2f}x{more}", f"{mb[1] / mb[0]:.2f}x"
    return name, f"{fps[0]:.2f}", f"{fps[1]:.2f}", speed, f"{mb[0]:.0f}", f"{mb[1]:.0f}", memory


def _alone_section(sheets: Sequence[Sheet]) -> list[str]:
    what = ("model", "is a", "input", "ran on")
    head = (*what, "network fps", "CPU ms", "detector fps", "p50 ms", "p95 ms", "CPU ms", "MB")
    rows = []
    for sheet in sheets:
        network, detector = (next(row for row in sheet.rows if row.part == part) for part in (NETWORK, DETECTOR))
        figures = (network.fps, network.cpu_ms, detector.fps, detector.p50_ms, detector.p95_ms, detector.cpu_ms)
        name = (sheet.model, f"{sheet.family} {sheet.task}", _size(sheet), _where(sheet))
        rows.append((*name, *(f"{figure:.1f}" for figure in figures), f"{detector.peak_memory_bytes / 1e6:.0f}"))
    return ["One thread, one frame a call.", "", *show.markdown_table(head, rows, texts=(0, 1, 2, 3)), ""]


def _size(sheet: Sheet) -> str:
    return f"{sheet.size[0]}x{sheet.size[1]}"


def _threads(sheet: Sheet) -> str:
    return f"{sheet.threads} thread{'s' * (sheet.threads > 1)}"


def _where(sheet: Sheet) -> str:
    return f"{sheet.rows[0].runtime}, {sheet.provider}"


if __name__ == "__main__":
    main()
