"""ModelDescription: what a model file is, found without running it."""

from __future__ import annotations

import contextlib
import hashlib
import math
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchline.detectors.card import ModelCard
from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.ir import Ir
from watchline.detectors.importer.ir_import import card_of
from watchline.detectors.importer.ir_network import translate
from watchline.detectors.importer.network import build, count_parameters, network_of
from watchline.detectors.importer.osnet import count_weights, weights_of
from watchline.detectors.importer.work import gflops
from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

_MAX_ONNX_BYTES: Final = 1 << 31  # protobuf reads no more
_MAX_SHOWN: Final = 60
_HASH_BLOCK: Final = 1 << 20
_USUAL_SIZE: Final = (640, 640)


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What a model file is.

    Attributes:
        path: the file.
        format: "torch checkpoint", "onnx" or "openvino ir".
        size_bytes: of the file; of an OpenVINO network both.
        sha256: of the file, hexadecimal; of an OpenVINO network what `hash_model` gives.
        family: "yolov8", ...; "" where it is not known.
        task: "detect", ...; "" likewise.
        labels: class names; empty likewise.
        strides: pixels a cell, a level; empty likewise.
        input: dimensions of its input, a number or a name each: ("batch", "3", "height", "width").
        parameters: trained numbers in it.
        gflops: the work for one picture of `gflops_at`, in 10^9 multiplications and additions; 0.0 where not known.
        gflops_at: height x width in pixels: what was asked for, what its input is fixed to, or 640x640.
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
    gflops: float
    gflops_at: str
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


def is_ir(path: Path) -> bool:
    """Returns whether `path` is an OpenVINO network by its name."""
    return path.suffix.lower() == ".xml"


def model_files(path: Path) -> list[Path]:
    """Returns the files that make up the model at `path`: itself, and what lies beside an OpenVINO network."""
    beside = [path.with_suffix(".bin"), path.with_name("metadata.yaml")] if is_ir(path) else []
    return [path, *(file for file in beside if file.is_file())]


def hash_model(path: Path) -> str:
    """Returns the SHA-256 of the model at `path`: of its file, or of the hashes of its files where it has several.

    Raises:
        ModelError: it cannot be read.
    """
    hashes = [hash_file(file) for file in model_files(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode("ascii")).hexdigest()


def describe_file(path: Path, imgsz: tuple[int, int] | None = None) -> ModelDescription:
    """Returns what the file at `path` is, read in this process.

    Args:
        path: a model file.
        imgsz: height and width in pixels to tell its work for, where its input is not fixed.

    Raises:
        ModelError: neither a torch checkpoint nor an OpenVINO network nor ONNX, or damaged.
    """
    sha256, size_bytes = hash_model(path), sum(file.stat().st_size for file in model_files(path))
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_ir(path):
        found = _describe_ir(path)
    elif path.suffix.lower() == ".onnx" and not is_zip:
        found = _describe_onnx(path, imgsz)
    else:
        found = _describe_checkpoint(path, imgsz)
    return replace(found, sha256=sha256, size_bytes=size_bytes)


def _describe_checkpoint(path: Path, imgsz: tuple[int, int] | None) -> ModelDescription:
    card, reason = ModelCard("", "", (), ()), ""
    dimensions: tuple[str, ...] = ()
    model = None
    with Checkpoint(path) as checkpoint:
        weights = weights_of(checkpoint)
        parameters = count_weights(weights) if weights else count_parameters(network_of(checkpoint))
        try:
            network = build(checkpoint, None)
            card, sides = network.card, network.graph.size or ("height", "width")
            dimensions = ("batch", str(network.graph.picture_channels), *map(str, sides))
            model = network.graph.proto({})
            card.expect_detector()
        except ModelError as error:
            reason = str(error).removeprefix(path.name + ": ")
    return _description(path, "torch checkpoint", card, dimensions, parameters, _work(model, dimensions, imgsz), reason)


def _describe_ir(path: Path) -> ModelDescription:
    ir = Ir(path)
    card, reason = ModelCard("", "", (), ()), ""
    model = None
    try:
        card = card_of(ir)
        card.expect_detector()
    except ModelError as error:
        reason = str(error).removeprefix(path.name + ": ")
    with contextlib.suppress(ModelError):  # what cannot be translated may still be run by OpenVINO itself
        model = translate(ir).graph.proto({})
    shapes = [layer.outputs[0].shape for layer in ir.of_type("Parameter")[:1] if layer.outputs]
    dimensions = tuple("any" if side < 0 else str(side) for shape in shapes for side in shape)
    work = _work(model, dimensions, None)
    return _description(path, "openvino ir", card, dimensions, ir.parameters(), work, reason)


def _describe_onnx(path: Path, imgsz: tuple[int, int] | None) -> ModelDescription:
    model = _read_onnx(path, path.stat().st_size)
    card, reason = ModelCard("", "", (), ()), ""
    try:
        card = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})
        card.expect_detector()
    except ModelError as error:
        reason = str(error)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    dimensions = tuple(
        _shown(d.dim_param) or str(d.dim_value) for i in inputs[:1] for d in i.type.tensor_type.shape.dim
    )
    shapes = [tensor.dims for tensor in model.graph.initializer]
    parameters = sum(math.prod(shape) for shape in shapes if len(shape) <= 32 and min(shape, default=0) >= 0)
    return _description(path, "onnx", card, dimensions, parameters, _work(model, dimensions, imgsz), reason)


def _work(model: ModelProto | None, dimensions: tuple[str, ...], imgsz: tuple[int, int] | None) -> tuple[float, str]:
    """Returns the work of a network for one picture, and for which height x width; (0.0, "") where it is not known."""
    if model is None or len(dimensions) != 4:
        return 0.0, ""
    fixed = all(side.isdigit() for side in dimensions[2:])
    size = (int(dimensions[2]), int(dimensions[3])) if fixed else imgsz or _USUAL_SIZE
    work = gflops(model, size)
    return (work, f"{size[0]}x{size[1]}") if work else (0.0, "")


def _shown(name: str) -> str:
    """Returns a name out of a model as text that a terminal can show, cut where it is long."""
    return "".join(c for c in name[:_MAX_SHOWN] if c.isprintable())


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
    card: ModelCard,
    dimensions: tuple[str, ...],
    parameters: int,
    work: tuple[float, str],
    reason: str,
) -> ModelDescription:
    return ModelDescription(
        path=path,
        format=kind,
        size_bytes=0,
        sha256="",
        family=card.family,
        task=card.task,
        labels=card.labels,
        strides=card.strides,
        input=dimensions,
        parameters=parameters,
        gflops=work[0],
        gflops_at=work[1],
        licence=card.licence,
        supported=not reason,
        reason=reason,
    )
