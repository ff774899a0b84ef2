"""The one door to each runtime: ONNX Runtime, and OpenVINO where it is installed."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np

from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from openvino import Core

# What ONNX Runtime puts before its words: a code, and where in its sources it stood.
_PLACE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+:\d+ .*?\)(?: const)? (?=[\w\['\"])|\[with \w+ = [^]]*\] "
)
_NODE: Final = re.compile(r"Non-zero status code returned while running (\w+) node\. Name:'(.*?)' Status Message: ")
_CUDA_PLACE: Final = re.compile(r" ?; GPU=-?\d+ ; hostname=")  # what follows is the machine, the source and the call
_VERSION: Final = re.compile(r"^__version__ = [\"']([\w.+-]+)[\"']$", re.MULTILINE)
_MAX_REASON: Final = 300


def load_onnxruntime() -> ModuleType:
    """Returns the module `onnxruntime`, loaded with its telemetry off.

    Its official builds report their use to the vendor unless the environment forbids it before the first import. A
    system that watches people makes no connection that its operator did not ask for.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


def onnxruntime_version() -> str:
    """Returns the version of ONNX Runtime, without loading it where its source says it: that takes 15 MB for good."""
    if "onnxruntime" not in sys.modules:
        spec = importlib.util.find_spec("onnxruntime")
        with contextlib.suppress(OSError):
            found = _VERSION.search(Path(spec.origin).read_text("utf-8", "replace")) if spec and spec.origin else None
            if found:
                return found[1]
    version: str = load_onnxruntime().__version__
    return version


def load_openvino() -> ModuleType:
    """Returns the module `openvino`, loaded with its telemetry off.

    It sends an event to the vendor whenever it is imported, unless the package that sends it is not there.

    Raises:
        ModelError: it is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's own way to bar an import
    try:
        import openvino
    except ImportError as error:
        raise ModelError(
            "OpenVINO is not installed; `pip install 'watchline[openvino]'`, or turn the network into ONNX with "
            "`watchline models import FILE.xml`"
        ) from error
    module: ModuleType = openvino
    # Its first look at an array sets something up that two threads at once would wait for for ever: the one with the
    # guard of it, the other with the lock of the interpreter. So it looks at one here, before there are threads.
    _ = module.Tensor(np.zeros(1, np.float32), shared_memory=True).data
    return module


def new_openvino_core() -> Core:
    """Returns an OpenVINO core whose CPU plugin is loaded.

    That plugin gives the thread that loads it another stack for handlers of signals, and takes the memory of that stack
    away with the last reference to the plugin, in whichever thread that goes: the next signal would then end the
    process without a word. So a thread that ends at once loads it.

    Raises:
        ModelError: OpenVINO is not installed.
    """
    openvino = load_openvino()

    def load() -> Core:
        core: Core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # a core loads a plugin when it is first asked for
        return core

    with ThreadPoolExecutor(1, thread_name_prefix="load") as thread:
        return thread.submit(load).result()


def give_back_memory() -> None:
    """Gives freed memory back to the system where the C library can be told to; a few milliseconds.

    Compiling a network leaves what it was made from, some tens of megabytes, in holes that little else fits in.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def reason_of(error: Exception) -> str:
    """Returns what ONNX Runtime says went wrong, on one line, without where in its own sources.

    >>> reason_of(RuntimeError("[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/a.cc:7 void f(int) Too large"))
    'Too large'
    """
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    words = _NODE.sub(lambda node: " ".join(filter(None, node.groups())) + ": ", _PLACE.sub("", first)).strip() or first
    words = _CUDA_PLACE.split(words)[0]
    return "".join(c if c.isprintable() else "?" for c in words[:_MAX_REASON])
