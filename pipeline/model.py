"""From the name or file that a user gives to a network that an engine can run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchline.detectors import added
from watchline.detectors.catalog import Entry, Kind
from watchline.detectors.importer.adopt import adopt
from watchline.detectors.importer.convert import import_checkpoint
from watchline.detectors.importer.description import hash_model
from watchline.detectors.manifest import Manifest
from watchline.detectors.vetting import vet
from watchline.streams.errors import ModelError, UsageError


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is here.

    Attributes:
        name: as `label_of` has it.
        sha256: of the checkpoint, ONNX or OpenVINO network that was named or fetched.
        onnx: what the engine runs: that file itself, or what was imported from it.
    """

    name: str
    sha256: str
    onnx: Path


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that is here, and what is known of it beside what it says itself."""

    path: Path
    said: Manifest


def find_model(name: str, cache: Path, obtain: Callable[[Entry], Path], *, detects: bool = False) -> ModelFile:
    """Returns the file that `name` means: a file, or what `obtain` gives for a model of the catalog or one added.

    Args:
        name: catalog name, name of an added model, or a path.
        cache: folder of fetched and added files.
        obtain: brings the file of a catalog entry.
        detects: whether it must be one that finds something.

    Raises:
        ModelError: no such file, a damaged manifest, or whatever `obtain` raises.
        UsageError: neither a file nor a model of the catalog, or one that finds nothing.
    """
    path = Path(name)
    if path.is_file():
        return ModelFile(path, Manifest())
    if path.suffix or path.name != name:  # names of the catalog have neither dot nor folder
        if path.is_dir():
            raise ModelError(f"{name}: is a folder; give a model file in it")
        raise ModelError(f"no such file: {name}; give a model file, or a name that `watchline models list` shows")
    entry = added.find(name, cache)
    if entry.kind is not Kind.MODEL:
        raise UsageError(f"{name!r} is a {entry.kind}, not a model; `watchline models list` shows which are")
    if detects and entry.task == "embed":
        raise UsageError(f"{name} compares pictures and finds nothing in them; name a model that does, such as yolov8n")
    return ModelFile(obtain(entry), entry.said)


def label_of(name: str) -> str:
    """Returns what a file is called in all that may be passed on: the folders of this machine are nobody's business.

    >>> label_of("yolov8n"), label_of("/home/jane/models/gate.onnx")
    ('yolov8n', 'gate.onnx')
    """
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def imports(cache: Path) -> Path:
    """Returns the folder for what is imported from checkpoints, below the folder of fetched files."""
    return cache / "imported"


def load_model(name: str, cache: Path, obtain: Callable[[Entry], Path]) -> Model:
    """Returns the model that `name` means, a checkpoint imported.

    Args:
        name: catalog name, or path of a .pt, .onnx or .xml (OpenVINO) file.
        cache: folder of fetched files; what is imported is kept below it.
        obtain: brings the file of a catalog entry.

    Raises:
        UsageError: neither a file nor a model of the catalog.
        ModelError: it cannot be had, trusted or imported.
        OutputError: the cache cannot be written.
    """
    found = find_model(name, cache, obtain, detects=True)
    return Model(label_of(name), hash_model(found.path), network_of(found, imports(cache)))


def network_of(file: ModelFile, cache: Path) -> Path:
    """Returns what an engine runs of a model file: itself, or what is imported from it, kept in `cache`.

    An ONNX from anywhere is vetted first.
    """
    suffix = file.path.suffix.lower()
    if suffix == ".onnx":
        vet(file.path, cache)
        return file.path if file.said.is_silent else adopt(file.path, file.said, cache)
    return file.path if suffix == ".xml" else import_checkpoint(file.path, cache)
