"""Runs a freshly written network once, before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.card import ModelCard
from watchline.detectors.importer.head import Head
from watchline.detectors.runtime import load_onnxruntime
from watchline.streams.errors import ModelError

_SEED: Final = 20
_GREY: Final = 114 / 255
_WITH_SCORE: Final = 3  # values a keypoint


def check(model: bytes, card: ModelCard, head: Head, size: tuple[int, int] | None, batch: int = 0) -> None:
    """Checks that the network is sound ONNX and gives sane boxes, scores or features for a grey and a noisy picture.

    Args:
        model: serialised ONNX, input (batch, channels, height, width).
        card: what it is.
        head: what it answers.
        size: height and width in pixels that its input is fixed to, None for any.
        batch: how many pictures its input is fixed to, 0 for any.

    Raises:
        ModelError: it is not, or does not.
    """
    size = size or (2 * max(card.strides), 3 * max(card.strides))
    first = []
    shapes = [(batch or 1, *shape) for shape in head.shapes(*size)]
    for name, answers in _answers(model, shapes, size, batch).items():
        first.append(answers[0][0])
        if not head.features and not head.raw:  # whose numbers may be any
            _check_rows(first[-1] if head.anchors else first[-1].T, head, name)
    if head.features and np.array_equal(first[0], first[1]):
        raise ModelError("self-check: it answers a grey and a noisy picture with the same features")


def check_shapes(
    model: bytes, shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Checks that the network is sound ONNX and gives finite numbers of these shapes for a grey and a noisy picture.

    Args:
        model: serialised ONNX, input (batch, channels, height, width).
        shapes: of each output, by name, in the network's order.
        size: height and width of its input, pixels.

    Returns:
        What it answers for the grey picture, by name.

    Raises:
        ModelError: it is not, or does not.
    """
    return dict(zip(shapes, _answers(model, list(shapes.values()), size)["grey"], strict=True))


def _answers(
    model: bytes, shapes: Sequence[tuple[int, ...]], size: tuple[int, int], batch: int = 0
) -> dict[str, list[NDArray[np.float32]]]:
    """Returns the answers to a "grey" and a "noisy" picture, which have these shapes and are finite."""
    import onnx

    onnxruntime = load_onnxruntime()
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Two small pictures do not pay for the optimiser's time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    channels = session.get_inputs()[0].shape[1]
    noise = np.random.default_rng(_SEED).random((batch or 1, channels, *size), np.float32)
    found = {}
    for name, picture in (("grey", np.full_like(noise, _GREY)), ("noisy", noise)):
        found[name] = answers = session.run(None, {"images": picture})
        for answer, shape in zip(answers, shapes, strict=True):
            if answer.shape != shape:
                raise ModelError(f"self-check: its answer has shape {answer.shape}, expected {shape}")
            if not np.isfinite(answer).all():
                raise ModelError(f"self-check: it answers a {name} picture with infinite or undefined numbers")
    return found


def _check_rows(rows: NDArray[np.float32], head: Head, name: str) -> None:
    """Checks boxes (anchors, channels): sizes are not negative where that is kept, scores lie in [0, 1]."""
    if not head.unbounded and rows[:, 2:4].min() < 0:
        raise ModelError(f"self-check: its boxes for a {name} picture are smaller than nothing")
    certain = [rows[:, head.scores]]
    if head.keypoints[1] == _WITH_SCORE:
        certain.append(rows[:, head.points][:, 2::3])
    if any(scores.min() < 0 or scores.max() > 1 for scores in certain):
        raise ModelError(f"self-check: its scores for a {name} picture leave 0 to 1")
