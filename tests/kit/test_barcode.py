"""The barcode must name the right frame or none, at every size and after lossy coding."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit import barcode

NUMBERS = st.integers(0, (1 << barcode.NUMBER_BITS) - 1)
WIDTHS, HEIGHTS = st.integers(160, 1000), st.integers(120, 800)
BLOCKS = barcode.ROWS * barcode.COLUMNS


def numbered(number: int, width: int = 320, height: int = 240) -> barcode.U8:
    picture = np.full((height, width), 128, np.uint8)
    barcode.draw(picture, number)
    return picture


def block(picture: barcode.U8, index: int) -> barcode.U8:
    """Returns the pixels of one block, to be changed in place; the picture is 320x240."""
    row, column = divmod(index, barcode.COLUMNS)
    return picture[row * 20 : row * 20 + 20, column * 16 : column * 16 + 16]


@settings(deadline=None)
@given(NUMBERS, WIDTHS, HEIGHTS)
def test_what_is_drawn_is_read_at_any_size(number: int, width: int, height: int) -> None:
    assert barcode.read(numbered(number, width, height)) == number
    rgb = np.full((height, width, 3), 90, np.uint8)
    barcode.draw(rgb, number)
    assert barcode.read(rgb) == number


@settings(deadline=None)
@given(NUMBERS, WIDTHS, HEIGHTS, st.integers(15, 90))
def test_it_survives_scaling_and_coarse_jpeg(number: int, width: int, height: int, quality: int) -> None:
    scaled = cv2.resize(numbered(number, 640, 480), (width, height), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", scaled, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    assert barcode.read(decoded.astype(np.uint8)) == number


@settings(deadline=None)
@given(NUMBERS, st.sets(st.integers(0, BLOCKS - 1), min_size=1, max_size=3))
def test_up_to_three_wrong_blocks_are_always_seen(number: int, wrong: set[int]) -> None:
    picture = numbered(number)
    for index in wrong:
        block(picture, index)[:] = 255 - block(picture, index)
    assert barcode.read(picture) is None


@settings(deadline=None)
@given(NUMBERS, st.integers(0, BLOCKS - 2), st.integers(2, 16), st.booleans())
def test_a_run_painted_over_is_never_another_number(number: int, start: int, length: int, light: bool) -> None:
    picture = numbered(number)
    for index in range(start, min(start + length, BLOCKS)):
        block(picture, index)[:] = 235 if light else 16
    assert barcode.read(picture) in (None, number)


@settings(deadline=None)
@given(st.integers(0, 255))
def test_a_plain_picture_has_no_number(level: int) -> None:
    assert barcode.read(np.full((240, 320), level, np.uint8)) is None


def test_noise_and_small_pictures_have_no_number() -> None:
    noise = np.random.default_rng(0)
    assert all(barcode.read(noise.integers(0, 256, (120, 160), np.uint8)) is None for _ in range(2000))
    assert barcode.read(np.zeros((90, 160), np.uint8)) is None


def test_random_black_and_white_blocks_pass_once_in_65536() -> None:
    random = np.random.default_rng(0)
    read = 0
    for _ in range(20_000):
        picture = np.kron(random.integers(0, 2, (12, 20)), np.ones((10, 8))).astype(np.uint8) * 255
        read += barcode.read(picture) is not None
    assert read <= 4


def test_reading_is_cheap() -> None:
    plane = numbered(7, 1280, 720)
    took = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(200):
            barcode.read(plane)
        took.append((time.perf_counter() - started) / 200)
    assert min(took) < 50e-6


@pytest.mark.parametrize(("number", "width"), [(-1, 320), (1 << 24, 320), (1, 158)])
def test_what_cannot_be_drawn_is_refused(number: int, width: int) -> None:
    with pytest.raises(ValueError, match="want"):
        numbered(number, width)
