from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.fakes import make_frame
from watchline.detectors.letterbox import Letterbox, pack_native, pack_numpy


@pytest.mark.parametrize(
    ("frame", "network", "top_left"),
    [
        ((720, 1280), (384, 640), (12, 0)),
        ((1080, 1920), (384, 640), (12, 0)),
        ((272, 640), (288, 640), (8, 0)),
        ((432, 768), (384, 640), (12, 0)),
        ((640, 480), (640, 480), (0, 0)),
        ((1280, 720), (640, 384), (0, 12)),  # a phone held upright
        ((100, 100), (640, 640), (0, 0)),  # small pictures are enlarged
        ((3, 10_000), (32, 640), (15, 0)),  # a sliver keeps one row
    ],
)
def test_the_geometry_is_that_of_the_original_programs(
    frame: tuple[int, int], network: tuple[int, int], top_left: tuple[int, int]
) -> None:
    box = Letterbox.fit(*frame, 640, 640)
    assert (box.height, box.width) == network
    assert (box.top, box.left) == top_left


def test_an_odd_spare_row_falls_below_the_picture() -> None:
    box = Letterbox.fit(361, 640, 640, 640)
    assert (box.resized_height, box.height, box.top) == (361, 384, 11)


def test_a_fixed_network_gets_its_whole_input_padded() -> None:
    box = Letterbox.fit(720, 1280, 640, 640, rectangular=False)
    assert (box.height, box.width, box.top, box.left) == (640, 640, 140, 0)


def test_the_picture_lands_scaled_in_the_middle_of_grey() -> None:
    rgb = np.zeros((20, 64, 3), np.uint8)
    rgb[..., 0] = 255
    box = Letterbox.fit(20, 64, 64, 64)
    out = np.full((3, box.height, box.width), np.nan, np.float32)
    box.apply(rgb, out)
    assert out.shape == (3, 32, 64)
    assert (out[0, 6:26] == 1).all()
    assert (out[1:, 6:26] == 0).all()
    assert (out[:, :6] == np.float32(114) / np.float32(255)).all()
    assert (out[:, 26:] == np.float32(114) / np.float32(255)).all()


def test_resizing_is_opencvs_own() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (90, 160, 3), np.uint8)
    box = Letterbox.fit(90, 160, 64, 64)
    out = np.empty((3, box.height, box.width), np.float32)
    box.apply(rgb, out)
    want = cv2.resize(rgb, (64, 36)).transpose(2, 0, 1).astype(np.float32) / 255
    assert (out[:, box.top : box.top + 36] == want).all()


def test_the_frame_is_not_written_to() -> None:
    frame = make_frame()
    before = frame.rgb().copy()
    box = Letterbox.fit(frame.height, frame.width, 64, 64)
    box.apply(frame.rgb(), np.empty((3, box.height, box.width), np.float32))
    assert (frame.rgb() == before).all()


@pytest.mark.native
class TestNativePack:
    @pytest.fixture(autouse=True)
    def _built(self, native: None) -> None:
        pass

    def test_refuses_a_picture_that_does_not_fit(self) -> None:
        assert pack_native is not None
        with pytest.raises(ValueError, match="does not fit"):
            pack_native(np.zeros((5, 5, 3), np.uint8), np.zeros((3, 5, 5), np.float32), 114, 1, 0)
        with pytest.raises(ValueError, match="does not fit"):
            pack_native(np.zeros((6, 5, 3), np.uint8), np.zeros((3, 5, 5), np.float32), 114, 0, 0)

    def test_refuses_other_dtypes_and_shapes(self) -> None:
        assert pack_native is not None
        with pytest.raises(TypeError):
            pack_native(np.zeros((5, 5, 3), np.float32), np.zeros((3, 5, 5), np.float32), 114, 0, 0)
        with pytest.raises(TypeError):
            pack_native(np.zeros((5, 5), np.uint8), np.zeros((3, 5, 5), np.float32), 114, 0, 0)
        with pytest.raises(ValueError, match="packed RGB"):
            pack_native(np.zeros((5, 5, 6), np.uint8)[..., ::2], np.zeros((3, 5, 5), np.float32), 114, 0, 0)

    def test_takes_rows_that_are_apart(self) -> None:
        assert pack_native is not None
        wide = np.random.default_rng(2).integers(0, 256, (6, 9, 3), np.uint8)
        ours, twin = np.empty((3, 8, 8), np.float32), np.empty((3, 8, 8), np.float32)
        pack_native(wide[:, 2:7], ours, 0, 1, 2)
        pack_numpy(wide[:, 2:7], twin, 0, 1, 2)
        assert (ours == twin).all()
