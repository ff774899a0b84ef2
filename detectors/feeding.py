"""Feeding: a frame into a network's input, in the colours and numbers that its card asks for."""

from __future__ import annotations

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.letterbox import Letterbox
from watchline.streams.frame import U8


def feed(rgb: U8, letterbox: Letterbox, card: ModelCard, out: F32, resized: U8 | None = None) -> None:
    """Writes the frame `rgb` (H, W, 3) uint8 into `out` (3, height, width) float32, overwritten whole.

    `resized` is room to work in, of the size that the picture has in the input; fresh memory for each costs time.

    RGB / 255, what nearly all networks want, is one native pass; other numbers take NumPy two or three.

    >>> card = ModelCard("yolox", "detect", ("a",), (1,), colour="bgr", scale=1.0, placement="corner")
    >>> out = np.empty((3, 1, 2), np.float32)
    >>> box = Letterbox.fit(1, 1, 1, 2, stride=1, rectangular=False, centred=False)
    >>> feed(np.array([[[10, 20, 30]]], np.uint8), box, card, out)
    >>> out[:, 0].tolist()
    [[30.0, 114.0], [20.0, 114.0], [10.0, 114.0]]
    """
    if (card.colour, card.scale, card.shift) == ("rgb", 255.0, 0.0):
        letterbox.apply(rgb, out, card.pad, resized)
        return
    pixels = letterbox.resize(rgb, resized).transpose(2, 0, 1)
    out.fill((card.pad - card.shift) / card.scale)
    place = out[:, letterbox.top :, letterbox.left :][:, : letterbox.resized_height, : letterbox.resized_width]
    np.copyto(place, pixels[::-1] if card.colour == "bgr" else pixels)
    if card.shift:
        place -= np.float32(card.shift)
    if card.scale != 1:
        place /= np.float32(card.scale)
