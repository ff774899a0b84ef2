"""Runs a freshly written network once, before anything relies on it."""

from __future__ import annotations

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
    """Checks that the network is sound ONNX and answers a grey and a noisy picture with sane boxes and scores.

    Args:
        model: serialised ONNX, input (batch, channels, height, width).
        card: what it is.
        head: what it answers.
        size: height and width in pixels that its input is fixed to, None for any.
        batch: how many pictures its input is fixed to, 0 for any.

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
    channels = session.get_inputs()[0].shape[1]
    noise = np.random.default_rng(_SEED).random((batch or 1, channels, height, width), np.float32)
    for name, picture in (("grey", np.full_like(noise, _GREY)), ("noisy", noise)):
        answers = session.run(None, {"images": picture})
        for answer, shape in zip(answers, head.shapes(height, width), strict=True):
            if answer.shape != (len(noise), *shape):
                raise ModelError(f"self-check: its answer has shape {answer.shape}, expected {(len(noise), *shape)}")
            if not np.isfinite(answer).all():
                raise ModelError(f"self-check: it answers a {name} picture with infinite or undefined numbers")
        if not head.raw:  # whose numbers may be any
            _check_rows(answers[0][0] if head.anchors else answers[0][0].T, head, name)


def _check_rows(rows: NDArray[np.float32], head: Head, name: str) -> None:
    """Checks boxes (anchors, channels): sizes are not negative where that is kept, scores lie in [0, 1]."""
    if not head.unbounded and rows[:, 2:4].min() < 0:
        raise ModelError(f"self-check: its boxes for a {name} picture are smaller than nothing")
    certain = [rows[:, head.scores]]
    if head.keypoints[1] == _WITH_SCORE:
        certain.append(rows[:, head.points][:, 2::3])
    if any(scores.min() < 0 or scores.max() > 1 for scores in certain):
        raise ModelError(f"self-check: its scores for a {name} picture leave 0 to 1")
