"""What there is to run on: the NVIDIA GPU, its driver, CUDA, TensorRT, and what is missing."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.detectors.elf import needed_libraries
from watchline.detectors.runtime import load_onnxruntime
from watchline.streams.errors import ModelError

_SMI_TIMEOUT_S: Final = 20.0  # a driver that sets up a sleeping GPU takes seconds; one that hangs, for ever
_FIELDS: Final = "name,compute_cap,driver_version,memory.total"
_NO_MEMORY: Final = ("[N/A]", "N/A", "[Not Supported]")  # of its own
_MIB: Final = 1 << 20
_NAMES: Final = {"cuda": "CUDA", "tensorrt": "TensorRT"}
INSTALL: Final = (
    "`pip uninstall -y onnxruntime` and `pip install --force-reinstall 'onnxruntime-gpu[cuda,cudnn]' "
    "'tensorrt-cu13-libs<11'` put them there"
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        name: as its maker calls it.
        capability: compute capability, "8.6".
        driver: version of its driver.
        memory_bytes: of the GPU; 0 where its driver does not say, as where it shares the processor's.
        part: what CUDA_VISIBLE_DEVICES says where that is a part of a GPU (MIG), which is another machine to build for.
    """

    name: str
    capability: str
    driver: str
    memory_bytes: int
    part: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    """All that a TensorRT engine is built for.

    Attributes:
        gpu: the one that is used.
        tensorrt: version of the library.
        onnxruntime: version of the runtime, which calls it.
    """

    gpu: Gpu
    tensorrt: str
    onnxruntime: str


def find_gpu(query: str = "nvidia-smi", visible: str | None = None) -> Gpu:
    """Returns the GPU that CUDA takes first.

    It asks the driver's own `nvidia-smi`, which comes with every driver, in a process that is killed if it hangs: a
    stuck driver then costs seconds, where a call into its library would take this process with it.

    Args:
        query: the program to ask.
        visible: which GPUs CUDA may use; by default what CUDA_VISIBLE_DEVICES says.

    Raises:
        ModelError: there is none, or its driver does not work.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    first = (seen or "").split(",")[0].strip()
    if seen is not None and first in ("", "-1"):
        raise ModelError(f"CUDA_VISIBLE_DEVICES={seen!r} hides every GPU")
    program = shutil.which(query)
    if program is None:
        raise ModelError("no NVIDIA driver (no nvidia-smi)")
    part = first if first.startswith("MIG") else ""
    chosen = ["--id", first] if first and not part else []
    try:
        done = subprocess.run(  # noqa: S603  # a program of the system's, no shell
            [program, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits", *chosen],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SMI_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"the NVIDIA driver does not answer within {_SMI_TIMEOUT_S:g} s; restart it") from error
    except OSError as error:
        raise ModelError(f"{program} cannot be started: {error.strerror}") from error
    return _gpu(done, part)


def _gpu(done: subprocess.CompletedProcess[str], part: str) -> Gpu:
    lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    values = [value.strip() for value in lines[0].split(",")] if lines else []
    if done.returncode or len(values) != 4 or not (values[3].isdigit() or values[3] in _NO_MEMORY):
        said = " ".join(lines)[:200] or f"exit status {done.returncode}"
        raise ModelError(f"the NVIDIA driver finds no GPU: {said}")
    memory = 0 if values[3] in _NO_MEMORY else int(values[3]) * _MIB
    return Gpu(values[0], values[1], values[2], memory, part)


def find_platform() -> Platform:
    """Returns what a TensorRT engine would be built for here.

    Raises:
        ModelError: something is missing; says all that is, and how to mend it.
    """
    if sys.platform != "linux":
        raise ModelError("TensorRT cannot run here: watchline uses it on Linux alone")
    gpu: Gpu | None = None
    missing = []
    try:
        gpu = find_gpu()
    except ModelError as error:
        missing.append(str(error))
    found = tensorrt_version()
    if not found[0].isdigit():
        missing.append(found)
    if gpu is None or missing:
        raise ModelError(f"TensorRT cannot run here: {'; '.join(missing)}; see `watchline doctor`")
    return Platform(gpu, found, load_onnxruntime().__version__)


def tensorrt_version() -> str:
    """Returns the version of TensorRT that ONNX Runtime would use; or why there is none, which begins with a letter."""
    reason, libraries = _looked_for("tensorrt")
    library = next((name for name in libraries if name.startswith("libnvinfer.so")), "")
    if reason or not library:
        return reason or "this ONNX Runtime names no TensorRT library"
    number = int(ctypes.CDLL(library).getInferLibVersion())  # loaded before, wherever it lay
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def why_not(provider: str) -> str:
    """Returns why ONNX Runtime's `provider`, "cuda" or "tensorrt", cannot be loaded; "" if nothing is known against it.

    ONNX Runtime itself prints the reason where nobody looks, and takes the processor.
    """
    return _looked_for(provider)[0]


def _looked_for(provider: str) -> tuple[str, list[str]]:
    """Returns why `provider` cannot be loaded or "", and the libraries that it needs, which are loaded then.

    It is not loaded itself: it would look for its host, ONNX Runtime, at once and only once, and not find it.
    """
    path = _provider(provider)
    if path is None:
        return f"this ONNX Runtime is built without {_NAMES[provider]} (the package onnxruntime-gpu has it)", []
    load_gpu_libraries()
    if sys.platform != "linux":
        return "", []
    try:
        libraries = needed_libraries(path)
    except (OSError, ValueError) as error:
        return f"{path} is damaged ({error}); install onnxruntime-gpu again", []
    missing = [name for name in libraries if not _loads(name)]
    if missing:
        return f"{_NAMES[provider]} lacks {', '.join(missing)}", libraries
    return "", libraries


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def load_gpu_libraries() -> None:
    """Loads CUDA, cuDNN and TensorRT from their Python packages where they are installed as such.

    The system's loader would not find them there. GPUs are numbered as `nvidia-smi` does, unless the user says else.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    preload = getattr(load_onnxruntime(), "preload_dlls", None)  # since 1.21
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            preload()
    spec = importlib.util.find_spec("tensorrt_libs")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for name in ("libnvinfer.so.*", "libnvinfer_plugin.so.*", "libnvonnxparser.so.*"):
            for library in sorted(Path(folder).glob(name)):
                with contextlib.suppress(OSError):  # what cannot be loaded is told by `why_not`
                    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def has_provider(provider: str) -> bool:
    """Returns whether this ONNX Runtime was built for `provider`, "cuda" or "tensorrt"; whether it starts is not known.

    ONNX Runtime need not be loaded for this.
    """
    return _provider(provider) is not None


def _provider(name: str) -> Path | None:
    spec = importlib.util.find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    file = f"onnxruntime_providers_{name}.dll" if sys.platform == "win32" else f"libonnxruntime_providers_{name}.so"
    paths = [Path(folder) / "capi" / file for folder in folders or []]
    return next((path for path in paths if path.is_file()), None)
