from __future__ import annotations

import numpy as np
import pytest

from watchline.detectors.card import ModelCard
from watchline.detectors.feeding import feed
from watchline.detectors.letterbox import Letterbox


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 255.0), (0.0, 1.0), (127.5, 128.0)])
@pytest.mark.parametrize("placement", ["centre", "corner"])
def test_every_pixel_and_the_pad_are_as_the_card_says(colour: str, shift: float, scale: float, placement: str) -> None:
    card = ModelCard("x", "detect", ("a",), (8,), colour, scale, 7, shift=shift, placement=placement)
    rgb = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    box = Letterbox.fit(10, 20, 32, 20, rectangular=False, centred=placement == "centre")
    out = np.full((3, 32, 20), np.nan, np.float32)
    feed(rgb, box, card, out)
    top = 11 if placement == "centre" else 0
    want = np.full((32, 20, 3), 7.0)
    want[top : top + 10] = rgb[..., ::-1] if colour == "bgr" else rgb
    assert np.allclose(out, ((want - shift) / scale).transpose(2, 0, 1), atol=1e-5)


def test_a_picture_in_the_corner_goes_back_to_the_same_frame_pixels() -> None:
    box = Letterbox.fit(720, 1280, 416, 416, rectangular=False, centred=False)
    assert (box.top, box.left, box.height, box.width) == (0, 0, 416, 416)
    boxes = np.array([[100, 50, 900, 700]], np.float32)
    assert np.allclose(box.to_frame(box.to_input(boxes)), boxes, atol=1e-3)
    assert np.allclose(box.points_to_frame(box.to_input(boxes)[:, :2]), boxes[:, :2], atol=1e-3)


def test_points_outside_the_frame_stay_where_they_are() -> None:
    box = Letterbox.fit(720, 1280, 640, 640)
    assert box.points_to_frame(np.array([[0, 0]], np.float32)).tolist() == [[0, -24]]
