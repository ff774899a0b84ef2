"""What an imported network answers, beside what its authors' code answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from watchline.detectors.importer.checkpoint import Checkpoint
from watchline.detectors.importer.head import Head
from watchline.detectors.importer.network import build
from watchline.detectors.importer.selfcheck import check


@dataclass(frozen=True)
class Difference:
    """The largest differences of two answers: pixels of boxes and points, scores, and masks."""

    box_px: float
    score: float
    point_px: float
    mask: float


def difference(checkpoint: Path, numbers: Path, size: tuple[int, int] | None) -> Difference:
    """Returns by how much our network differs from the authors'; `size` as in `build`."""
    expected = np.load(numbers)
    with Checkpoint(checkpoint) as opened:
        network = build(opened, size)
    model = network.onnx(network.card)
    check(model, network.card, network.head, size)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    pictures = expected["pictures"].astype(np.float32) / 255
    found = session.run(None, {"images": pictures})
    assert len(found) == len([name for name in expected if name.startswith("answer")])
    mask = float(np.abs(found[1] - expected["answer1"]).max()) if network.head.masks else 0.0
    return _split(network.head, found[0], expected["answer0"], mask)


def _split(head: Head, found: NDArray[np.float32], expected: NDArray[np.float32], mask: float) -> Difference:
    assert found.shape == expected.shape
    gap = np.abs(found - expected)
    gap = gap if head.anchors else gap.transpose(0, 2, 1)
    points, values = head.keypoints
    marks = gap[..., head.points].reshape(*gap.shape[:2], points, values) if points else gap[..., :0]
    score = float(gap[..., head.scores].max())
    if points and values == 3:
        score = max(score, float(marks[..., 2].max()))
    if head.masks:
        mask = max(mask, float(gap[..., -head.masks :].max()))
    return Difference(float(gap[..., :4].max()), score, float(marks[..., :2].max(initial=0)), mask)
