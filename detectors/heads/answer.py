"""Answer: what a network gave for one picture, with what is needed to read it."""

from __future__ import annotations

from dataclasses import dataclass

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a network gave for one picture, with what is needed to read it.

    Attributes:
        outputs: those that `card.outputs` names, in its order, without a batch dimension; float32.
        card: what the network is.
        size: height and width of its input, pixels.
    """

    outputs: tuple[F32, ...]
    card: ModelCard
    size: tuple[int, int]
