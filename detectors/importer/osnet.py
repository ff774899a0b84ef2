"""OSNet: re-identifies people; written from the weights alone, which is all that its checkpoints hold.

Three published forms are known, told apart by the names of their weights: the first one; "ibn", which has instance
normalisation at its start; and "ain", which has it where a search put it. All widths are one program: the channels are
read off the shapes.

Source: torchreid, models/osnet.py and models/osnet_ain.py; Zhou et al., "Omni-Scale Feature Learning for Person
Re-Identification" (2019) and "Learning Generalisable Omni-Scale Representations for Person Re-Identification" (2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchline.detectors.card import ModelCard
from watchline.detectors.importer.checkpoint import Checkpoint, Numbers
from watchline.detectors.importer.graph import Graph, ShapeError, Value, Window
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.state_dict import StateDict

_SIZE: Final = (256, 128)  # of a person's picture, as in training
_STRIDE: Final = 16  # four halvings
_EPSILON: Final = 1e-5  # torch's own, in all its normalisations
# Of red, green and blue in [0, 1], over ImageNet.
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)
_CLASSIFIER: Final = ("classifier.weight", "classifier.bias")  # which of the people of its training a person is
_BRANCHES: Final = "abcd"  # one to four convolutions deep
_REDUCTION: Final = 4  # channels of a block, by those of its branches
_GATE_REDUCTION: Final = 16


@dataclass(frozen=True, slots=True)
class _Form:
    """How a form names its weights, and where it normalises each picture by itself.

    Attributes:
        mark: a weight that this form has and those after it have not.
        branch: name of convolution `step` of branch `index`, below its block.
        narrow: name of what narrows a stage, below the network.
        instance: blocks with instance normalisation.
        start: whether the first convolution has it too.
        inside: whether it comes before the shortcut is added, in place of the batch's; else it comes after.
    """

    mark: str
    branch: Callable[[int, int], str]
    narrow: Callable[[int], str]
    instance: frozenset[str] = frozenset()
    start: bool = False
    inside: bool = False


def _branch(index: int, step: int) -> str:
    return f"conv2{_BRANCHES[index]}" + (f".{step}" if index else "")


_FORMS: Final = (
    _Form(
        "pool2.0.conv.weight",
        lambda index, step: f"conv2.{index}.layers.{step}",
        lambda stage: f"pool{stage}.0",
        frozenset(("conv2.0", "conv2.1", "conv3.1", "conv4.0")),
        start=True,
        inside=True,
    ),
    _Form(
        "conv2.0.IN.weight", _branch, lambda stage: f"conv{stage}.2.0", frozenset(("conv2.0", "conv2.1")), start=True
    ),
    _Form("conv2.2.0.conv.weight", _branch, lambda stage: f"conv{stage}.2.0"),
)


def weights_of(checkpoint: Checkpoint) -> StateDict | None:
    """Returns the weights in `checkpoint` where they are an OSNet's by their names, else None."""
    weights = StateDict.of(checkpoint)
    return weights if weights and any(form.mark in weights for form in _FORMS) else None


def count_weights(weights: StateDict) -> int:
    """Returns how many trained numbers the network has, without its classifier, which is of no use after training."""
    return weights.parameters(*_CLASSIFIER)


def build_osnet(weights: StateDict, size: tuple[int, int] | None, batch: int = 0) -> tuple[Graph, Head, ModelCard]:
    """Returns an OSNet as ONNX graph, what it answers, and its card.

    Its input is RGB in [0, 1], as of all networks here; the means and deviations that it was trained with are its first
    two nodes. (They cannot be folded into the first convolution, whose zero padding comes after them.) Its output
    "features" (batch, 512) is what its own program gives in use, before any scaling to unit length.

    Args:
        weights: by name; read whole.
        size: height and width in pixels to fix the input to; None takes 256x128, which it was trained with.
        batch: pictures a call to fix the input to, 0 for any.

    Raises:
        ModelError: a weight is missing, unknown, or of another shape.
    """
    form = next(form for form in _FORMS if form.mark in weights)
    size = size or _SIZE
    if any(side % _STRIDE for side in size):
        raise weights.refusal(f"size {size[0]}x{size[1]} is not a multiple of {_STRIDE}")
    graph = Graph(size, batch=batch)
    weights.ignore("num_batches_tracked", *_CLASSIFIER)
    try:
        features = _Writer(graph, weights, form).network()
    except ShapeError as error:
        raise weights.refusal(str(error)) from error
    weights.expect_all_read()
    card = ModelCard("osnet", "embed", (), (_STRIDE,), placement="stretch")
    return graph, Head(0, (_STRIDE,), features=features), card


class _Writer:
    """Writes one OSNet into a graph."""

    def __init__(self, graph: Graph, weights: StateDict, form: _Form) -> None:
        self._graph = graph
        self._weights = weights
        self._form = form

    def network(self) -> int:
        """Adds everything and returns how many features come out."""
        x = self._start()
        x = self._graph.max_pool(x, Window(3, 2, 1), "maxpool")
        for stage in (2, 3, 4):
            for number in (0, 1):
                x = self._block(x, f"conv{stage}.{number}")
            if stage < 4:
                x = self._convolution(x, self._form.narrow(stage))
                x = self._half(x, f"pool{stage}")
        return self._features(self._convolution(x, "conv5"))

    def _start(self) -> Value:
        """Adds the normalisation of the picture and the first convolution."""
        x = self._graph.image()
        for operation, numbers in (("Sub", _MEAN), ("Div", _DEVIATION)):
            name = f"images.{operation.lower()}"
            values = self._graph.constant(np.array(numbers, np.float32).reshape(3, 1, 1), name + ".channels")
            x = Value(self._graph.node(operation, [x.name, values], name), x.channels, x.stride)
        outputs = self._channels("conv1.conv.weight")
        weight = self._weights.numbers("conv1.conv.weight", (outputs, 3, 7, 7))
        if not self._form.start:
            return self._relu(self._convolved(x, weight, "conv1", Window(7, 2, 3)))
        x = self._graph.conv(x, weight, np.zeros(outputs), Window(7, 2, 3), "conv1")
        return self._relu(self._instance(x, "conv1.bn"))

    def _block(self, x: Value, name: str) -> Value:
        """Adds one block: four branches of growing reach, weighed by one gate that they share, and a shortcut."""
        outputs = self._channels(f"{name}.conv3.conv.weight")
        middle, rest = divmod(outputs, _REDUCTION)
        if rest:
            raise ShapeError(f"{name} has {outputs} channels, not a multiple of {_REDUCTION}")
        start = self._convolution(x, f"{name}.conv1", middle)
        gate = self._gate(f"{name}.gate", middle)
        total = None
        for index in range(len(_BRANCHES)):
            branch = start
            for step in range(index + 1):
                branch = self._light(branch, f"{name}.{self._form.branch(index, step)}")
            branch = gate(branch)
            total = self._graph.add(total, branch, f"{name}.sum{index}") if total else branch
        assert total
        normal = name not in self._form.instance
        weight = self._weights.numbers(f"{name}.conv3.conv.weight", (outputs, middle, 1, 1))
        if normal or not self._form.inside:
            y = self._convolved(total, weight, f"{name}.conv3", Window(1))
        else:
            y = self._graph.conv(total, weight, np.zeros(outputs), Window(1), f"{name}.conv3")
            y = self._instance(y, f"{name}.IN")
        if x.channels != outputs:
            shortcut = self._weights.numbers(f"{name}.downsample.conv.weight", (outputs, x.channels, 1, 1))
            x = self._convolved(x, shortcut, f"{name}.downsample", Window(1))
        y = self._graph.add(y, x, f"{name}.add")
        if not normal and not self._form.inside:
            y = self._instance(y, f"{name}.IN")
        return self._relu(y)

    def _light(self, x: Value, name: str) -> Value:
        """Adds a convolution in two parts: all channels of each cell, then the neighbours in each channel."""
        n = x.channels
        pointwise = self._weights.numbers(f"{name}.conv1.weight", (n, n, 1, 1))
        x = self._graph.conv(x, pointwise, np.zeros(n), Window(1), f"{name}.conv1")
        depthwise = self._weights.numbers(f"{name}.conv2.weight", (n, 1, 3, 3))
        return self._relu(self._convolved(x, depthwise, name, Window(3, 1, 1)))

    def _gate(self, name: str, channels: int) -> Callable[[Value], Value]:
        """Returns what adds the weighing of a map's channels by their means; all its uses share their weights."""
        inner = channels // _GATE_REDUCTION
        if not inner:
            raise ShapeError(f"{name} has {channels} channels, fewer than {_GATE_REDUCTION}")
        arrays = {
            "fc1.weight": (inner, channels, 1, 1),
            "fc1.bias": (inner,),
            "fc2.weight": (channels, inner, 1, 1),
            "fc2.bias": (channels,),
        }
        for part, shape in arrays.items():
            values = self._weights.numbers(f"{name}.{part}", shape)
            self._graph.constant(values.astype(np.float32), f"{name}.{part}")

        def weigh(x: Value) -> Value:
            node, base = self._graph.node, f"{x.name}.gate"
            y = node("GlobalAveragePool", [x.name], base + ".mean")
            y = node("Conv", [y, f"{name}.fc1.weight", f"{name}.fc1.bias"], base + ".fc1")
            y = node("Relu", [y], base + ".relu")
            y = node("Conv", [y, f"{name}.fc2.weight", f"{name}.fc2.bias"], base + ".fc2")
            y = node("Sigmoid", [y], base + ".sigmoid")
            return Value(node("Mul", [x.name, y], base), x.channels, x.stride)

        return weigh

    def _features(self, x: Value) -> int:
        """Adds the mean over the picture and the layer that makes features of it; returns how many."""
        node, count = self._graph.node, self._channels("fc.0.weight")
        weight = self._weights.numbers("fc.0.weight", (count, x.channels))
        bias = self._weights.numbers("fc.0.bias", (count,))
        scale, shift = self._normalisation("fc.1", count)
        parts = [
            self._graph.constant((weight * scale[:, None]).astype(np.float32), "fc.weight"),
            self._graph.constant((bias * scale + shift).astype(np.float32), "fc.bias"),
        ]
        mean = node("GlobalAveragePool", [x.name], "mean")
        flat = node("Flatten", [mean], "flat", {"axis": 1})
        node("Relu", [node("Gemm", [flat, *parts], "fc", {"transB": 1})], "features")
        self._graph.output("features", ("batch", count))
        return count

    def _convolution(self, x: Value, name: str, outputs: int = 0) -> Value:
        """Adds a 1x1 convolution with its normalisation, cut off below zero; 0 outputs: as many as it has."""
        outputs = outputs or self._channels(f"{name}.conv.weight")
        weight = self._weights.numbers(f"{name}.conv.weight", (outputs, x.channels, 1, 1))
        return self._relu(self._convolved(x, weight, name, Window(1)))

    def _convolved(self, x: Value, weight: Numbers, name: str, window: Window) -> Value:
        """Adds a convolution of these weights with the batch normalisation `name`.bn folded into it."""
        scale, shift = self._normalisation(f"{name}.bn", len(weight))
        return self._graph.conv(x, weight * scale[:, None, None, None], shift, window, name)

    def _normalisation(self, name: str, channels: int) -> tuple[Numbers, Numbers]:
        """Returns a batch normalisation as factors and offsets, (channels,) each: y = factor * x + offset."""
        parts = ("weight", "bias", "running_mean", "running_var")
        factor, offset, mean, variance = (self._weights.numbers(f"{name}.{part}", (channels,)) for part in parts)
        if not (variance + _EPSILON > 0).all():
            raise self._weights.refusal(f"weight {name}.running_var is not positive")
        factor = factor / np.sqrt(variance + _EPSILON)
        return factor, offset - mean * factor

    def _instance(self, x: Value, name: str) -> Value:
        """Adds a normalisation of each channel of each picture by its own mean and deviation."""
        parts = [
            self._graph.constant(self._weights.numbers(part, (x.channels,)).astype(np.float32), part)
            for part in (f"{name}.weight", f"{name}.bias")
        ]
        self._graph.node("InstanceNormalization", [x.name, *parts], name, {"epsilon": _EPSILON})
        return Value(name, x.channels, x.stride)

    def _half(self, x: Value, name: str) -> Value:
        """Adds the mean of every two by two cells."""
        self._graph.node("AveragePool", [x.name], name, {"kernel_shape": [2, 2], "strides": [2, 2]})
        return Value(name, x.channels, x.stride * 2)

    def _relu(self, x: Value) -> Value:
        return self._graph.activation("Relu", x)

    def _channels(self, name: str) -> int:
        """Returns how many channels come out of weight `name`."""
        shape = self._weights.shape(name)
        if not shape or not shape[0]:
            raise self._weights.refusal(f"weight {name} has shape {shape}")
        return shape[0]
