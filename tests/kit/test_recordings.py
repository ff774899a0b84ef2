"""Recordings: what is in them, and that a decoder gets it out."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoCodecContext

from tests.clips import Clip, write_clip
from tests.kit import barcode
from tests.kit.recordings import Codec, Record, Scene, read_recording, write_recording

CODECS: list[Codec] = ["h264", "h265", "mjpeg"]


def decoded(path: Path) -> list[av.VideoFrame]:
    scene, units = read_recording(path)
    name = {"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg"}[scene.codec]
    decoder = VideoCodecContext.create(name, "r")
    assert isinstance(decoder, VideoCodecContext)
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit.content))]
    return frames + decoder.decode(None)


def nal_types(unit: bytes) -> list[int]:
    return [part[0] & 31 for part in unit.split(b"\0\0\1")[1:]]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("width", "height"), [(160, 120), (320, 240), (640, 360)])
def test_every_picture_carries_its_number(record: Record, codec: Codec, width: int, height: int) -> None:
    scene = Scene(codec=codec, width=width, height=height, frames=60, gop=20, first_number=5000)
    frames = decoded(record(scene))
    assert [barcode.read_frame(frame) for frame in frames] == list(range(5000, 5060))
    assert {(frame.width, frame.height) for frame in frames} == {(width, height)}


@pytest.mark.parametrize("codec", CODECS)
def test_keyframes_come_every_gop(record: Record, codec: Codec) -> None:
    units = read_recording(record(Scene(codec=codec, frames=60, gop=20)))[1]
    every = 1 if codec == "mjpeg" else 20
    assert [index for index, unit in enumerate(units) if unit.keyframe] == list(range(0, 60, every))


@pytest.mark.parametrize("codec", CODECS)
def test_no_two_pictures_of_a_still_scene_are_equal(record: Record, codec: Codec) -> None:
    scene = Scene(codec=codec, frames=60, moving=False, numbered=False, noise=4)
    pictures = [barcode.luma(frame) for frame in decoded(record(scene))]
    assert not any(np.array_equal(one, other) for one, other in itertools.pairwise(pictures))


def test_a_picture_is_one_slice_unless_asked_for_more(record: Record) -> None:
    for slices in (1, 4):
        units = read_recording(record(Scene(frames=10, gop=5, slices=slices)))[1]
        assert all(sum(kind in (1, 5) for kind in nal_types(unit.content)) == slices for unit in units)
        assert {7, 8} <= set(nal_types(units[5].content))


def test_a_bit_rate_is_held(record: Record) -> None:
    units = read_recording(record(Scene(width=640, height=360, gop=50, noise=8, bit_rate=1_000_000)))[1]
    assert sum(len(unit.content) for unit in units) * 8 / 10 == pytest.approx(1_000_000, rel=0.3)


def test_a_clip_gives_the_pictures_again_and_again(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "yard.mp4", Clip(frames=10))
    frames = decoded(write_recording(tmp_path / "yard.rec", Scene(frames=25, clip=str(clip))))
    assert [barcode.read_frame(frame) for frame in frames] == list(range(25))


def test_the_file_tells_its_scene(record: Record) -> None:
    scene = Scene(frames=3)
    assert read_recording(record(scene))[0] == scene
    assert record(scene) == record(dataclasses.replace(scene))


def test_a_scene_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        write_recording(tmp_path / "none.rec", Scene(fps=0))
