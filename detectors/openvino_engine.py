"""OpenVinoEngine: runs OpenVINO networks, with the extra `openvino`."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Device, EngineInfo
from watchline.detectors.family_cards import Facts
from watchline.detectors.importer.ir import Ir
from watchline.detectors.layout import decide
from watchline.detectors.runtime import load_openvino
from watchline.streams.errors import ModelError, UsageError

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

_PROBE_SIZE: Final = (256, 320)  # where the network takes any: both sides are multiples of 64, and they differ
_GREY: Final = 0.5


class OpenVinoEngine:
    """A network on OpenVINO, on the CPU. Safe to call from several threads at once.

    One thread a call, as of `OnnxEngine`. Numbers are computed as precisely as the file says: what it holds as int8
    runs as int8, and what it holds as float is not rounded to bfloat16.

    Args:
        path: the .xml of an OpenVINO network; its .bin lies beside it.
        device: "auto" or "cpu".
        family: what the network is, where the file does not say it; see `layout.FAMILIES`.
        card: what the network is, where the caller knows it for sure; its file is then not asked. This runs networks
            that find nothing by themselves, such as those that describe a person.

    Raises:
        ModelError: OpenVINO is not installed; or the file is not such a network, or none that watchline can feed.
        UsageError: a device that is not the CPU; or `family` is unknown or not what the file says.
    """

    def __init__(self, path: Path, device: Device = "auto", family: str = "", *, card: ModelCard | None = None) -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"device {device!r}: an OpenVINO network runs on the CPU; use --device cpu")
        openvino = load_openvino()
        self._path = path
        ir = Ir(path)  # bounded, which OpenVINO's own reader is not
        self._fixed_size = _fixed_size(ir)
        self._local = threading.local()
        self._info = EngineInfo(f"openvino {openvino.__version__.partition('-')[0]}", "cpu", "OpenVINO CPU")
        self._network = _compiled(path)
        self._names = list(ir.outputs())
        self._card = card or self._decided(ir, family)
        unknown = set(self._card.outputs) - set(self._names)
        if unknown:
            raise ir.refusal(f"it has no output {min(unknown)!a}, only {', '.join(self._names[:8])}")
        self._rows = [self._names.index(name) for name in self._card.outputs or self._names]

    @property
    def info(self) -> EngineInfo:
        """What really runs."""
        return self._info

    @property
    def card(self) -> ModelCard:
        """What the network is and how it wants to be fed."""
        return self._card

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width that the input must have; None where any multiple of the stride will do."""
        return self._fixed_size

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns the outputs that `card.outputs` names, in its order, each (N, ...) float32."""
        singles = [self._run(batch[i : i + 1]) for i in range(len(batch))]
        chosen = [[outputs[row] for row in self._rows] for outputs in singles]
        if not self._card.batched:
            chosen = [[output[None] for output in outputs] for outputs in chosen]
        return tuple(np.concatenate(parts) for parts in zip(*chosen, strict=True))

    def _run(self, picture: F32) -> list[F32]:
        """Returns all outputs for one picture (1, 3, H, W), in the network's order."""
        try:
            request = self._request()
            request.infer([picture], share_inputs=True)
            # The next call of this thread overwrites what the request gives.
            return [np.array(request.get_output_tensor(i).data, np.float32) for i in range(len(self._names))]
        except RuntimeError as error:
            shape = "x".join(map(str, picture.shape))
            raise ModelError(f"OpenVINO failed on an input of {shape}: {_reason(error)}") from error

    def _request(self) -> InferRequest:
        """Returns the request of the calling thread: a request serves one call at a time."""
        if not hasattr(self._local, "request"):
            self._local.request = self._network.create_infer_request()
        request: InferRequest = self._local.request
        return request

    def _decided(self, ir: Ir, family: str) -> ModelCard:
        """Returns what the network is; it is run on a grey picture where its file leaves something open."""
        size = self._fixed_size or _PROBE_SIZE

        @cache
        def probe() -> dict[str, F32]:
            outputs = self._run(np.full((1, 3, *size), _GREY, np.float32))
            return dict(zip(self._names, outputs, strict=True))

        shapes = ir.outputs()
        if any(side < 0 for shape in shapes.values() for side in shape):
            shapes = {name: output.shape for name, output in probe().items()}
        try:
            return decide(Facts(ir.metadata, shapes, size, probe), family)
        except ModelError as error:
            raise ModelError(f"{self._path}: {error}") from error


def _compiled(path: Path) -> CompiledModel:
    openvino = load_openvino()
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        return openvino.Core().compile_model(path, "CPU", settings)
    except RuntimeError as error:
        raise ModelError(f"{path}: OpenVINO cannot load it ({_reason(error)})") from error


def _fixed_size(ir: Ir) -> tuple[int, int] | None:
    """Returns the height and width of the network's input, None where it takes any."""
    inputs = ir.of_type("Parameter")
    shapes = [layer.outputs[0].shape for layer in inputs if layer.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or inputs[0].attributes.get("element_type") != "f32":
        asks = ", ".join(f"{layer.name} {layer.attributes.get('element_type', '')}" for layer in inputs[:4])
        raise ir.refusal(f"not a picture network: want one f32 input (batch, 3, H, W), it has {asks} {shapes[:4]}")
    batch, channels, height, width = shapes[0]
    if channels != 3 or batch not in (1, -1) or (height < 0) != (width < 0):
        raise ir.refusal(f"its input is {shapes[0]}; want (1, 3, H, W), both sides fixed or none")
    return (height, width) if height >= 0 else None


def _reason(error: Exception) -> str:
    """Returns what OpenVINO says in the end; before it comes where in its source each part was said."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
