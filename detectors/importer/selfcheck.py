"""Runs a freshly written network once, before anything relies on it."""

from __future__ import annotations

from typing import Final

import numpy as np

from watchline.detectors.card import ModelCard
from watchline.detectors.runtime import load_onnxruntime
from watchline.streams.errors import ModelError

_SEED: Final = 20
_GREY: Final = 114 / 255


def check(model: bytes, card: ModelCard, size: tuple[int, int] | None) -> None:
    """Checks that the network is sound ONNX and answers a grey and a noisy picture with sane boxes and scores.

    Args:
        model: serialised ONNX, input (batch, 3, height, width), output (batch, 4 + classes, anchors).
        card: what it is.
        size: height and width in pixels that its input is fixed to, None for any.

    Raises:
        ModelError: it is not, or does not.
    """
    import onnx

    onnxruntime = load_onnxruntime()
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Two small pictures do not pay for the optimiser's time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    height, width = size or (2 * max(card.strides), 3 * max(card.strides))
    noise = np.random.default_rng(_SEED).random((1, 3, height, width), np.float32)
    expected = (1, 4 + len(card.labels), sum((height // s) * (width // s) for s in card.strides))
    for name, picture in (("grey", np.full_like(noise, _GREY)), ("noisy", noise)):
        (answer,) = session.run(None, {"images": picture})
        if answer.shape != expected:
            raise ModelError(f"self-check: its answer has shape {answer.shape}, expected {expected}")
        if not np.isfinite(answer).all():
            raise ModelError(f"self-check: it answers a {name} picture with infinite or undefined numbers")
        scores = answer[:, 4:]
        if scores.min() < 0 or scores.max() > 1:
            raise ModelError(f"self-check: its scores for a {name} picture leave 0 to 1")
