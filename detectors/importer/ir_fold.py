"""Works out what an OpenVINO network computes from constants alone: unpacked weights, and sizes of its maps.

Source: the OpenVINO documentation, "Operation Sets".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.importer.ir import Layer

Array: TypeAlias = NDArray[Any]
Fold: TypeAlias = Callable[[Layer, Sequence[Array]], Array]

_MAX_NUMBERS: Final = 1 << 28
_DTYPES: Final[Mapping[str, type[np.generic]]] = {
    "f16": np.float32,  # for less rounding than the network asks for
    "f32": np.float32,
    "f64": np.float64,
    "i8": np.int8,
    "u8": np.uint8,
    "i32": np.int32,
    "i64": np.int64,
    "boolean": np.bool_,
}


class FoldError(ValueError):
    """A layer is not as its operation is defined, or larger than any real one."""


def expect_plain(layer: Layer) -> None:
    """Checks that the layer stretches its inputs to one shape as NumPy does, if at all.

    Raises:
        FoldError: it does not.
    """
    if layer.attributes.get("auto_broadcast", "numpy") not in ("numpy", "none"):
        raise FoldError("it does not broadcast as NumPy does")


def number(array: Array) -> int:
    """Returns the one whole number in `array`.

    Raises:
        FoldError: it holds anything else.
    """
    if array.size != 1 or array.dtype.kind not in "iu":
        raise FoldError("an input is not one whole number")
    return int(array.reshape(-1)[0])


def convert(layer: Layer, inputs: Sequence[Array]) -> Array:
    """Returns the numbers in another type."""
    kind = layer.attributes.get("destination_type", "")
    if kind not in _DTYPES:
        raise FoldError(f"it converts to {kind[:20]!a}")
    return inputs[0].astype(_DTYPES[kind])


def fake_quantize(layer: Layer, inputs: Sequence[Array]) -> Array:
    """Returns weights as they come out of their few levels."""
    expect_plain(layer)
    x, low, high, to_low, to_high = (array.astype(np.float64) for array in inputs)
    levels = layer.attributes.get("levels", "")
    if not levels.isdecimal() or not 2 <= int(levels) <= 65536 or not (high > low).all():
        raise FoldError("its levels make no sense")
    _expect_fits(inputs)
    steps = int(levels) - 1
    step = np.rint((np.clip(x, low, high) - low) / (high - low) * steps)
    return np.asarray(step / steps * (to_high - to_low) + to_low, np.float32)


def gather(layer: Layer, inputs: Sequence[Array]) -> Array:
    """Returns entries of an array along one axis."""
    if layer.attributes.get("batch_dims", "0") != "0":
        raise FoldError("it gathers by batch")
    _expect_fits([np.empty((1,) * inputs[0].ndim), inputs[0]], inputs[1].size)
    return np.take(inputs[0], inputs[1], axis=number(inputs[2]))


def reshape(layer: Layer, inputs: Sequence[Array]) -> Array:
    """Returns the numbers in another shape: 0 keeps a size, -1 is what remains."""
    array, sides = inputs[0], [int(side) for side in inputs[1].reshape(-1)]
    if layer.attributes.get("special_zero") == "true":
        sides = [array.shape[i] if side == 0 else side for i, side in enumerate(sides)]
    return array.reshape(sides)


def _elementwise(operation: Callable[..., Any]) -> Fold:
    def fold(layer: Layer, inputs: Sequence[Array]) -> Array:
        expect_plain(layer)
        _expect_fits(inputs)
        return np.asarray(operation(*inputs))

    return fold


def _divide(layer: Layer, inputs: Sequence[Array]) -> Array:
    expect_plain(layer)
    _expect_fits(inputs)
    if inputs[0].dtype.kind == "f":
        return np.asarray(inputs[0] / inputs[1])
    if not inputs[1].all():
        raise FoldError("it divides by zero")
    if layer.attributes.get("m_pythondiv", "true") == "true":
        return np.asarray(inputs[0] // inputs[1])
    return np.asarray(np.trunc(inputs[0] / inputs[1]).astype(inputs[0].dtype))


def _mod(layer: Layer, inputs: Sequence[Array]) -> Array:
    expect_plain(layer)
    _expect_fits(inputs)
    if inputs[0].dtype.kind not in "iu" or not inputs[1].all():
        raise FoldError("it divides by zero, or not whole numbers")
    return np.asarray(np.fmod(*inputs))


def _concat(layer: Layer, inputs: Sequence[Array]) -> Array:
    if sum(array.size for array in inputs) > _MAX_NUMBERS:
        raise FoldError("it is larger than any real one")
    return np.concatenate(inputs, axis=int(layer.attributes.get("axis", "")))


def _expect_fits(inputs: Sequence[Array], times: int = 1) -> None:
    """Refuses a result of more numbers than any real network has: small constants can be stretched without end."""
    if times * math.prod(np.broadcast_shapes(*(array.shape for array in inputs))) > _MAX_NUMBERS:
        raise FoldError("it is larger than any real one")


FOLDS: Final[Mapping[str, Fold]] = {
    "Add": _elementwise(np.add),
    "Concat": _concat,
    "Convert": convert,
    "Divide": _divide,
    "FakeQuantize": fake_quantize,
    "Gather": gather,
    "Greater": _elementwise(np.greater),
    "Mod": _mod,
    "Multiply": _elementwise(np.multiply),
    "Reshape": reshape,
    "Squeeze": lambda _, inputs: np.squeeze(inputs[0], tuple(int(n) for n in inputs[1].reshape(-1))),
    "Subtract": _elementwise(np.subtract),
    "Transpose": lambda _, inputs: np.transpose(inputs[0], [int(n) for n in inputs[1]]),
    "Unsqueeze": lambda _, inputs: np.expand_dims(inputs[0], tuple(int(n) for n in inputs[1].reshape(-1))),
}
