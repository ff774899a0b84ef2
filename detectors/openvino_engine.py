"""OpenVinoEngine: runs ONNX and OpenVINO networks on OpenVINO, with the extra `openvino`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import GREY, PROBE_SIZE, EngineInfo
from watchline.detectors.family_cards import Facts
from watchline.detectors.importer.ir import Ir
from watchline.detectors.manifest import Manifest, card_of
from watchline.detectors.onnx_header import FLOAT, read_header
from watchline.detectors.recycling import Recycler
from watchline.detectors.runtime import give_back_memory, load_openvino, new_openvino_core
from watchline.streams.errors import ModelError

if TYPE_CHECKING:
    from openvino import CompiledModel, InferRequest

_MOST_SIZES: Final = 4  # of the input for which a network is kept compiled; a camera has one


@dataclass(frozen=True, slots=True)
class _Source:
    """What a file says of its network.

    Attributes:
        metadata: of the file, in the forms of the ONNX files of Ultralytics.
        outputs: shape of each output by name; -1 for what is open.
        shape: of the input, likewise.
    """

    metadata: Mapping[str, str]
    outputs: Mapping[str, tuple[int, ...]]
    shape: tuple[int, ...]

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width of the input; None where it takes any."""
        return (self.shape[2], self.shape[3]) if self.shape[2] >= 0 else None


class _Requests:
    """Requests of one compiled network. Each serves one call at a time; there are as many as calls were ever at once.

    They are not bound to threads: what a warm-up made, with its memory, serves any thread.
    """

    def __init__(self, network: CompiledModel) -> None:
        self._network = network
        self._idle: list[InferRequest] = []

    def take(self) -> InferRequest:
        """Returns a request that nobody else uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._network.create_infer_request()

    def put(self, request: InferRequest) -> None:
        """Gives a request back."""
        self._idle.append(request)


class OpenVinoEngine:
    """A network on OpenVINO, on the CPU. Safe to call from several threads at once.

    One thread a call, and as many calls at once as there are `workers`, as of `OnnxEngine`. A network is compiled for
    each size of its input that comes along, because OpenVINO is slower where it leaves a size open.

    Args:
        path: an .onnx, or the .xml of an OpenVINO network with its .bin beside it.
        said: what is said of the network, where its file does not say it.
        card: what the network is, where the caller knows it for sure; its file is then not asked. This runs networks
            that find nothing by themselves, such as those that describe a person.
        workers: most calls at once.
        exact: compute floats as float32; else as bfloat16 where the processor can, which is about twice as fast.

    Raises:
        ModelError: OpenVINO is not installed; or the file is not such a network, or none that watchline can feed.
        UsageError: `said` is not what the file says.
    """

    def __init__(
        self,
        path: Path,
        said: Manifest | None = None,
        *,
        card: ModelCard | None = None,
        workers: int = 1,
        exact: bool = False,
    ) -> None:
        openvino = load_openvino()
        self._path = path
        self._core = new_openvino_core()
        precision = "f32" if exact or "BF16" not in self._capabilities() else "bf16"
        self._settings = {
            "INFERENCE_NUM_THREADS": workers,
            "NUM_STREAMS": workers,
            "INFERENCE_PRECISION_HINT": precision,
            # A thread that is bound to a processor waits for whoever else is there, while another one is free.
            "ENABLE_CPU_PINNING": False,
        }
        # Of an .xml our own reader goes first, for it is bounded, which OpenVINO's is not.
        self._source = _of_ir(path) if path.suffix.lower() == ".xml" else _of_onnx(path)
        self._seen: tuple[int, int] | None = None  # size and time of change of the file that was read
        self._model: Any = self._read()
        self._networks: dict[tuple[int, int], _Requests] = {}
        self._lock = threading.Lock()
        self._copies = Recycler()
        version = f"openvino {openvino.__version__.partition('-')[0]}"
        self._info = EngineInfo(version, "cpu", f"OpenVINO CPU {precision}", own_threads=workers > 1)
        self._names = list(self._source.outputs)
        self._card = card or self._decided(said or Manifest())
        unknown = set(self._card.outputs) - set(self._names)
        if unknown:
            raise ModelError(f"{path}: it has no output {min(unknown)!a}, only {', '.join(self._names[:8])}")
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
        return self._source.fixed_size

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns the outputs that `card.outputs` names, in its order, each (N, ...) float32."""
        singles = [self._run(batch[i : i + 1]) for i in range(len(batch))]
        chosen = [[outputs[row] for row in self._rows] for outputs in singles]
        if not self._card.batched:
            chosen = [[output[None] for output in outputs] for outputs in chosen]
        if len(chosen) == 1:
            return tuple(chosen[0])
        return tuple(np.concatenate(parts) for parts in zip(*chosen, strict=True))

    def _run(self, picture: F32) -> list[F32]:
        """Returns all outputs for one picture (1, 3, H, W), in the network's order."""
        try:
            idle = self._idle((picture.shape[2], picture.shape[3]))
            request = idle.take()
            try:
                request.infer([picture], share_inputs=True)
                # The next call that takes this request overwrites what it gives.
                return [self._copies.copy(request.get_output_tensor(i).data) for i in range(len(self._names))]
            finally:
                idle.put(request)
        except RuntimeError as error:
            shape = "x".join(map(str, picture.shape))
            raise ModelError(f"OpenVINO failed on an input of {shape}: {_reason(error)}") from error

    def _idle(self, size: tuple[int, int]) -> _Requests:
        """Returns the requests of the network compiled for pictures of `size`."""
        with self._lock:
            if size not in self._networks:
                if len(self._networks) >= _MOST_SIZES:
                    del self._networks[next(iter(self._networks))]
                self._networks[size] = _Requests(self._compile(size))
            return self._networks[size]

    def _compile(self, size: tuple[int, int]) -> CompiledModel:
        # What was read holds all weights as float32, beside those that are compiled: it is read anew for another size.
        model, self._model = self._model or self._read(), None
        if -1 in self._source.shape:
            model.reshape([1, 3, *size])
        compiled = self._core.compile_model(model, "CPU", self._settings)
        del model
        give_back_memory()
        return compiled

    def _read(self) -> Any:
        try:
            seen = self._path.stat()
        except OSError as error:
            raise ModelError(f"{self._path}: cannot be read: {error.strerror}") from error
        if self._seen not in (None, (seen.st_size, seen.st_mtime_ns)):
            raise ModelError(f"{self._path}: changed while it was in use; start again")
        self._seen = (seen.st_size, seen.st_mtime_ns)
        try:
            return self._core.read_model(self._path)
        except RuntimeError as error:
            raise ModelError(f"{self._path}: OpenVINO cannot load it ({_reason(error)})") from error

    def _capabilities(self) -> list[str]:
        """Returns what the processor is good at; bfloat16 on one that has no such instructions would be slow."""
        found: list[str] = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return found

    def _decided(self, said: Manifest) -> ModelCard:
        """Returns what the network is; it is run on a grey picture where its file leaves something open."""
        source = self._source
        size = source.fixed_size or PROBE_SIZE

        @cache
        def probe() -> dict[str, F32]:
            outputs = self._run(np.full((1, 3, *size), GREY, np.float32))
            return dict(zip(self._names, outputs, strict=True))

        shapes = dict(source.outputs)
        # Our own models need no look at their shapes, and a run costs a start some time.
        if any(side < 0 for shape in shapes.values() for side in shape) and not ModelCard.is_in(source.metadata):
            shapes = {name: output.shape for name, output in probe().items()}
        try:
            return card_of(Facts(source.metadata, shapes, size, probe), said)
        except ModelError as error:
            raise ModelError(f"{self._path}: {error}") from error


def _of_ir(path: Path) -> _Source:
    """Returns what an OpenVINO network says of itself."""
    ir = Ir(path)
    inputs = ir.of_type("Parameter")
    shapes = [layer.outputs[0].shape for layer in inputs if layer.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or inputs[0].attributes.get("element_type") != "f32":
        asks = ", ".join(f"{layer.name} {layer.attributes.get('element_type', '')}" for layer in inputs[:4])
        raise ir.refusal(f"not a picture network: want one f32 input (batch, 3, H, W), it has {asks} {shapes[:4]}")
    return _checked(path, _Source(ir.metadata, ir.outputs(), tuple(shapes[0])))


def _of_onnx(path: Path) -> _Source:
    """Returns what an ONNX network says of itself."""
    header = read_header(path)
    if len(header.inputs) != 1 or header.inputs[0].element != FLOAT:
        count = len(header.inputs)
        raise ModelError(f"{path}: not a picture network: want one float input (batch, 3, H, W), it has {count}")
    outputs = {value.name: value.shape for value in header.outputs}
    return _checked(path, _Source(header.metadata, outputs, header.inputs[0].shape))


def _checked(path: Path, source: _Source) -> _Source:
    """Returns `source` if it is a network for single pictures of three channels."""
    batch, channels, *sides = source.shape if len(source.shape) == 4 else (0, 0, 0, 0)
    if channels != 3 or batch not in (1, -1) or (sides[0] < 0) != (sides[1] < 0):
        raise ModelError(f"{path}: its input is {source.shape}; want (1, 3, H, W), both sides fixed or none")
    return source


def _reason(error: Exception) -> str:
    """Returns what OpenVINO says in the end; before it comes where in its source each part was said."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
