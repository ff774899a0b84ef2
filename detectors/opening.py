"""Opens the engine that runs a model file."""

from __future__ import annotations

from pathlib import Path

from watchline.detectors.engine import Device, Engine, OnnxEngine


def open_engine(path: Path, device: Device = "auto", family: str = "") -> Engine:
    """Returns the engine for a network: ONNX Runtime for .onnx, OpenVINO for .xml.

    Args:
        path: an .onnx file, or the .xml of an OpenVINO network.
        device: where it runs.
        family: what the network is, where the file does not say it; see `layout.FAMILIES`.

    Raises:
        ModelError: the file is no such network, or OpenVINO is needed and not installed.
        UsageError: a device that is not there, or a `family` that is unknown or not what the file says.
    """
    if path.suffix.lower() == ".xml":
        from watchline.detectors.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(path, device, family)
    return OnnxEngine(path, device, family)
