"""Opens the engine that runs a model file, on the device that is asked for or the best that is there."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from watchline.detectors.engine import Engine, OnnxEngine
from watchline.detectors.engine_cache import EngineCache
from watchline.detectors.fallback import FallbackEngine
from watchline.detectors.fetch import default_cache
from watchline.detectors.gpu import find_platform, has_provider
from watchline.detectors.importer.description import hash_file
from watchline.detectors.manifest import Manifest
from watchline.detectors.swapping import SwappingEngine
from watchline.streams.errors import ModelError, UsageError

DEVICES: Final = ("auto", "cpu", "openvino", "openvino-f32", "cuda", "tensorrt", "tensorrt-f32")
_X86: Final = ("x86_64", "AMD64")
_BUILT: Final = "tensorrt-built"  # TensorRT where its engine was built before, which "auto" stands for
_ENGINES: Final = "engines"  # folder below that of the models


def devices_of(text: str) -> tuple[str, ...]:
    """Returns the devices that `text` names, separated by commas, in the order to try them.

    Raises:
        UsageError: an unknown one.

    >>> devices_of("openvino, cpu")
    ('openvino', 'cpu')
    """
    names = tuple(part.strip().lower() for part in text.split(","))
    for name in names:
        if name not in DEVICES:
            raise UsageError(f"--device {text}: want one or more of {', '.join(DEVICES)}, separated by commas")
    return names


def open_engine(
    path: Path, device: str = "auto", family: str = "", workers: int = 1, engines: Path | None = None
) -> Engine:
    """Returns the engine for a network.

    Args:
        path: an .onnx file, or the .xml of an OpenVINO network.
        device: one of `DEVICES`, or several to be tried in turn. "cpu" is ONNX Runtime on the processor; "openvino" is
            OpenVINO there, in bfloat16 where the processor can, and "openvino-f32" in float32. "tensorrt", in half
            precision where the GPU can, and "tensorrt-f32" are built at first use, while the devices after them in the
            list serve, or CUDA. "auto" takes TensorRT where its engine for this network and machine was built before,
            else CUDA where it starts, else OpenVINO where it is installed on an x86 processor, else "cpu".
        family: what the network is, where the file does not say it; see `layout.FAMILIES`.
        workers: most calls at once.
        engines: folder of the TensorRT engines; by default below that of this user's models.

    Raises:
        ModelError: the file is no such network, or nothing that could run it started.
        UsageError: a device that is not there, or a `family` that is unknown or not what the file says.
    """
    names = devices_of(device)
    opening = _Opening(path, Manifest(family), workers, engines or default_engines())
    if path.suffix.lower() == ".xml":
        names = tuple(dict.fromkeys("openvino" if name in ("auto", "cpu") else name for name in names))
        gpu = next((name for name in names if name.startswith(("cuda", "tensorrt"))), "")
        if gpu:
            raise UsageError(f"device {gpu!r}: an OpenVINO network runs on the CPU; use --device openvino")
    elif "auto" in names:
        by_itself = tuple(name for name in opening.chosen() if not (name == _BUILT and "tensorrt" in names))
        names = tuple(dict.fromkeys(n for name in names for n in (by_itself if name == "auto" else (name,))))
    return opening.first_of(names)


def default_engines() -> Path:
    """Returns the folder of this user's TensorRT engines."""
    return engines_folder(default_cache())


def engines_folder(cache: Path) -> Path:
    """Returns the folder of the TensorRT engines that belong to a folder of models."""
    return cache / _ENGINES


@dataclass(frozen=True, slots=True)
class _Opening:
    """What is to be opened: the arguments of `open_engine`."""

    path: Path
    said: Manifest
    workers: int
    engines: Path

    def chosen(self) -> tuple[str, ...]:
        """Returns the devices that "auto" stands for."""
        on_cpu = ("openvino", "cpu") if _has_openvino() else ("cpu",)
        if not has_provider("cuda"):
            return on_cpu
        return (_BUILT, "cuda", *on_cpu) if self._was_built() else ("cuda", *on_cpu)

    def first_of(self, names: Sequence[str]) -> Engine:
        """Returns the engine of the first of the devices that starts; the others stand behind it."""
        openers = [
            ("tensorrt" if n == _BUILT else n, partial(self._open, n, names[i + 1 :])) for i, n in enumerate(names)
        ]
        return openers[0][1]() if len(openers) == 1 else FallbackEngine(openers)

    def _open(self, device: str, others: Sequence[str]) -> Engine:
        if device.startswith("tensorrt"):
            return self._tensorrt(device, others or ("cuda",))
        if device.startswith("openvino"):
            from watchline.detectors.openvino_engine import OpenVinoEngine

            return OpenVinoEngine(self.path, self.said, workers=self.workers, exact=device == "openvino-f32")
        return OnnxEngine(self.path, device, said=self.said)  # type: ignore[arg-type]  # one of those that it knows

    def _tensorrt(self, device: str, others: Sequence[str]) -> Engine:
        """Returns what runs on one of the others until it runs on TensorRT.

        Raises:
            ModelError: TensorRT cannot run here; says what is missing.
        """
        from watchline.detectors import tensorrt

        try:
            here = find_platform()
        except ModelError as error:
            raise ModelError(f"{error}; --device cpu runs anywhere") from error
        base = self.first_of(others)
        workshop = tensorrt.TensorRtWorkshop(
            (self.path, hash_file(self.path)),
            base.card,
            "tensorrt" if device == _BUILT else device,
            here,
            EngineCache(self.engines),
            tensorrt.build_in_child(base.card),
        )
        return SwappingEngine(base, others[0], workshop, may_build=device != _BUILT)

    def _was_built(self) -> bool:
        """Returns whether there is any engine for this network, for whatever machine."""
        entries = EngineCache(self.engines).entries()
        return bool(entries) and hash_file(self.path) in {entry.key.model for entry in entries}


def _has_openvino() -> bool:
    return platform.machine() in _X86 and importlib.util.find_spec("openvino") is not None
