"""What the last call of a command was, did and cost, as a file that Prometheus' node_exporter collects.

Its textfile collector reads whatever ends in .prom in its folder. All is of the last call, and begins anew with the
next, so every metric is a gauge: none of them is a counter that a rate could be taken of.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from watchline.pipeline.files import write_whole, writing
from watchline.pipeline.summary import Status, Summary
from watchline.streams.errors import OutputError, UsageError

_MOST_INPUTS: Final = 500  # each has some thirty lines; a thousand inputs are a job for a loop of calls
_STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_REASONS: Final = ("sampling", "failure")  # told at zero too: what is not there raises no alarm
_OPTION: Final = "--metrics"


@dataclass(frozen=True, slots=True)
class InputRun:
    """One input of a call.

    Attributes:
        name: as the user named it; different for each.
        ended_s: when, seconds since 1970.
        summary: what it was, did and cost; None where it failed before its first frame.
    """

    name: str
    ended_s: float
    summary: Summary | None

    @property
    def status(self) -> Status:
        """How it ended."""
        return self.summary.status if self.summary else "failed"


class MetricsFile:
    """The metrics of one call: written whole after each of its inputs, over what an earlier call left.

    Of very many inputs it names the last ones; how many there were it always says.

    Args:
        path: of the file; its folder must be there.
        clock: says the time, seconds since 1970.

    Raises:
        UsageError: it is not named as such a file.
        OutputError: it cannot be written there. What is there stays as it is.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._runs: deque[InputRun] = deque(maxlen=_MOST_INPUTS)
        self._named: Counter[str] = Counter()
        self._ended: Counter[Status] = Counter()
        if path.suffix != ".prom":  # not, by a slip, a film
            raise UsageError(f"{_OPTION} {path}: want a name that ends in .prom, as node_exporter collects them")
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: is no file; choose another {_OPTION}")
        trial = path.with_name(f"{path.name}.part")
        with writing(trial, _OPTION):
            trial.touch()
            trial.unlink()

    def add(self, spec: str, summary: Summary | None) -> None:
        """Adds an input that has ended, and writes the file.

        Args:
            spec: the input as the user named it.
            summary: of its run; None where it failed before its first frame.

        Raises:
            OutputError: the system refuses; what was there before stays.
        """
        name = _text(spec)
        self._named[name] += 1
        if self._named[name] > 1:
            name = f"{name} ({self._named[name]})"
        run = InputRun(name, self._clock(), summary)
        self._runs.append(run)
        self._ended[run.status] += 1
        write_whole(self._path, render(self._runs, self._ended), _OPTION)


def render(runs: Iterable[InputRun], ended: Mapping[Status, int]) -> str:
    """Returns the text of a metrics file.

    Args:
        runs: what it tells, each under a name of its own.
        ended: how many inputs ended how, in all.
    """
    page = _Page()
    for status in _STATUSES:
        page.inputs.labels(status).set(ended.get(status, 0))
    for run in runs:
        page.tell(run)
    return generate_latest(page.registry).decode()


class _Page:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.inputs = self._gauge(
            "inputs", "Inputs of the last call that have ended, by how.", "status", per_input=False
        )
        self._status = self._gauge("status", "1 for how the run of the input ended, 0 for all else.", "status")
        self._ended = self._gauge("end_timestamp_seconds", "When the run of the input ended, since 1970.")
        names = ("version", "device", "runtime", "provider", "model", "sha256", "tracker")
        self._info = self._gauge("info", "What ran: the first model, and what it ran on. Always 1.", *names)
        models = ("stage", "model", "sha256", "device")
        self._model = self._gauge("model_info", "Each model that ran. Always 1.", *models)
        self._plain = {name: (self._gauge(name, help_), value) for name, help_, value in _PLAIN}
        self._dropped = self._gauge("dropped_frames", "Decoded frames that were not processed, by why.", "reason")
        self._cpu = self._gauge("stage_cpu_seconds", "Processor time of a stage's threads.", "stage")
        self._wall = self._gauge(
            "stage_wall_seconds", "Time a stage's threads were at work, summed over them.", "stage"
        )

    def tell(self, run: InputRun) -> None:
        """Sets what is known of an input."""
        for status in _STATUSES:
            self._status.labels(run.name, status).set(status == run.status)
        self._ended.labels(run.name).set(run.ended_s)
        if run.summary:
            self._tell(run.name, run.summary)

    def _tell(self, name: str, summary: Summary) -> None:
        first, machine = summary.model, summary.machine
        ran = (summary.versions["watchline"], machine.device, machine.runtime, machine.provider)
        self._info.labels(name, *ran, _text(first.name), first.sha256, machine.tracker).set(1)
        for model in summary.models:
            self._model.labels(name, model.stage, _text(model.name), model.sha256, model.device).set(1)
        for gauge, value in self._plain.values():
            gauge.labels(name).set(value(summary))
        for reason in dict.fromkeys([*_REASONS, *summary.frames.dropped]):
            self._dropped.labels(name, reason).set(summary.frames.dropped.get(reason, 0))
        for stage in summary.stages:
            self._cpu.labels(name, stage.name).set(stage.cpu_s)
            self._wall.labels(name, stage.name).set(stage.wall_s)

    def _gauge(self, name: str, help_: str, *labels: str, per_input: bool = True) -> Gauge:
        return Gauge(f"watchline_run_{name}", help_, [*(["input"] * per_input), *labels], registry=self.registry)


def _text(name: str) -> str:
    """Returns a file's name, which need not be text, as a label, which must."""
    return name.encode("utf-8", "replace").decode()


def _of_people(field: str, summary: Summary) -> float:
    """Returns a count of `recognition.SightingFacts`."""
    return float(getattr(summary.sightings, field)) if summary.sightings else 0.0


_PLAIN: Final[tuple[tuple[str, str, Callable[[Summary], float]], ...]] = (
    (
        "engine_fallbacks",
        "Devices that did not start or failed, so that another ran a model instead.",
        lambda s: sum(len(model.fallbacks) for model in s.models),
    ),
    ("decoded_frames", "Frames read from the input.", lambda s: s.frames.decoded),
    ("processed_frames", "Frames detected, tracked and written.", lambda s: s.frames.processed),
    ("damaged_frames", "Packets or pictures that could not be decoded.", lambda s: s.frames.damaged),
    ("missing_frames", "Frames that were announced, but never came.", lambda s: s.frames.missing),
    ("detections", "Objects found by the first model, with a score of at least --conf.", lambda s: s.detections),
    ("tracks", "Objects followed.", lambda s: s.tracks),
    *(
        (name, f"{what}; 0 where nobody asked for that.", partial(_of_people, field))
        for name, what, field in (
            ("tracklets", "Tracks of people that were to be kept, long ones in parts", "tracklets"),
            ("tracklets_described", "Of these, such of which vectors were made", "described"),
            ("sightings_stored", "Sightings that the store kept", "stored"),
            ("sightings_refused", "Sightings that the store did not keep", "refused"),
        )
    ),
    ("warnings", "Sentences in the summary that a person should read.", lambda s: len(s.warnings)),
    ("duration_seconds", "From the first read to the last write.", lambda s: s.wall_s),
    ("cpu_seconds", "Processor time of the whole process meanwhile.", lambda s: s.cpu_s),
    ("peak_memory_bytes", "Most memory that the process ever held.", lambda s: s.peak_memory_bytes),
)
