"""RGB out of decoded pictures: its memory is used again, and never while somebody holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clips import write_clip
from tests.streams.reading import read_file
from watchline.streams.frame import U8
from watchline.streams.libav import FileSource
from watchline.streams.libav_picture import Converter


def noise(width: int, height: int, pixel_format: str = "yuv420p", seed: int = 0) -> av.VideoFrame:
    frame = av.VideoFrame(width, height, pixel_format)
    bits = np.random.default_rng(seed)
    for plane in frame.planes:
        plane.update(bits.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    return frame


def scaled_by_itself(frame: av.VideoFrame) -> U8:
    converted = av.video.reformatter.VideoReformatter().reformat(frame, format="rgb24", interpolation="BICUBIC")
    plane: Any = converted.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    return rows[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)


@given(
    kinds=st.lists(
        st.tuples(
            st.sampled_from(("yuv420p", "yuvj420p", "nv12")),
            st.integers(8, 70),
            st.integers(4, 30),
            st.sampled_from((1, 2, 5, 6, 7, 9)),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_rgb_is_that_of_the_scaler_whatever_came_before(kinds: list[tuple[str, int, int, int, int]]) -> None:
    converter = Converter()
    for seed, (pixel_format, width, half_height, colours, levels) in enumerate(kinds):
        frame = noise(width, 2 * half_height, pixel_format, seed)
        frame.colorspace, frame.color_range = colours, levels
        assert np.array_equal(converter.rgb(frame, 0), scaled_by_itself(frame))


@pytest.mark.parametrize("colours", [3, 8, 10, 14])
def test_a_colour_matrix_that_nobody_can_convert_is_taken_as_untold(colours: int) -> None:
    frame = noise(64, 48)
    untold = scaled_by_itself(frame)
    frame.colorspace = colours
    assert np.array_equal(Converter().picture(frame).rgb(), untold)


def test_memory_of_pictures_that_nobody_holds_is_used_again() -> None:
    converter = Converter()
    places = {converter.rgb(noise(640, 360, seed=seed), 0).ctypes.data for seed in range(20)}
    assert len(places) <= 2


def test_a_picture_that_somebody_holds_stays_as_it_is(tmp_path: Path) -> None:
    frames, _ = read_file(write_clip(tmp_path / "a.mp4"))
    held = [frame.rgb() for frame in frames]
    before = [rgb.copy() for rgb in held]
    for frame in read_file(tmp_path / "a.mp4")[0]:
        frame.rgb()
    assert all(np.array_equal(now, then) for now, then in zip(held, before, strict=True))
    assert len({rgb.ctypes.data for rgb in held}) == len(held)


def test_pictures_outlive_their_source(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4"), "gate")
    frame = source.read()
    assert frame is not None
    rgb = frame.rgb()
    before = rgb.copy()
    source.close()
    del source, frame
    assert np.array_equal(rgb, before)


def test_the_fields_of_an_interlaced_picture_are_converted_each_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "fields.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1:interlaced=1", "qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(noise(64, 48)))
        container.mux(stream.encode(None))
    frame = FileSource(path, "gate").read()
    assert frame is not None
    for field in (0, 1):
        alone = av.VideoFrame(64, 24, "yuv420p")
        for plane, rows in zip(alone.planes, frame.picture.planes, strict=True):
            padded = np.zeros((plane.height, plane.line_size), np.uint8)
            padded[:, : plane.width] = rows[field::2]
            plane.update(padded.tobytes())
        assert np.array_equal(frame.rgb()[field::2], scaled_by_itself(alone))
