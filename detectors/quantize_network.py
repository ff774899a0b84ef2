"""Reads a network so that it can be made smaller, and writes what became of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchline.detectors.card import ModelCard
from watchline.detectors.quantize_graph import name_nodes
from watchline.detectors.runtime import load_onnxruntime, reason_of
from watchline.streams.errors import ModelError, UsageError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

_MADE: Final = "watchline.quantized"  # in the metadata: how it was made smaller
_FREE_CONSTANTS: Final = 4  # the first version of the format whose constants need not be listed as inputs
_OPSET: Final = 13  # the first with scales a channel, and with bfloat16


def prepared(path: Path) -> ModelProto:
    """Returns the network with constants and normalizations folded, its nodes named and its tensors' types known.

    Raises:
        ModelError: it cannot be read or run.
        UsageError: it was made by `signed`.
    """
    import onnx
    from onnx import version_converter

    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="watchline-") as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            model = onnx.load(path)
            _refuse_made(model, path)
            _take_constants_from_inputs(model.graph)
            model.ir_version = max(model.ir_version, _FREE_CONSTANTS)
            ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            model = onnx.load(options.optimized_model_filepath)
            opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
            if opset < _OPSET:
                model = version_converter.convert_version(model, _OPSET)
            model = onnx.shape_inference.infer_shapes(model)
        except UsageError:
            raise
        except Exception as error:  # neither library's errors share a base class
            raise ModelError(f"{path.name}: cannot be prepared for quantization: {reason_of(error)}") from error
    name_nodes(model.graph)
    return model


def _refuse_made(model: ModelProto, path: Path) -> None:
    how = next((entry.value for entry in model.metadata_props if entry.key == _MADE), "")
    if how:
        raise UsageError(f"{path.name}: is quantized already ({how}); give the float model that it was made from")


def _take_constants_from_inputs(graph: GraphProto) -> None:
    """Leaves constants out of the inputs: those that a caller might replace, no one folds."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)


def signed(model: ModelProto, card: ModelCard, how: str) -> bytes:
    """Returns the bytes of `model` with `card` as its metadata and `how` it was made, without shapes inside."""
    del model.metadata_props[:]
    for key, value in {**card.to_metadata(), _MADE: how}.items():
        model.metadata_props.add(key=key, value=value)
    del model.graph.value_info[:]
    data: bytes = model.SerializeToString(deterministic=True)
    return data
