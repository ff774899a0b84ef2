"""ModelDescription: what a model file is, found without running it."""

from __future__ import annotations

import hashlib
import math
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchline.detectors.card import ModelCard
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.network import build, count_parameters, network_of
from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

_MAX_ONNX_BYTES: Final = 1 << 31  # protobuf reads no more
_HASH_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What a model file is.

    Attributes:
        path: the file.
        format: "torch checkpoint" or "onnx".
        size_bytes: of the file.
        sha256: of the file, hexadecimal.
        family: "yolov8", ...; "" where it is not known.
        task: "detect", ...; "" likewise.
        labels: class names; empty likewise.
        strides: pixels a cell, a level; empty likewise.
        input: dimensions of its input, a number or a name each: ("batch", "3", "height", "width").
        parameters: trained numbers in it.
        licence: SPDX name where the file states a known one, else "".
        supported: whether watchline can detect with it.
        reason: why not; "" where it can.
    """

    path: Path
    format: str
    size_bytes: int
    sha256: str
    family: str
    task: str
    labels: tuple[str, ...]
    strides: tuple[int, ...]
    input: tuple[str, ...]
    parameters: int
    licence: str
    supported: bool
    reason: str


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of the file, hexadecimal.

    Raises:
        ModelError: it cannot be read, or is a folder, a pipe or a device.
    """
    digest = hashlib.sha256()
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"{path}: not a file")
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    return digest.hexdigest()


def describe_file(path: Path) -> ModelDescription:
    """Returns what the file at `path` is, read in this process.

    Raises:
        ModelError: neither a torch checkpoint nor ONNX, or damaged.
    """
    sha256, size = hash_file(path), path.stat().st_size
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if path.suffix.lower() == ".onnx" and not is_zip:
        return _describe_onnx(path, size, sha256)
    return _describe_checkpoint(path, size, sha256)


def _describe_checkpoint(path: Path, size: int, sha256: str) -> ModelDescription:
    card, reason, channels = ModelCard("", "", (), ()), "", 3
    with Checkpoint(path) as checkpoint:
        parameters = count_parameters(network_of(checkpoint))
        try:
            network = build(checkpoint, None)
            card, channels = network.card, network.graph.picture_channels
        except ModelError as error:
            reason = str(error).removeprefix(path.name + ": ")
    dimensions = ("batch", str(channels), "height", "width") if not reason else ()
    return _description(path, "torch checkpoint", size, sha256, card, dimensions, parameters, reason)


def _describe_onnx(path: Path, size: int, sha256: str) -> ModelDescription:
    model = _read_onnx(path, size)
    card, reason = ModelCard("", "", (), ()), ""
    try:
        card = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    except ModelError as error:
        reason = str(error)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    dimensions = [d.dim_param or str(d.dim_value) for value in inputs[:1] for d in value.type.tensor_type.shape.dim]
    parameters = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    return _description(path, "onnx", size, sha256, card, tuple(dimensions), parameters, reason)


def _read_onnx(path: Path, size: int) -> ModelProto:
    """Returns the model at `path`, without the weights that it keeps in other files."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if size > _MAX_ONNX_BYTES:
        raise ModelError(f"{path.name}: larger than {_MAX_ONNX_BYTES:,} bytes")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{path.name}: not an ONNX model, or damaged; copy it again") from error
    if not model.graph.node:
        raise ModelError(f"{path.name}: not an ONNX model, or one without a graph")
    return model


def _description(
    path: Path,
    kind: str,
    size: int,
    sha256: str,
    card: ModelCard,
    dimensions: tuple[str, ...],
    parameters: int,
    reason: str,
) -> ModelDescription:
    return ModelDescription(
        path=path,
        format=kind,
        size_bytes=size,
        sha256=sha256,
        family=card.family,
        task=card.task,
        labels=card.labels,
        strides=card.strides,
        input=dimensions,
        parameters=parameters,
        licence=card.licence,
        supported=not reason,
        reason=reason,
    )
