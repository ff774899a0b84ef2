"""Engine: what runs a network, and the one on ONNX Runtime; `opening` chooses between it and OpenVINO's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.family_cards import Facts
from watchline.detectors.gpu import has_provider, why_not
from watchline.detectors.manifest import Manifest, card_of
from watchline.detectors.runtime import load_onnxruntime, reason_of
from watchline.streams.errors import ModelError, UsageError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Starter: TypeAlias = Callable[[Path], "tuple[InferenceSession, EngineInfo]"]

PROBE_SIZE = (256, 320)  # where the network takes any: both sides are multiples of 64, and they differ
GREY = 0.5

# The arena grows by what is asked for, not to twice its size, and at most to this: a GPU serves several networks.
CUDA_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"gpu_mem_limit": str(4 << 30), "arena_extend_strategy": "kSameAsRequested"}
)
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Fallback:
    """That one device gave way to another.

    Attributes:
        left: the device that did not start or failed, as the user names it: "cuda", "openvino".
        taken: the device that runs instead.
        reason: why, on one line.
    """

    left: str
    taken: str
    reason: str


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What really runs.

    Attributes:
        runtime: name and version.
        device: "cpu" or "cuda".
        provider: the runtime's name of it, with the precision of its numbers where that may be less than float32.
        note: why it is no better device; "" where there is nothing to say.
        fallbacks: every change of device so far, in order; at most one for each device that was to be tried.
        own_threads: it computes in threads of its own, while those that call it wait.
    """

    runtime: str
    device: str
    provider: str
    note: str = ""
    fallbacks: tuple[Fallback, ...] = ()
    own_threads: bool = False


class Engine(Protocol):
    """Runs one network. Safe to call from several threads at once."""

    @property
    def info(self) -> EngineInfo:
        """What really runs."""

    @property
    def card(self) -> ModelCard:
        """What the network is and how it wants to be fed."""

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width that the input must have; None where any multiple of the stride will do."""

    def run(self, batch: F32) -> tuple[F32, ...]:
        """Returns the outputs that `card.outputs` names, in its order, for `batch` (N, 3, H, W) float32.

        Each is (N, ...) float32. Row i depends on item i alone, to the last bit, whatever else is in the batch; of an
        "embed" network to rounding, where batches differ in size. Only a network that is not `card.batched` must be
        given one item at a time: its outputs vary in length.

        Raises:
            ModelError: the runtime failed; says on which device.
        """


class OnnxEngine:
    """A network on ONNX Runtime.

    One thread a call: as many calls may run at once as there are cores to use, and none waits for another. That is
    also the fastest use of a CPU (a pool shared by one call spins at its barriers), and it makes results independent
    of the number of threads.

    Args:
        path: an ONNX file.
        device: "auto" takes CUDA where it starts, else the CPU; `info` says which, and why.
        family: what the network is, where the file does not say it; see `layout.FAMILIES`.
        said: all that is said of it, `family` included.
        card: what the network is, where the caller knows it for sure; the network is then not asked.
        start: what gives its session, in place of `device`.
        most: most pictures a call of the network takes; 0 for as many as come.

    Raises:
        ModelError: the file is not ONNX, not a network that watchline can feed, or the device fails to start.
        UsageError: the device was asked for by name and is not there; or `family` is unknown or not what the file says.
    """

    def __init__(
        self,
        path: Path,
        device: Device = "auto",
        family: str = "",
        said: Manifest | None = None,
        *,
        card: ModelCard | None = None,
        start: Starter | None = None,
        most: int = 0,
    ) -> None:
        self._session, self._info = start(path) if start else _start(path, device)
        self._input, batch, self._fixed_size = _input_of(self._session, path)
        self._most = most
        try:
            self._card = card or card_of(self._facts(batch), said or Manifest(family))
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        self._outputs = list(self._card.outputs)
        # On a CPU a batch of frames costs as much a frame as singles do, and takes more memory. The small networks that
        # describe people gain a quarter by it where other work, between their calls, empties the caches.
        one_by_one = (self._info.device == "cpu" and self._card.task != "embed") or not self._card.batched
        self._batch = batch or (1 if one_by_one else 0)

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
        if self._batch == len(batch) or (not self._batch and (not self._most or len(batch) <= self._most)):
            return self._run(batch, self._outputs)
        if not self._batch:
            parts = [self._run(batch[i : i + self._most], self._outputs) for i in range(0, len(batch), self._most)]
            return tuple(np.concatenate(outputs) for outputs in zip(*parts, strict=True))
        runs = [self._padded(batch[i : i + self._batch]) for i in range(0, len(batch), self._batch)]
        return tuple(np.concatenate(parts) for parts in zip(*runs, strict=True))

    def _padded(self, batch: F32) -> tuple[F32, ...]:
        """Returns the outputs for what may be fewer pictures than a call must bring; grey ones make it up."""
        missing = self._batch - len(batch)
        if not missing:
            return self._run(batch, self._outputs)
        grey = np.full((missing, *batch.shape[1:]), GREY, np.float32)
        return tuple(output[: len(batch)] for output in self._run(np.concatenate([batch, grey]), self._outputs))

    def _run(self, batch: F32, names: list[str]) -> tuple[F32, ...]:
        try:
            outputs = self._session.run(names, {self._input: batch})
        except Exception as error:  # ONNX Runtime's errors share no base class
            shape = "x".join(map(str, batch.shape))
            raise ModelError(f"{self._info.provider} failed on an input of {shape}: {reason_of(error)}") from error
        return tuple(outputs) if self._card.batched else tuple(output[None] for output in outputs)

    def _facts(self, fixed_batch: int) -> Facts:
        """Returns what the network shows of itself; run on a grey picture where it leaves shapes open."""
        metadata = self._session.get_modelmeta().custom_metadata_map
        declared = {output.name: tuple(output.shape) for output in self._session.get_outputs()}
        size = self._fixed_size or PROBE_SIZE

        @cache
        def probe() -> dict[str, F32]:
            picture = np.full((fixed_batch or 1, 3, *size), GREY, np.float32)
            try:
                outputs = self._session.run(list(declared), {self._input: picture})
            except Exception as error:
                raise ModelError(f"{self._info.provider} failed on a grey picture: {reason_of(error)}") from error
            return {name: np.asarray(output) for name, output in zip(declared, outputs, strict=True)}

        # Our own models need no look at their shapes, and a run costs a start some time.
        sides = [side for shape in declared.values() for side in (shape if len(shape) == 2 else shape[1:])]
        is_open = not all(isinstance(side, int) for side in sides)
        if is_open and not ModelCard.is_in(metadata):
            shapes = {name: output.shape for name, output in probe().items()}
        else:
            shapes = {name: tuple(s if isinstance(s, int) else 1 for s in shape) for name, shape in declared.items()}
        return Facts(metadata, shapes, size, probe)


def _start(path: Path, device: Device) -> tuple[InferenceSession, EngineInfo]:
    """Returns a session on the device that was asked for; with "auto" on the best that starts."""
    cuda, cpu = _PROVIDERS["cuda"], _PROVIDERS["cpu"]
    runtime = f"onnxruntime {load_onnxruntime().__version__}"
    note = ""
    refused = False
    if device == "cuda" or (device == "auto" and has_provider("cuda")):
        reason = why_not("cuda")
        try:
            session = None if reason else start_session(path, [(cuda, CUDA_OPTIONS)])
        except ModelError as error:  # of the driver, or of the file: then the processor refuses it, too
            session, reason, refused = None, str(error), True
        if session is not None and session.get_providers()[0] == cuda:
            return session, EngineInfo(runtime, "cuda", cuda)
        reason = reason or "no GPU, no driver for it, or no cuDNN"
        if device == "cuda":
            if refused:
                start_session(path, [(cpu, {})])  # what no device can load is no wrong usage; this says so
            raise UsageError(f"device 'cuda': {reason}; see `watchline doctor`, or use --device cpu")
        note = f"{cuda} did not start: {reason}"
    return start_session(path, [(cpu, {})]), EngineInfo(runtime, "cpu", cpu, note)


def start_session(path: Path, providers: Sequence[tuple[str, Mapping[str, str]]]) -> InferenceSession:
    """Returns a session of one thread a call, on the first of the `providers` and their options.

    Whether that one really runs, `get_providers` says: ONNX Runtime passes over some that do not start.

    Raises:
        ModelError: the file cannot be loaded, or no provider starts.
    """
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # plans for one input shape; ours vary, and it only takes memory
    options.log_severity_level = 4  # what goes wrong is raised; ONNX Runtime need not print it too
    try:
        # enable_fallback: or it would go on with another provider by itself, at start and in flight, and print that.
        return ort.InferenceSession(path, options, providers=[(n, dict(o)) for n, o in providers], enable_fallback=0)
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelError(f"{path}: ONNX Runtime cannot load it ({reason_of(error)})") from error


def _input_of(session: InferenceSession, path: Path) -> tuple[str, int, tuple[int, int] | None]:
    """Returns the name of the network's input, its fixed batch size or 0, and its fixed height and width, if any."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        asks = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs[:4]) + ", ..." * (len(inputs) > 4)
        raise ModelError(f"{path}: not a picture network: want one float input (batch, 3, H, W), it has {asks}")
    batch, channels, *sides = inputs[0].shape
    if channels != 3:
        raise ModelError(f"{path}: wants pictures of {channels} channels; watchline feeds RGB, 3 channels")
    fixed = [isinstance(side, int) for side in sides]
    if any(fixed) and not all(fixed):
        raise ModelError(f"{path}: input {inputs[0].shape} fixes one side only; export it with both or none fixed")
    return (
        inputs[0].name,
        batch if isinstance(batch, int) else 0,
        (int(sides[0]), int(sides[1])) if all(fixed) else None,
    )
