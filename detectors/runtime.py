"""The one door to ONNX Runtime."""

from __future__ import annotations

import os
from types import ModuleType


def load_onnxruntime() -> ModuleType:
    """Returns the module `onnxruntime`, loaded with its telemetry off.

    Its official builds report their use to the vendor unless the environment forbids it before the first import. A
    system that watches people makes no connection that its operator did not ask for.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    module: ModuleType = onnxruntime
    return module
