"""Vets ONNX models from anywhere, in a process of its own, before one is loaded in ours."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from watchline.detectors.confined import Bounds, run
from watchline.detectors.importer.description import hash_file
from watchline.detectors.onnx_trial import Job
from watchline.detectors.runtime import onnxruntime_version
from watchline.streams.errors import ModelError

# Of what is checked. Whoever checks more must change it, or models would count as vetted that are not.
_VERSION: Final = 1

_MAX_BYTES: Final = 1 << 31  # protobuf reads no more
_BASE_MEMORY_BYTES: Final = 7 << 28  # 1.75 GiB of address space, so that less than 2 GB is ever in use
_MEMORY_PER_BYTE: Final = 8
_BASE_TIME_S: Final = 6
_SMALL_BYTES: Final = 16 << 20
_BYTES_PER_S: Final = 2 << 20  # of what is larger: such networks take longer to answer


def vet(path: Path, cache: Path) -> str:
    """Returns the SHA-256 of an ONNX model, once a process of its own has loaded and run it unharmed.

    A model that passed is remembered by its SHA-256 and the version of ONNX Runtime, so that only its first use costs
    time. What it does on other pictures than a grey one, of other sizes, is not known. Whoever can change the file
    between this and its loading escapes: to load the bytes that were hashed would take as much memory again as the
    file, for good, and who can write there can as well end this program.

    Args:
        path: an ONNX file.
        cache: folder for the seals; made where it is missing. Where it cannot be written nothing is remembered.

    Raises:
        ModelError: it is damaged, hostile, or not one that ONNX Runtime can run; the message says why.
    """
    sha256 = hash_file(path)
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise ModelError(f"{path.name}: larger than {_MAX_BYTES:,} bytes")
    runtime = onnxruntime_version()
    seal = cache / f"{sha256[:16]}-{_VERSION}-{runtime}.vetted"
    words = f"{sha256} onnxruntime {runtime}\n".encode("ascii")
    if _holds(seal, words):
        return sha256
    job = Job(source=str(path.absolute()), sha256=sha256)
    time_s = _BASE_TIME_S + max(0, size - _SMALL_BYTES) // _BYTES_PER_S
    run("watchline.detectors.onnx_trial", dict(job), Bounds(_memory(size), time_s), path)
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        part = seal.with_suffix(f".{os.getpid()}")
        part.write_bytes(words)
        part.replace(seal)
    return sha256


def _memory(file_bytes: int) -> int:
    return _BASE_MEMORY_BYTES + _MEMORY_PER_BYTE * file_bytes


def _holds(seal: Path, words: bytes) -> bool:
    try:
        return seal.read_bytes() == words
    except OSError:
        return False
