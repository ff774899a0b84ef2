"""The process that tries a foreign ONNX model: `python -m watchline.detectors.onnx_trial JOB BOUNDS`.

It reads the file once, checks its structure, has ONNX Runtime load these very bytes as the engine would, and runs one
grey picture.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import numpy as np

from watchline.detectors.confined import answer
from watchline.detectors.runtime import load_onnxruntime, reason_of
from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_OPEN_SIZES: Final = ((256, 320), (640, 640))  # height and width, in pixels; some networks take only the latter
_MAX_SIDE_PX: Final = 8192
_MAX_BATCH: Final = 64
_MAX_OUTPUT_BYTES: Final = 256 << 20
_GREY: Final = 0.5


class Job(TypedDict):
    """Which file to try, and the SHA-256 that it must have."""

    source: str
    sha256: str


def main(text: str, bounds: str) -> int:
    """Does the job that `text` describes, prints the answer and returns the exit status."""
    job: Job = json.loads(text)
    return answer(bounds, Path(job["source"]), lambda: _try(job))


def _try(job: Job) -> str:
    """Returns the SHA-256 of the file that was tried."""
    source = Path(job["source"])
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != job["sha256"]:
        raise ModelError(f"{source.name}: changed while it was read; try again")
    try:
        _check(data)
        try_network(data)
    except ModelError as error:
        raise ModelError(f"{source.name}: {error}") from error
    return job["sha256"]


def _check(data: bytes) -> None:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from watchline.detectors.onnx_structure import check_structure

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError("not an ONNX model, or damaged; copy it again") from error
    check_structure(model)


def try_network(data: bytes) -> None:
    """Loads a serialised model and runs it on a grey picture, unless it is one that the engine will refuse anyway.

    Raises:
        ModelError: it cannot be loaded or run, or its answer is not what it says or not sane.
    """
    session = _load(data)
    for output in session.get_outputs():
        if not output.type.startswith("tensor(") or output.type == "tensor(string)":
            raise ModelError(f"answers with {output.type} instead of numbers; export it with its plain outputs")
    shapes = _pictures(session)
    failure = ""
    for shape in shapes:
        try:
            outputs = session.run(None, {session.get_inputs()[0].name: np.full(shape, _GREY, np.float32)})
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors share no base class
            failure = failure or f"fails on a grey picture of {'x'.join(map(str, shape))}: {reason_of(error)}"
            continue
        _check_outputs(session, outputs)
        return
    if failure:
        raise ModelError(failure)


def _load(data: bytes) -> InferenceSession:
    """Returns a session with the options of `engine`: what is folded or planned there is folded and planned here."""
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelError(f"ONNX Runtime cannot load it ({reason_of(error)})") from error


def _pictures(session: InferenceSession) -> list[tuple[int, ...]]:
    """Returns the shapes to try, (batch, channels, height, width) each; none for what is no picture network."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        return []
    batch, channels, *sides = (side if isinstance(side, int) else 0 for side in inputs[0].shape)
    if not channels or bool(sides[0]) != bool(sides[1]):
        return []
    if max(sides) > _MAX_SIDE_PX or batch > _MAX_BATCH or channels > _MAX_BATCH:
        raise ModelError(f"wants pictures of {inputs[0].shape}, more than {_MAX_SIDE_PX} px or {_MAX_BATCH} a batch")
    sizes = [tuple(sides)] if sides[0] else _OPEN_SIZES
    return [(batch or 1, channels, *size) for size in sizes]


def _check_outputs(session: InferenceSession, outputs: list[np.ndarray]) -> None:
    """Checks what the network answered against what it declares."""
    if sum(output.nbytes for output in outputs) > _MAX_OUTPUT_BYTES:
        raise ModelError(f"answers one picture with more than {_MAX_OUTPUT_BYTES:,} bytes")
    for declared, output in zip(session.get_outputs(), outputs, strict=True):
        if len(declared.shape) not in (0, output.ndim):
            raise ModelError(f"answers with shape {output.shape} where it declares {declared.shape}; export it again")
        if output.dtype.kind == "f" and not np.isfinite(output).all():
            raise ModelError("answers a grey picture with infinite or undefined numbers; it is damaged")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
