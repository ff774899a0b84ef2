"""From the name or file that a user gives to a network that an engine can run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchline.detectors.catalog import Catalog, Entry, Kind
from watchline.detectors.importer.convert import import_checkpoint
from watchline.detectors.importer.description import hash_file
from watchline.streams.errors import ModelError, UsageError


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is here.

    Attributes:
        name: as the user said it.
        sha256: of the checkpoint or ONNX that was named or fetched.
        onnx: what the engine runs: that file itself, or what was imported from it.
    """

    name: str
    sha256: str
    onnx: Path


def find_model(name: str, obtain: Callable[[Entry], Path]) -> Path:
    """Returns the file that `name` means: a file, or what `obtain` gives for a model of the catalog.

    Raises:
        ModelError: no such file, or whatever `obtain` raises.
        UsageError: neither a file nor a model of the catalog.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix or path.name != name:  # names of the catalog have neither dot nor folder
        raise ModelError(f"no such file: {name}; give a model file, or a name that `watchline models list` shows")
    entry = Catalog.load()[name]
    if entry.kind is not Kind.MODEL:
        raise UsageError(f"{name!r} is a {entry.kind}, not a model; `watchline models list` shows which are")
    return obtain(entry)


def imports(cache: Path) -> Path:
    """Returns the folder for what is imported from checkpoints, below the folder of fetched files."""
    return cache / "imported"


def load_model(name: str, cache: Path, obtain: Callable[[Entry], Path]) -> Model:
    """Returns the model that `name` means, a checkpoint imported.

    Args:
        name: catalog name, or path of a .pt or .onnx file.
        cache: folder of fetched files; what is imported is kept below it.
        obtain: brings the file of a catalog entry.

    Raises:
        UsageError: neither a file nor a model of the catalog.
        ModelError: it cannot be had, trusted or imported.
        OutputError: the cache cannot be written.
    """
    path = find_model(name, obtain)
    onnx = path if path.suffix.lower() == ".onnx" else import_checkpoint(path, imports(cache))
    return Model(name, hash_file(path), onnx)
