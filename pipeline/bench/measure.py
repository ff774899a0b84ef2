"""Measures: both sides in turn, each side and batch size in a process of its own."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from watchline.detectors.engine import Engine
from watchline.detectors.heads.registry import head_of
from watchline.detectors.letterbox import Letterbox
from watchline.detectors.opening import open_engine
from watchline.pipeline.bench.child import Child
from watchline.pipeline.bench.consistency import Consistency, compare
from watchline.pipeline.bench.pictures import Pictures, store
from watchline.pipeline.bench.sheet import DETECTOR, NETWORK, OURS, THEIRS, Others, Row, Sheet, this_machine
from watchline.pipeline.summary import versions
from watchline.streams.errors import ModelError, UsageError

TURNS: Final = 5  # of each side and row, one after the other's
_WARM_S: Final = 0.5
_PATIENCE_S: Final = 300.0  # for what should take no time: a slow first call on a busy machine
_USUAL_SIDE: Final = 640
_THEIR_SCRIPT: Final = Path(__file__).with_name("theirs.py")
_MAKE_VENV: Final = "python3 -m venv original && original/bin/pip install ultralytics"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured.

    Attributes:
        name: as the user said it.
        sha256: of that file.
        network: that an engine runs.
        family: what it is, where the file does not say it.
    """

    name: str
    sha256: str
    network: Path
    family: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is measured.

    Attributes:
        batches: frames a call, each measured for itself.
        device: where ours runs.
        threads: of each side.
        size: height and width of the input, pixels; None: the network's own, or as `watchline run` would.
        clip: what the pictures are taken from; "": made ones.
        seconds: for each row.
        against: the original's checkpoint; None: ours alone.
        python: the interpreter that has PyTorch and ultralytics.
    """

    batches: tuple[int, ...] = (1,)
    device: str = "auto"
    threads: int = 1
    size: tuple[int, int] | None = None
    clip: str = ""
    seconds: float = 5.0
    against: Path | None = None
    python: Path | None = None


def measure(subject: Subject, plan: Plan, tell: Tell = lambda _: None) -> Sheet:
    """Returns what `subject` costs, and with an original how it compares.

    Args:
        subject: the model.
        plan: how.
        tell: is told what comes next.

    Raises:
        UsageError: the plan does not fit the model, or the original's Python has not what it needs.
        ModelError: a side failed.
        StreamError: no pictures can be read.
    """
    with tempfile.TemporaryDirectory(prefix="watchline-bench-") as name:
        folder = Path(name)
        pictures = store(plan.clip, folder)
        engine = open_engine(subject.network, plan.device, subject.family)
        card, size = engine.card, _size(engine, plan, pictures)
        if card.task != "embed":
            head_of(card)
        elif plan.against:
            raise UsageError(f"--against: {subject.name} compares pictures and finds nothing; measure it alone")
        del engine
        bench = _Bench(subject, plan, pictures, size, card.iou, folder, card.task != "embed")
        others = Others()
        rows, consistency, ours, theirs = bench.run(tell)
        machine = this_machine(others.cores())
    return Sheet(
        model=subject.name,
        sha256=subject.sha256,
        family=card.family,
        task=card.task,
        size=size,
        pictures=f"{pictures.source}, {pictures.width}x{pictures.height}",
        held_bytes=pictures.held_bytes,
        seconds=plan.seconds,
        threads=plan.threads,
        device=str(ours["device"]),
        provider=str(ours["provider"]),
        note=str(ours["note"]),
        against=plan.against.name if plan.against else "",
        rows=tuple(rows),
        consistency=consistency,
        machine=machine,
        versions={OURS: versions()} | ({THEIRS: theirs["versions"]} if theirs else {}),
        remarks=tuple(_remarks(pictures, machine.is_shared, ours, theirs)),
    )


@dataclass(frozen=True, slots=True)
class _Bench:
    """One benchmark under way."""

    subject: Subject
    plan: Plan
    pictures: Pictures
    size: tuple[int, int]
    iou: float
    folder: Path
    detects: bool

    def run(self, tell: Tell) -> tuple[list[Row], Consistency | None, dict[str, Any], dict[str, Any]]:
        """Returns the rows, the consistency, and the facts of both sides; of theirs {} where there is none."""
        rows: list[Row] = []
        consistency = None
        ours: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        for batch in self.plan.batches:
            with ExitStack() as stack:
                tell(f"batch {batch}: starting")
                sides = {OURS: stack.enter_context(self._ours(batch))}
                if self.plan.against:
                    on = "cuda" if sides[OURS].facts["device"] == "cuda" else "cpu"
                    sides[THEIRS] = stack.enter_context(self._theirs(batch, on))
                    theirs = sides[THEIRS].facts
                ours = sides[OURS].facts
                for part in (NETWORK, DETECTOR) if self.detects else (NETWORK,):
                    tell(f"batch {batch}: {part}, {self.plan.seconds:g} s a side")
                    rows += self._rows(sides, part, batch)
                if self.plan.against and consistency is None:
                    tell("comparing what both sides find")
                    found = [side.ask({"find": True}, _PATIENCE_S) for side in sides.values()]
                    consistency = compare(*found)
        return rows, consistency, ours, theirs

    def _rows(self, sides: dict[str, Child], part: str, batch: int) -> list[Row]:
        """Returns a row for each side; the sides take turns, so that what disturbs the machine disturbs both."""
        limit_s = _PATIENCE_S + 2 * self.plan.seconds
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for turn in range(TURNS + 1):  # the first one warms up and does not count
            seconds = self.plan.seconds / TURNS if turn else min(_WARM_S, self.plan.seconds)
            for name, side in sides.items():
                took = side.ask({"part": part, "turn": turn, "seconds": seconds}, limit_s)
                if turn:
                    turns[name].append(took)
        return [_row(name, sides[name].facts["runtime"], part, batch, took) for name, took in turns.items()]

    def _ours(self, batch: int) -> Child:
        job = self._job(batch) | {
            "network": str(self.subject.network),
            "family": self.subject.family,
            "device": self.plan.device,
        }
        command = [sys.executable, "-P", "-m", "watchline.pipeline.bench.ours", json.dumps(job)]
        return Child(OURS, command, self.plan.threads, {})

    def _theirs(self, batch: int, device: str) -> Child:
        assert self.plan.against is not None and self.plan.python is not None
        job = self._job(batch) | {"checkpoint": str(self.plan.against.absolute()), "device": device}
        # What it leaves behind goes into a folder of ours, and none of its packages is that of another Python.
        environment = dict.fromkeys(("YOLO_CONFIG_DIR", "TMPDIR", "TEMP", "TMP"), str(self.folder))
        environment |= {"PYTHONPATH": "", "PYTHONHOME": ""}
        command = [str(self.plan.python), str(_THEIR_SCRIPT), json.dumps(job)]
        try:
            return Child(f"the original ({self.plan.python})", command, self.plan.threads, environment)
        except ModelError as error:
            if "No module named" in str(error):
                raise UsageError(f"--against-python: {error}; make a Python that has it: {_MAKE_VENV}") from error
            raise ModelError(
                f"--against {self.plan.against}: {error}; it must be a checkpoint that ultralytics loads"
            ) from error

    def _job(self, batch: int) -> dict[str, object]:
        return {
            "frames": str(self.pictures.path),
            "held": self.pictures.held,
            "size": self.size,
            "batch": batch,
            "threads": self.plan.threads,
            "iou": self.iou,
        }


def _row(side: str, runtime: str, part: str, batch: int, turns: Sequence[dict[str, Any]]) -> Row:
    latencies = np.array([latency for turn in turns for latency in turn["latencies_s"]])
    p50, p95 = np.percentile(latencies, (50, 95)) * 1e3
    return Row(
        side=side,
        runtime=runtime,
        part=part,
        batch=batch,
        fps=statistics.median(turn["frames"] / turn["wall_s"] for turn in turns),
        p50_ms=float(p50),
        p95_ms=float(p95),
        cpu_ms=statistics.median(turn["cpu_s"] / turn["frames"] * 1e3 for turn in turns),
        peak_memory_bytes=max(turn["peak_memory_bytes"] for turn in turns),
    )


def _size(engine: Engine, plan: Plan, pictures: Pictures) -> tuple[int, int]:
    """Returns the height and width of the network's input."""
    fixed, stride = engine.fixed_size, max(engine.card.strides)
    if fixed:
        if plan.size not in (None, fixed):
            raise UsageError(f"--imgsz: this network takes {fixed[0]}x{fixed[1]} alone; leave --imgsz out")
        return fixed
    if plan.size is None:
        if engine.card.placement == "stretch":
            raise UsageError("this network takes pictures of any size; say one with --imgsz HxW")
        box = Letterbox.fit(pictures.height, pictures.width, _USUAL_SIDE, _USUAL_SIDE, stride=stride)
        return box.height, box.width
    if any(side % stride or not stride <= side <= 4096 for side in plan.size):
        height, width = plan.size
        raise UsageError(f"--imgsz {height}x{width}: want multiples of {stride}, the network's stride, up to 4096")
    return plan.size


def _remarks(pictures: Pictures, shared: bool, ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    remarks = []
    if pictures.made:
        remarks.append(
            "The pictures were made, and show nothing that a model knows: suppression had next to nothing to do. "
            "Give a clip with --input."
        )
    if shared:
        remarks.append(
            "Other programs ran on this machine meanwhile: trust processor time before frames a second and latency."
        )
    if shared and theirs and theirs["threads"] > 1:
        remarks.append(
            "PyTorch's threads wait for each other in a busy loop (OpenMP): when another program takes a core they "
            "collapse, and the ratios say little. Measure on an idle machine, or with one thread."
        )
    if theirs and theirs["task"] not in (ours["task"], {"face": "pose"}.get(ours["task"])):
        remarks.append(f"Ours is a {ours['task']} network, the original is for {theirs['task']}: they do other work.")
    if theirs and theirs["threads"] != ours["threads"]:
        remarks.append(f"The original ran on {theirs['threads']} threads, ours on {ours['threads']}.")
    if theirs and theirs["labels"] != ours["labels"]:
        remarks.append("The two models name different classes: their boxes are matched by class number.")
    return remarks
