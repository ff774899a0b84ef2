"""Imports checkpoints: a child process reads the foreign file, and the ONNX that it writes is kept in a cache."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from watchline.detectors.confined import Bounds, run
from watchline.detectors.importer.child import Job
from watchline.detectors.importer.description import ModelDescription, hash_file, hash_model, is_ir, model_files
from watchline.streams.errors import ModelError, OutputError

__all__ = ["ModelDescription", "describe", "import_checkpoint"]

# Of the emitted graph. A change of what is written must change it, or old caches would be used.
FORMAT_VERSION: Final = 2

_BASE_MEMORY_BYTES: Final = 1 << 30
_MEMORY_PER_BYTE: Final = 12  # half of it is needed for float16 weights, which are half of their ONNX
_IR_FACTOR: Final = 4  # its weights may be int8, a quarter of their ONNX
_BASE_TIME_S: Final = 6
_BYTES_PER_S: Final = 1 << 20  # ten times slower than seen
_MAX_SIDE_PX: Final = 4096
_MAX_BATCH: Final = 256


def import_checkpoint(
    path: Path, cache: Path, imgsz: tuple[int, int] | None = None, batch: int = 0, *, raw: bool = False
) -> Path:
    """Returns the ONNX form of a checkpoint or an OpenVINO network, made now or found in the cache.

    No code from the checkpoint is run: its pickle is read as data, in a process of its own with bounded memory and
    time. Several processes may import the same file at once.

    Args:
        path: a torch checkpoint of a supported network, or the .xml of an OpenVINO network with its .bin beside it.
        cache: folder for the results; made where it is missing.
        imgsz: height and width in pixels to fix the input to; None, as fast, serves every size that the largest
            stride divides; an OpenVINO network keeps its own.
        batch: how many pictures a call brings, to fix the input to; 0, as fast, serves any number.
        raw: end the network at its last convolutions, for an engine that decodes by itself.

    Raises:
        ModelError: it is not such a file, or it is damaged, hostile or not supported; the message says which.
        OutputError: the cache cannot be written.
    """
    if imgsz and not all(0 < side <= _MAX_SIDE_PX for side in imgsz):
        raise ModelError(f"{path.name}: size {imgsz[0]}x{imgsz[1]} is not within 1 to {_MAX_SIDE_PX}")
    if not 0 <= batch <= _MAX_BATCH:
        raise ModelError(f"{path.name}: batch {batch} is not within 1 to {_MAX_BATCH}, or 0 for any")
    source_hash = hash_model(path)
    form = (f"-{imgsz[0]}x{imgsz[1]}" if imgsz else "") + (f"-b{batch}" if batch else "") + ("-raw" if raw else "")
    make = partial(_run, path, sha256=source_hash, size=imgsz, batch=batch, raw=raw)
    return kept(cache / f"{source_hash[:16]}-{FORMAT_VERSION}{form}.onnx", source_hash, make)


def kept(target: Path, source_hash: str, make: Callable[[Path], str]) -> Path:
    """Returns `target` where it is whole, else what `make` writes, put there.

    Args:
        target: in the cache; its folder is made where it is missing.
        source_hash: SHA-256 of the file that it is made from.
        make: writes the path that it is given, and returns the SHA-256 of what it wrote.

    Raises:
        OutputError: the cache cannot be written.
    """
    cache, seal = target.parent, target.with_suffix(".sha256")
    if _is_whole(target, seal, source_hash):
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".import-") as folder:
            made = Path(folder) / "model.onnx"
            result = make(made)
            sealed = Path(folder) / "seal"
            sealed.write_text(f"{source_hash} {result}\n", encoding="ascii")
            # The same file always gives the same bytes, so it does not matter who of several comes last.
            sealed.replace(seal)
            made.replace(target)
    except OSError as error:
        raise OutputError(f"model cache {cache}: {error.strerror or error}") from error
    return target


def describe(path: Path, imgsz: tuple[int, int] | None = None) -> ModelDescription:
    """Returns what the model file at `path` is, checkpoint, OpenVINO network or ONNX, read in a process of its own.

    Args:
        path: the file.
        imgsz: height and width in pixels to tell its work for, where its input is not fixed.

    Raises:
        ModelError: none of them, or damaged.
    """
    fields = _run(path, size=imgsz)
    for name in ("labels", "strides", "input"):
        fields[name] = tuple(fields[name])
    return ModelDescription(path=path, **fields)


def _is_whole(target: Path, seal: Path, source_hash: str) -> bool:
    """Returns whether the cache holds what was made of exactly this file, undamaged."""
    if not target.is_file() or not seal.is_file():
        return False
    return seal.read_bytes() == f"{source_hash} {hash_file(target)}\n".encode("ascii")


def _run(
    source: Path,
    target: Path | None = None,
    sha256: str = "",
    size: tuple[int, int] | None = None,
    batch: int = 0,
    *,
    raw: bool = False,
) -> Any:
    """Runs the child and returns its answer.

    Raises:
        ModelError: it refused, crashed, or took too much.
    """
    try:
        file_bytes = sum(file.stat().st_size for file in model_files(source))
        file_bytes *= _IR_FACTOR if is_ir(source) else 1
    except OSError as error:
        raise ModelError(f"{source}: {error.strerror}") from error
    job = Job(
        source=str(source.absolute()),
        target=str(target.absolute()) if target else "",
        sha256=sha256,
        size=list(size or ()),
        batch=batch,
        raw=raw,
    )
    memory = _BASE_MEMORY_BYTES + _MEMORY_PER_BYTE * file_bytes
    bounds = Bounds(memory, _BASE_TIME_S + file_bytes // _BYTES_PER_S, written_bytes=memory)
    return run("watchline.detectors.importer.child", dict(job), bounds, source)
