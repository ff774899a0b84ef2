"""Static quantization of a network to int8: weights a channel, activations a tensor, both worked out beforehand."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.quantize_graph import drop_zeros, last_convolutions, name_nodes, shorten_names, tail
from watchline.detectors.quantize_ranges import BINS, BY_EXTREMES, BY_HISTOGRAM, METHODS, Method, Range, minmax
from watchline.detectors.runtime import load_onnxruntime, reason_of
from watchline.streams.errors import ModelError, UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

Feed = Callable[[], Iterable[F32]]

_OPSET: Final = 13  # the first with scales a channel
# How much of the convolutions next to the picture stays float, by `Recipe.keep`. Their noise goes through all others,
# and they are the smallest: a tenth of them is 1 % of the weights.
_FIRST: Final = (0.0, 0.1, 0.1, 0.25)
_KEPT: Final = (
    "",
    ", convolutions only, without the first tenth",
    ", convolutions only, without the first tenth and the last",
    ", convolutions only, without the first quarter and the last",
)
KEPT_STEPS: Final = len(_FIRST) - 1
# Those that ONNX Runtime computes in int8 on a CPU; between two others a tensor would be converted to and fro.
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

    Raises:
        UsageError: no such method or step.
    """

    method: Method = "percentile"
    keep: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"method {self.method}: want one of {', '.join(METHODS)}")
        if not 0 <= self.keep <= KEPT_STEPS:
            raise UsageError(f"keep {self.keep}: want 0 to {KEPT_STEPS}")

    def __str__(self) -> str:
        return self.method + _KEPT[self.keep]


class Calibration:
    """A float network and what its tensors held when it saw pictures; makes int8 networks of it.

    Pictures are seen one at a time, so that memory does not grow with their number.

    Args:
        path: an ONNX file that has been vetted.
        feed: gives the calibration pictures, each (1, 3, H, W) float32 as the network sees them; may be called twice,
            and gives the same both times.

    Raises:
        ModelError: the network cannot be read or run, or has no convolutions.
    """

    def __init__(self, path: Path, feed: Feed) -> None:
        self._model = _prepared(path)
        self._feed = feed
        self._tail = tail(self._model.graph)
        if not any(node.op_type == "Conv" and node.name not in self._tail for node in self._model.graph.node):
            raise ModelError(f"{path.name}: has no convolutions to quantize")
        self._extremes: dict[str, NDArray[np.float64]] = {}
        self._histograms: dict[str, NDArray[np.int64]] = {}

    def quantized(self, recipe: Recipe, card: ModelCard) -> bytes:
        """Returns the int8 network as the bytes of an ONNX file that says itself what `card` says.

        Raises:
            ModelError: there are no pictures, or the network gives what is no number.
        """
        from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
        from onnxruntime.quantization.calibrate import TensorsData

        lows_and_highs = {
            name: (np.float32(min(low, 0.0)), np.float32(max(high, 0.0)))
            for name, (low, high) in self._ranges(recipe.method).items()
        }
        operators = ("Conv",) if recipe.keep else _OPERATORS
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
                {},
            )
            quantizer.quantize_model()
        made: ModelProto = quantizer.model.model
        return _signed(made, card, recipe)

    def _kept(self, recipe: Recipe) -> frozenset[str]:
        """Returns the names of the nodes that stay float."""
        graph = self._model.graph
        inside = [node.name for node in graph.node if node.op_type == "Conv" and node.name not in self._tail]
        count = max(1, math.floor(_FIRST[recipe.keep] * len(inside))) if recipe.keep else 0
        first = frozenset(inside[:count])
        return self._tail | first | (last_convolutions(graph) if recipe.keep > 1 else frozenset())

    def _ranges(self, method: Method) -> dict[str, Range]:
        if not self._extremes:
            self._extremes = self._see_extremes()
        if method in BY_EXTREMES:
            return {name: BY_EXTREMES[method](seen) for name, seen in self._extremes.items()}
        if not self._histograms:
            self._histograms = self._see_histograms()
        whole = {name: minmax(seen) for name, seen in self._extremes.items()}
        return {name: BY_HISTOGRAM[method](seen, whole[name]) for name, seen in self._histograms.items()}

    def _see_extremes(self) -> dict[str, NDArray[np.float64]]:
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


def _prepared(path: Path) -> ModelProto:
    """Returns the network with constants and normalizations folded, its nodes named and its tensors' types known."""
    import onnx
    from onnx import version_converter

    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="watchline-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            model = onnx.load(options.optimized_model_filepath)
            opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
            if opset < _OPSET:
                model = version_converter.convert_version(model, _OPSET)
            model = onnx.shape_inference.infer_shapes(model)
        except Exception as error:  # neither library's errors share a base class
            raise ModelError(f"{path.name}: cannot be prepared for quantization: {reason_of(error)}") from error
    name_nodes(model.graph)
    return model


def _signed(model: ModelProto, card: ModelCard, recipe: Recipe) -> bytes:
    """Returns the bytes of `model` with `card` as its metadata, and without what a runtime can work out."""
    del model.metadata_props[:]
    for key, value in {**card.to_metadata(), "watchline.quantized": f"int8: {recipe}"}.items():
        model.metadata_props.add(key=key, value=value)
    del model.graph.value_info[:]
    drop_zeros(model.graph)
    shorten_names(model.graph)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


class _quiet:  # noqa: N801  # used as a function
    """Keeps the quantizer's remarks on its own options out of the user's terminal."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
