"""Static quantization of a network to int8: weights a channel, activations a tensor, both worked out beforehand."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.quantize_graph import drop_zeros, last_convolutions, shorten_names, tail
from watchline.detectors.quantize_network import prepared, signed
from watchline.detectors.quantize_ranges import BINS, BY_EXTREMES, BY_HISTOGRAM, F64, METHODS, Method, Range, minmax
from watchline.detectors.runtime import load_onnxruntime, reason_of
from watchline.streams.errors import ModelError, UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

Feed = Callable[[], Iterable[F32]]
Runtime: TypeAlias = Literal["onnxruntime", "openvino"]
RUNTIMES: Final[tuple[str, ...]] = get_args(Runtime)

# How much of the convolutions next to the picture stays float, by `Recipe.keep`. Their noise goes through all others,
# and they are the smallest: a tenth of them is 1 % of the weights.
_FIRST: Final = (0.0, 0.1, 0.1, 0.25)
_KEPT: Final = (
    "",
    ", without the first tenth",
    ", without the first tenth and the last",
    ", without the first quarter and the last",
)
KEPT_STEPS: Final = len(_FIRST) - 1
# Those that ONNX Runtime computes in int8 on a CPU; between two others a tensor would be converted to and fro. OpenVINO
# is told the ranges of what convolutions are given, and no others: it then computes a convolution, its activation and
# the conversion for the next one in one pass, and moves conversions through joins by itself.
_OPERATORS: Final = (
    *("Add", "AveragePool", "Clip", "Concat", "Conv", "Gemm", "GlobalAveragePool", "LeakyRelu", "MatMul", "MaxPool"),
    *("Mul", "Relu", "Reshape", "Resize", "Sigmoid", "Split", "Squeeze", "Transpose", "Unsqueeze"),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is quantized.

    Attributes:
        method: how the ranges of its tensors are found, one of `METHODS`.
        keep: how much stays float beside what comes after the last convolutions; 0: nothing; 1: the first tenth of the
            convolutions, and all that is no convolution; 2: also the last convolutions; 3: also the first quarter.
        runtime: what it is to be fast on. It runs on the other, too.

    Raises:
        UsageError: no such method, step or runtime.
    """

    method: Method = "percentile"
    keep: int = 0
    runtime: Runtime = "onnxruntime"

    def __post_init__(self) -> None:
        if self.runtime not in RUNTIMES:
            raise UsageError(f"--runtime {self.runtime}: want one of {', '.join(RUNTIMES)}")
        if self.method not in METHODS:
            raise UsageError(f"method {self.method}: want one of {', '.join(METHODS)}")
        if not 0 <= self.keep <= KEPT_STEPS:
            raise UsageError(f"keep {self.keep}: want 0 to {KEPT_STEPS}")

    def __str__(self) -> str:
        fused = self.runtime == "openvino"
        only = ", convolutions only" if self.keep or fused else ""
        return f"{self.method}{only}{_KEPT[self.keep]}{', for openvino' if fused else ''}"


class Calibration:
    """A float network and what its tensors held when it saw pictures; makes int8 networks of it.

    Pictures are seen one at a time, so that memory does not grow with their number.

    Args:
        path: an ONNX file that has been vetted.
        feed: gives the calibration pictures, each (1, 3, H, W) float32 as the network sees them; may be called twice,
            and gives the same both times.

    Raises:
        ModelError: the network cannot be read or run, or has no convolutions.
        UsageError: it is quantized already.
    """

    def __init__(self, path: Path, feed: Feed) -> None:
        self._name = path.name
        self._model = prepared(path)
        self._feed = feed
        self._tail = tail(self._model.graph)
        if not any(node.op_type == "Conv" and node.name not in self._tail for node in self._model.graph.node):
            raise ModelError(f"{path.name}: has no convolutions to quantize")
        self._extremes: dict[str, F64] = {}
        self._histograms: dict[str, NDArray[np.int64]] = {}

    def quantized(self, recipe: Recipe, card: ModelCard) -> bytes:
        """Returns the int8 network as the bytes of an ONNX file that says itself what `card` says.

        Raises:
            ModelError: there are no pictures, the network gives what is no number, or it cannot be quantized.
        """
        from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
        from onnxruntime.quantization.calibrate import TensorsData

        lows_and_highs = {
            name: (np.float32(min(low, 0.0)), np.float32(max(high, 0.0)))
            for name, (low, high) in self._ranges(recipe.method).items()
        }
        fused = recipe.runtime == "openvino"
        operators = ("Conv",) if recipe.keep or fused else _OPERATORS
        model = type(self._model)()
        model.CopyFrom(self._model)
        with _quiet():
            quantizer = QDQQuantizer(
                model,
                True,  # weights a channel
                False,
                QuantType.QInt8,
                QuantType.QUInt8,
                TensorsData(
                    CalibrationMethod.MinMax, {k: (np.array(a), np.array(b)) for k, (a, b) in lows_and_highs.items()}
                ),
                [],
                sorted(self._kept(recipe)),
                list(operators),
                {"OpTypesToExcludeOutputQuantization": ["Conv"]} if fused else {},
            )
            try:
                quantizer.quantize_model()
            except Exception as error:  # what ONNX Runtime raises here shares no base class
                raise ModelError(f"{self._name}: cannot be quantized: {reason_of(error)}") from error
        made: ModelProto = quantizer.model.model
        drop_zeros(made.graph)
        shorten_names(made.graph)
        return signed(made, card, f"int8: {recipe}")

    def looks(self) -> F64:
        """Returns what the network shows of each picture: (pictures, features), the extremes of each of its tensors.

        Raises:
            ModelError: there are no pictures, or the network gives what is no number.
        """
        return np.concatenate(list(self._seen().values()), axis=1)

    def _kept(self, recipe: Recipe) -> frozenset[str]:
        """Returns the names of the nodes that stay float."""
        graph = self._model.graph
        inside = [node.name for node in graph.node if node.op_type == "Conv" and node.name not in self._tail]
        count = max(1, math.floor(_FIRST[recipe.keep] * len(inside))) if recipe.keep else 0
        first = frozenset(inside[:count])
        return self._tail | first | (last_convolutions(graph) if recipe.keep > 1 else frozenset())

    def _ranges(self, method: Method) -> dict[str, Range]:
        extremes = self._seen()
        if method in BY_EXTREMES:
            return {name: BY_EXTREMES[method](seen) for name, seen in extremes.items()}
        if not self._histograms:
            self._histograms = self._see_histograms()
        whole = {name: minmax(seen) for name, seen in extremes.items()}
        return {name: BY_HISTOGRAM[method](seen, whole[name]) for name, seen in self._histograms.items()}

    def _seen(self) -> dict[str, F64]:
        """Returns the (pictures, 2) extremes of each tensor, looked at once."""
        if not self._extremes:
            self._extremes = self._see_extremes()
        return self._extremes

    def _see_extremes(self) -> dict[str, F64]:
        seen: dict[str, list[Range]] = {}
        for name, values in self._values():
            seen.setdefault(name, []).append((float(values.min(initial=0)), float(values.max(initial=0))))
        if not seen:
            raise ModelError("no picture to calibrate with; name a clip that has some")
        extremes = {name: np.array(each, np.float64) for name, each in seen.items()}
        for name, each in extremes.items():
            if not np.isfinite(each).all():
                raise ModelError(f"the network's tensor {name[:60]} holds what is no number; it cannot be quantized")
        return extremes

    def _see_histograms(self) -> dict[str, NDArray[np.int64]]:
        seen = {name: np.zeros(BINS, np.int64) for name in self._extremes}
        whole = {name: minmax(extremes) for name, extremes in self._extremes.items()}
        for name, values in self._values():
            low, high = whole[name]
            if high > low:
                places = ((values.ravel() - np.float32(low)) * np.float32(BINS / (high - low))).astype(np.intp)
                seen[name] += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)
        return seen

    def _values(self) -> Iterator[tuple[str, F32]]:
        """Gives the name and the values of each tensor that may be quantized, picture after picture."""
        session, names = self._session()
        (given,) = session.get_inputs()
        inputs = [name for name in names if name == given.name]
        inner = [name for name in names if name != given.name]
        for picture in self._feed():
            try:
                outputs = session.run(inner, {given.name: picture})
            except Exception as error:  # ONNX Runtime's errors share no base class
                raise ModelError(f"the network failed on a picture: {reason_of(error)}") from error
            yield from ((name, picture) for name in inputs)
            yield from zip(inner, outputs, strict=True)

    def _session(self) -> tuple[Any, list[str]]:
        """Returns the network with all its tensors for outputs, and their names."""
        from onnx import TensorProto, ValueInfoProto

        ort = load_onnxruntime()
        model = type(self._model)()
        model.CopyFrom(self._model)
        graph = model.graph
        values: dict[str, ValueInfoProto] = {v.name: v for v in (*graph.value_info, *graph.output, *graph.input)}
        wanted = {
            name
            for node in graph.node
            if node.op_type in _OPERATORS and node.name not in self._tail
            for name in (*node.input, *node.output)
            if name in values and values[name].type.tensor_type.elem_type == TensorProto.FLOAT
        } - {tensor.name for tensor in graph.initializer}
        present = {value.name for value in graph.output} | {value.name for value in graph.input}
        graph.output.extend(values[name] for name in sorted(wanted - present))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session, sorted(wanted)


class _quiet:  # noqa: N801  # used as a function
    """Keeps the quantizer's remarks on its own options out of the user's terminal."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
