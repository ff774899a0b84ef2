"""The one door to each runtime: ONNX Runtime, and OpenVINO where it is installed."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from watchline.streams.errors import ModelError


def load_onnxruntime() -> ModuleType:
    """Returns the module `onnxruntime`, loaded with its telemetry off.

    Its official builds report their use to the vendor unless the environment forbids it before the first import. A
    system that watches people makes no connection that its operator did not ask for.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    module: ModuleType = onnxruntime
    return module


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
    return module
