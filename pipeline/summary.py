"""summary.json: what one run over one input was, did and cost."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Literal, TypeAlias

from watchline.detectors.engine import Fallback
from watchline.pipeline.recognition import SightingFacts
from watchline.pipeline.stopwatch import StageTime

Status: TypeAlias = Literal["complete", "partial", "cancelled", "failed"]

EXIT_CODES: dict[Status, int] = {"complete": 0, "partial": 3, "cancelled": 3, "failed": 1}

_MISSING = "not installed"
_DISTRIBUTIONS = ("watchline", "av", "cryptography", "lap", "numpy", "onnxruntime", "opencv-python-headless")


@dataclass(frozen=True, slots=True)
class InputFacts:
    """The input as it was found.

    Attributes:
        path: as the user named it.
        sha256: of the file, or of a folder's names and contents; None where it could not be taken.
        kind: "video" or "images".
        width: pixels.
        height: pixels.
        fps: average frame rate.
        duration_s: announced; None where the container does not say.
        codec: name of the decoder.
    """

    path: str
    sha256: str | None
    kind: str
    width: int
    height: int
    fps: float
    duration_s: float | None
    codec: str


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """What became of the frames: decoded = processed + the sum of dropped.

    Attributes:
        announced: by the container; None where it does not say.
        decoded: read from the input.
        processed: detected, tracked and written.
        dropped: by reason.
        damaged: packets or pictures that could not be decoded.
        missing: announced, but never came.
    """

    announced: int | None
    decoded: int
    processed: int
    dropped: dict[str, int]
    damaged: int
    missing: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A network that ran.

    Attributes:
        name: as the user named it.
        sha256: of the file that was named or fetched.
        family: "yolov8", ...
        task: "detect", ...
        licence: of the weights, as far as it is known.
        device: "cpu" or "cuda".
        stage: its name in the table of times.
        cpu_s: processor time of that stage.
        wall_s: time at work of that stage, summed over threads.
        found: objects of a score of at least --conf.
        without_track: of these, what no track of its frame has.
        fallbacks: every change of device, in order.
    """

    name: str
    sha256: str
    family: str
    task: str
    licence: str
    device: str
    stage: str
    cpu_s: float
    wall_s: float
    found: int
    without_track: int
    fallbacks: tuple[Fallback, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What did the work.

    Attributes:
        device: "cpu" or "cuda".
        provider: ONNX Runtime's name of it.
        runtime: name and version.
        note: why the device is no better one; "" where there is nothing to say.
        threads: detections under way at once.
        batch: frames handed to the network together.
        pack: "native" or "numpy".
        tracker: name and backend.
    """

    device: str
    provider: str
    runtime: str
    note: str
    threads: int
    batch: int
    pack: str
    tracker: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What one run over one input was, did and cost.

    Attributes:
        status: "complete"; "partial" when the input was damaged; "cancelled" by the user; "failed" when the run broke.
        warnings: sentences for a person; empty when all is well.
        input: the input as it was found.
        frames: what became of its frames.
        detections: objects that the first model found with a score of at least --conf; fainter ones only keep tracks
            alive.
        tracks: objects followed.
        tracks_with_face: of these, whose face was ever seen.
        tracks_by_class: class name to count.
        fps: processed frames a second of wall time, writing included.
        wall_s: from the first read to the last write.
        cpu_s: processor time of the whole process from the first read to the last write.
        stages: times of each; of "other" what no stage's threads used: runtimes and encoders may have their own.
        peak_memory_bytes: most memory that the process ever held.
        model: the first network, which says what is tracked.
        models: all networks, the first among them, in the order in which they ran.
        machine: what did the work.
        options: as they were used.
        versions: of watchline and what it stands on.
        outputs: file names beside this one.
        sightings: what became of the people; None where nobody asked for that.
    """

    status: Status
    warnings: tuple[str, ...]
    input: InputFacts
    frames: FrameCounts
    detections: int
    tracks: int
    tracks_with_face: int
    tracks_by_class: dict[str, int]
    fps: float
    wall_s: float
    cpu_s: float
    stages: tuple[StageTime, ...]
    peak_memory_bytes: int
    model: ModelFacts
    models: tuple[ModelFacts, ...]
    machine: MachineFacts
    options: dict[str, object]
    versions: dict[str, str]
    outputs: tuple[str, ...]
    sightings: SightingFacts | None = None

    def to_json(self, *, indent: int | None = 2) -> str:
        """Returns the summary as JSON; `indent` None puts it on one line."""
        return json.dumps(asdict(self), indent=indent)


def versions() -> dict[str, str]:
    """Returns the versions of Python, watchline and what it stands on."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        found[name] = _version(name)
    if found["onnxruntime"] == _MISSING:  # the one for GPUs takes its place
        found["onnxruntime"] = _version("onnxruntime-gpu")
    return found | ({} if (extra := _version("openvino")) == _MISSING else {"openvino": extra})


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return _MISSING
