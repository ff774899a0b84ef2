"""Adopts ONNX models from elsewhere: writes into a copy of theirs what they are and how they are fed.

What a person says of a file is worked out once, in a process of its own: `python -m watchline.detectors.importer.adopt
JOB BOUNDS`. All that comes later reads it off the copy.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from watchline.detectors.confined import Bounds, answer, run
from watchline.detectors.importer.convert import FORMAT_VERSION, kept
from watchline.detectors.importer.description import hash_file
from watchline.detectors.manifest import Manifest
from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

_MEMORY_BYTES: Final = 7 << 28
_MEMORY_PER_BYTE: Final = 12
_TIME_S: Final = 8
_BYTES_PER_S: Final = 2 << 20


class Job(TypedDict):
    """What the process is to do: write `source`, whose hash is `sha256`, to `target` as the manifest `said` says."""

    source: str
    target: str
    sha256: str
    said: str


def adopt(path: Path, said: Manifest, cache: Path) -> Path:
    """Returns a copy of an ONNX model that says itself what `said` says of it, made now or found in the cache.

    Args:
        path: an ONNX file.
        said: what a person says of it.
        cache: folder for the copy; made where it is missing.

    Raises:
        ModelError: the file is damaged, not what `said` says, or not the one that it pins.
        OutputError: the cache cannot be written.
    """
    sha256 = hash_file(path)
    if said.sha256 not in ("", sha256):
        raise ModelError(f"{path}: its sha256 is {sha256}, the manifest pins {said.sha256}; bring the right file")
    text = said.to_toml()
    size = path.stat().st_size
    memory = _MEMORY_BYTES + _MEMORY_PER_BYTE * size
    bounds = Bounds(memory, _TIME_S + size // _BYTES_PER_S, 2 * size + (1 << 20))

    def make(target: Path) -> str:
        job = Job(source=str(path.absolute()), target=str(target.absolute()), sha256=sha256, said=text)
        written: str = run("watchline.detectors.importer.adopt", dict(job), bounds, path)
        return written

    tag = hashlib.sha256(text.encode()).hexdigest()[:8]
    return kept(cache / f"{sha256[:16]}-{FORMAT_VERSION}-{tag}.onnx", sha256, make)


def _write(job: Job) -> str:
    """Writes the copy and returns its SHA-256."""
    import onnx

    from watchline.detectors.engine import OnnxEngine
    from watchline.detectors.heads.registry import head_of

    source, target = Path(job["source"]), Path(job["target"])
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != job["sha256"]:
        raise ModelError(f"{source.name}: changed while it was read; try again")
    said = Manifest.parse(job["said"])
    model = onnx.load_model_from_string(data)
    if said.open_size:
        _open(model)
    target.write_bytes(model.SerializeToString(deterministic=True))
    try:
        card = OnnxEngine(target, "cpu", said=said).card
        if card.task != "embed":  # its output needs no head: it is the vector
            head_of(card)
    except ModelError as error:
        raise ModelError(f"{source.name}: {str(error).removeprefix(f'{target}: ')}") from error
    for entry in list(model.metadata_props):
        if entry.key.startswith("watchline."):
            model.metadata_props.remove(entry)
    for key, value in card.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    whole = model.SerializeToString(deterministic=True)
    target.write_bytes(whole)
    return hashlib.sha256(whole).hexdigest()


def _open(model: ModelProto) -> None:
    """Makes batch, height and width of what goes in and comes out open; what was derived from them is forgotten."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    for value in (*inputs, *model.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if axis != 1:
                dimension.dim_param = f"{value.name}_{axis}" if axis else "batch"
    del model.graph.value_info[:]


def main(text: str, bounds: str) -> int:
    """Does the job that `text` describes, prints the answer and returns the exit status."""
    job: Job = json.loads(text)
    return answer(bounds, Path(job["source"]), lambda: _write(job))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
