from __future__ import annotations

import numpy as np
import pytest

from watchline.detectors.boxes import F32
from watchline.detectors.masks import GRID, paint, run_lengths, sample


def disc(side: int, centre: float, radius: float) -> F32:
    """How far inside a disc each cell of a prototype lies, in cells."""
    rows, columns = np.mgrid[:side, :side] + 0.5
    return np.asarray(radius - np.hypot(columns - centre, rows - centre), np.float32)


def test_a_disc_comes_back_as_a_disc_in_the_pixels_of_its_box() -> None:
    prototypes = disc(40, 20, 10)[None]  # a cell is 4 pixels of a 160x160 input
    box = np.array([[40, 40, 120, 120]], np.float32)
    (mask,) = sample(np.array([[8]], np.float32), prototypes, box, (160, 160))
    left, top, inside = paint(mask, box[0], 160, 160)
    rows, columns = np.mgrid[:80, :80] + 0.5
    want = np.hypot(columns - 40, rows - 40) <= 40
    assert (left, top, inside.shape) == (40, 40, (80, 80))
    assert (inside & want).sum() / (inside | want).sum() > 0.98


def test_the_part_of_a_mask_that_a_smaller_box_shows_is_the_same_part() -> None:
    prototypes = disc(40, 20, 10)[None]
    boxes = np.array([[40, 40, 120, 120], [80, 40, 120, 80]], np.float32)
    whole, part = sample(np.full((2, 1), 8, np.float32), prototypes, boxes, (160, 160))
    _, _, inside = paint(whole, boxes[0], 160, 160)
    _, _, corner = paint(part, boxes[1], 160, 160)
    assert (inside[:40, 40:] == corner).mean() > 0.98


def test_prototypes_are_weighted() -> None:
    prototypes = np.stack([np.full((4, 4), 3, np.float32), np.full((4, 4), 2, np.float32)])
    weights = np.array([[1, -1], [-1, 1]], np.float32)
    masks = sample(weights, prototypes, np.array([[0, 0, 8, 8], [0, 0, 8, 8]], np.float32), (16, 16))
    assert masks[:, 0, 0].tolist() == [round(255 / (1 + np.exp(-1))), round(255 / (1 + np.exp(1)))]
    assert masks.shape == (2, GRID, GRID)


def test_no_boxes_have_no_masks() -> None:
    masks = sample(np.empty((0, 1), np.float32), np.zeros((1, 4, 4), np.float32), np.empty((0, 4), np.float32), (8, 8))
    assert masks.shape == (0, GRID, GRID)


def test_boxes_at_the_border_and_thin_ones_do_no_harm() -> None:
    prototypes = np.ones((1, 4, 4), np.float32)
    boxes = np.array([[0, 0, 16, 16], [15.9, 15.9, 16, 16], [0, 3, 16, 3.01]], np.float32)
    masks = sample(np.full((3, 1), 9, np.float32), prototypes, boxes, (16, 16))
    assert (masks == 255).all()
    shapes = [paint(mask, box, 16, 16)[2].shape for mask, box in zip(masks, boxes, strict=True)]
    assert shapes == [(16, 16), (0, 0), (0, 16)]


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_are_those_of_counting_every_pixel(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = (int(n) for n in random.integers(1, 9, 2))
    top, left = int(random.integers(0, height)), int(random.integers(0, width))
    inside = random.random((random.integers(0, height - top + 1), random.integers(0, width - left + 1))) < 0.6
    frame = np.zeros((height, width), bool)
    frame[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    want, now = [0], False
    for pixel in frame.T.ravel():
        if pixel != now:
            want.append(0)
            now = bool(pixel)
        want[-1] += 1
    assert run_lengths(left, top, inside, height, width) == want
