"""Opens the engine that runs a model file, on the device that is asked for or the best that is there."""

from __future__ import annotations

import importlib.util
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo, OnnxEngine, has_cuda
from watchline.detectors.manifest import Manifest
from watchline.streams.errors import ModelError, UsageError

DEVICES: Final = ("auto", "cpu", "openvino", "openvino-f32", "cuda")
_X86: Final = ("x86_64", "AMD64")
_Opener: TypeAlias = Callable[[], Engine]


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


def open_engine(path: Path, device: str = "auto", family: str = "", workers: int = 1) -> Engine:
    """Returns the engine for a network.

    Args:
        path: an .onnx file, or the .xml of an OpenVINO network.
        device: one of `DEVICES`, or several to be tried in turn. "cpu" is ONNX Runtime on the processor; "openvino" is
            OpenVINO there, in bfloat16 where the processor can, and "openvino-f32" in float32; "auto" takes CUDA where
            it starts, else OpenVINO where it is installed on an x86 processor, else "cpu".
        family: what the network is, where the file does not say it; see `layout.FAMILIES`.
        workers: most calls at once.

    Raises:
        ModelError: the file is no such network, or nothing that could run it started.
        UsageError: a device that is not there, or a `family` that is unknown or not what the file says.
    """
    names = devices_of(device)
    is_ir = path.suffix.lower() == ".xml"
    if is_ir:
        names = tuple(dict.fromkeys("openvino" if name in ("auto", "cpu") else name for name in names))
        if "cuda" in names:
            raise UsageError("device 'cuda': an OpenVINO network runs on the CPU; use --device openvino")
    elif "auto" in names:
        by_itself = ("auto",) if has_cuda() or not _has_openvino() else ("openvino", "cpu")
        names = tuple(dict.fromkeys(n for name in names for n in (by_itself if name == "auto" else (name,))))
    openers = [(name, partial(_open, path, name, Manifest(family), workers)) for name in names]
    return openers[0][1]() if len(openers) == 1 else FallbackEngine(openers)


def _open(path: Path, device: str, said: Manifest, workers: int) -> Engine:
    if device.startswith("openvino"):
        from watchline.detectors.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(path, said, workers=workers, exact=device == "openvino-f32")
    return OnnxEngine(path, device, said=said)  # type: ignore[arg-type]  # one of those that it knows


def _has_openvino() -> bool:
    return platform.machine() in _X86 and importlib.util.find_spec("openvino") is not None


class FallbackEngine:
    """Several engines for one network: the first that starts runs, until it fails; then the next takes over, for good.

    Args:
        openers: name of a device, and what starts its engine, in the order to try them.

    Raises:
        ModelError: none started; says what the last one said.
        UsageError: likewise.
    """

    def __init__(self, openers: Sequence[tuple[str, _Opener]]) -> None:
        self._left = list(openers)
        self._failed: list[str] = []
        self._lock = threading.Lock()
        self._engine = self._next()
        self._card = self._engine.card

    @property
    def info(self) -> EngineInfo:
        """What really runs now; the note says what failed before."""
        info = self._engine.info
        return replace(info, note="; ".join([*self._failed, info.note] if info.note else self._failed))

    @property
    def card(self) -> ModelCard:
        """What the network is and how it wants to be fed."""
        return self._card

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width that the input must have; None where any multiple of the stride will do."""
        return self._engine.fixed_size

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns what the engine that runs now answers; if it fails, what the next one does.

        Raises:
            ModelError: the last one failed, too.
        """
        engine = self._engine
        try:
            return engine.run(batch)
        except ModelError as error:
            with self._lock:
                if self._engine is engine:  # or else another thread has changed it by now
                    if not self._left:
                        raise
                    self._failed.append(f"{engine.info.provider} failed while running: {error}")
                    self._engine = self._next()
        return self.run(batch)

    def _next(self) -> Engine:
        """Returns the next engine that starts."""
        while True:
            name, start = self._left.pop(0)
            try:
                return start()
            except (ModelError, UsageError) as error:
                if not self._left:
                    raise
                self._failed.append(f"{name} did not start: {error}")
