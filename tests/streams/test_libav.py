"""Recorded files: whole ones lose nothing, and show exactly what was recorded, when it was recorded."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import LEFT_COLOUR, RIGHT_COLOUR, Clip, read_number, write_clip
from tests.streams.reading import numbers, read_all, read_file
from watchline.streams.frame import ClockSource, Frame, PixelFormat
from watchline.streams.libav import FileSource
from watchline.streams.source import SourceReport

GROWING_GAPS = tuple(3 * index * index for index in range(40))

WHOLE = {
    "b_frames.mp4": Clip(b_frames=2),
    "moov_first.mp4": Clip(b_frames=2, faststart=True),
    "fragmented.mp4": Clip(b_frames=2, fragmented=True),
    "hevc.mp4": Clip(codec="libx265", b_frames=2),
    "with_sound.mp4": Clip(b_frames=2, audio_s=3),
    "varying_rate.mp4": Clip(b_frames=2, pts_ms=GROWING_GAPS),
    "one_frame.mp4": Clip(frames=1),
    "motion_jpeg.mov": Clip(codec="mjpeg", pix_fmt="yuvj420p"),
    "b_frames.mkv": Clip(b_frames=2),
    "with_sound.mkv": Clip(b_frames=2, audio_s=3),
    "varying_rate.mkv": Clip(pts_ms=GROWING_GAPS),
    "one_frame.mkv": Clip(frames=1),
    "b_frames.ts": Clip(b_frames=2),
    "with_sound.ts": Clip(audio_s=3),
    "hevc.ts": Clip(codec="libx265", b_frames=2),
    "mpeg4.avi": Clip(codec="mpeg4"),
    "b_frames.avi": Clip(b_frames=2),
    "raw.avi": Clip(codec="rawvideo", pix_fmt="bgr24"),
    "vp8.webm": Clip(codec="libvpx"),
    "vp9.webm": Clip(codec="libvpx-vp9"),
    "flash.flv": Clip(),
    "windows.wmv": Clip(codec="wmv2"),
    "dvd.mpg": Clip(codec="mpeg1video"),
    "animation.gif": Clip(codec="gif", pix_fmt="rgb8"),
    "bare.h264": Clip(b_frames=2),
    "bare.mjpeg": Clip(codec="mjpeg", pix_fmt="yuvj420p"),
    "nv12.nut": Clip(codec="rawvideo", pix_fmt="nv12"),
    "odd.webm": Clip(codec="libvpx-vp9", width=163, height=121),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_gives_every_picture_in_order_and_reports_no_damage(name: str, tmp_path: Path) -> None:
    clip = WHOLE[name]
    frames, report = read_file(write_clip(tmp_path / name, clip))

    assert numbers(frames) == list(range(clip.frames))
    assert [frame.sequence for frame in frames] == list(range(clip.frames))
    assert report == SourceReport(decoded=clip.frames, damaged=0, missing=0, damage=())
    assert {(frame.camera, frame.width, frame.height) for frame in frames} == {("gate", clip.width, clip.height)}
    times = [frame.pts_s for frame in frames]
    offset = times[0]  # sound may begin first
    wanted = [index / clip.fps for index in range(clip.frames)] if clip.pts_ms is None else np.divide(clip.pts_ms, 1000)
    assert np.allclose(np.subtract(times, offset), wanted, atol=0.002)
    assert 0 <= offset < 0.1


@pytest.mark.parametrize("threads", [1, 3])
def test_more_decoder_threads_change_nothing(threads: int, tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4", Clip(b_frames=2)), "gate", threads)
    assert numbers(read_all(source)) == list(range(40))
    assert source.report().damage == ()


def test_the_real_clips_are_whole(data_dir: Path) -> None:
    for path in sorted((data_dir / "clips").glob("*.mp4")):
        source = FileSource(path, "c")
        while source.read() is not None:
            pass
        assert source.report() == SourceReport(source.info.frames or 0, 0, 0, ()), path.name


def assert_equal_to_opencv(path: Path, every: int = 1) -> None:
    capture, source = cv2.VideoCapture(str(path)), FileSource(path, "c")
    while (frame := source.read()) is not None:
        there, bgr = capture.read()
        assert there
        if frame.sequence % every == 0:
            assert np.array_equal(frame.rgb(), bgr[..., ::-1]), (path.name, frame.sequence)
    assert not capture.read()[0]
    capture.release()


def test_rgb_of_the_real_clips_is_exactly_what_opencv_decodes(data_dir: Path) -> None:
    for path in sorted((data_dir / "clips").glob("*.mp4")):
        assert_equal_to_opencv(path, every=9)


@pytest.mark.parametrize("color_range", [None, 1, 2])
@pytest.mark.parametrize("colorspace", [None, 1, 6, 9])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_rgb_is_exactly_what_opencv_decodes_for_every_matrix_and_range(
    pix_fmt: str, colorspace: int | None, color_range: int | None, tmp_path: Path
) -> None:
    clip = Clip(frames=3, pix_fmt=pix_fmt, colorspace=colorspace, color_range=color_range)
    assert_equal_to_opencv(write_clip(tmp_path / "a.mp4", clip))


@pytest.mark.parametrize(("width", "height"), [(162, 119), (163, 121), (158, 122), (17, 16)])
def test_rgb_is_exactly_what_opencv_decodes_for_odd_sizes(width: int, height: int, tmp_path: Path) -> None:
    clip = Clip(frames=3, width=width, height=height, codec="mjpeg", pix_fmt="yuvj420p")
    assert_equal_to_opencv(write_clip(tmp_path / "a.mkv", clip))


@pytest.mark.parametrize("colorspace", [1, 6])
@pytest.mark.parametrize("color_range", [1, 2])
def test_known_colours_come_back(colorspace: int, color_range: int, tmp_path: Path) -> None:
    clip = Clip(frames=1, colorspace=colorspace, color_range=color_range)
    rgb = read_file(write_clip(tmp_path / "a.mp4", clip))[0][0].rgb().astype(int)
    assert abs(rgb[45, 40] - LEFT_COLOUR).max() <= 12
    assert abs(rgb[45, 120] - RIGHT_COLOUR).max() <= 12


@pytest.mark.parametrize("rotation", [-90, 90, 180, 0])
def test_a_phone_video_is_turned_upright_as_opencv_turns_it(rotation: int, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip(frames=3, rotation=rotation))
    source = FileSource(path, "phone")
    frames = read_all(source)
    assert numbers(frames) == [0, 1, 2]
    assert (
        {(frame.width, frame.height) for frame in frames} == {(source.info.width, source.info.height)} == {(160, 120)}
    )
    assert frames[0].rgb().shape == (120, 160, 3)
    assert frames[0].picture.pixel_format is (PixelFormat.OTHER if rotation else PixelFormat.I420)
    assert_equal_to_opencv(path)


@pytest.mark.parametrize(
    ("name", "clip", "pixel_format"),
    [
        ("a.mp4", Clip(frames=2), PixelFormat.I420),
        ("full_range.mov", Clip(frames=2, codec="mjpeg", pix_fmt="yuvj420p"), PixelFormat.I420),
        ("padded.webm", Clip(frames=2, codec="libvpx-vp9", width=163, height=121), PixelFormat.I420),
        ("a.nut", Clip(frames=2, codec="rawvideo", pix_fmt="nv12"), PixelFormat.NV12),
        ("a.avi", Clip(frames=2, codec="rawvideo", pix_fmt="bgr24"), PixelFormat.OTHER),
    ],
)
def test_planes_are_read_only_views_that_outlive_the_source(
    name: str, clip: Clip, pixel_format: PixelFormat, tmp_path: Path
) -> None:
    source = FileSource(write_clip(tmp_path / name, clip), "c")
    frames = read_all(source)
    pictures = [frame.picture for frame in frames]
    before = [[plane.copy() for plane in picture.planes] for picture in pictures]
    source.close()
    del source, frames

    height, width = clip.height, clip.width
    half = ((height + 1) // 2, (width + 1) // 2)
    shapes = {
        PixelFormat.I420: [(height, width), half, half],
        PixelFormat.NV12: [(height, width), (*half, 2)],
        PixelFormat.OTHER: [],
    }
    for picture, planes in zip(pictures, before, strict=True):
        assert picture.pixel_format is pixel_format
        assert [plane.shape for plane in picture.planes] == shapes[pixel_format]
        assert not any(plane.flags.writeable or plane.flags.owndata for plane in picture.planes)
        assert all(np.array_equal(now, then) for now, then in zip(picture.planes, planes, strict=True))
        rgb = picture.rgb()
        assert rgb.shape == (height, width, 3)
        assert rgb.flags.c_contiguous
        assert not rgb.flags.writeable
        assert picture.rgb() is rgb


def test_rgb_made_in_many_threads_equals_rgb_made_in_one(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    alone = [frame.rgb() for frame in read_file(path)[0]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(Frame.rgb, read_file(path)[0]))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_info_says_what_the_file_says_of_itself(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4", Clip(fps=10, width=320, height=240)), "c")
    info = source.info
    assert (info.kind, info.width, info.height, info.fps) == ("video", 320, 240, 10)
    assert (info.frames, info.duration_s, info.codec) == (40, 4.0, "h264")
    assert FileSource(write_clip(tmp_path / "a.mkv"), "c").info.frames is None


def test_a_change_of_size_in_the_middle_is_carried_by_the_frames(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "small.h264", Clip(frames=5)).read_bytes()
    large = write_clip(tmp_path / "large.h264", Clip(frames=5, width=320, height=240, first_number=5)).read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(small + large)
    frames, report = read_file(path)
    assert numbers(frames) == list(range(10))
    assert [frame.width for frame in frames] == [160] * 5 + [320] * 5
    assert [frame.picture.planes[0].shape for frame in frames] == [(120, 160)] * 5 + [(240, 320)] * 5
    assert report.damage == ()


def test_captured_at_counts_from_the_recording_time_in_the_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip(frames=3, creation_time="2024-02-29T12:30:00.000000Z"))
    start = datetime(2024, 2, 29, 12, 30, tzinfo=UTC).timestamp()
    frames = read_file(path)[0]
    assert [frame.captured_at for frame in frames] == pytest.approx([start, start + 0.04, start + 0.08])
    assert {frame.clock for frame in frames} == {ClockSource.FILE}


@pytest.mark.parametrize("creation_time", [None, "1970-01-01T00:00:07.000000Z"])
def test_captured_at_counts_from_the_files_time_where_the_file_names_none(
    creation_time: str | None, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip(frames=2, creation_time=creation_time))
    os.utime(path, (1.7e9, 1.7e9))
    assert [frame.captured_at for frame in read_file(path)[0]] == pytest.approx([1.7e9, 1.7e9 + 0.04])


def copy_packets(path: Path, into: Path, shift: int = 0, options: dict[str, str] | None = None) -> Path:
    """Copies the video of `path` without coding it anew, every time later by `shift` ticks."""
    import av

    with av.open(str(path)) as old, av.open(str(into), "w", options=options or {}) as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copy
                new.mux(packet)
    return into


@pytest.mark.parametrize("hidden", [5, 15, 27])
def test_pictures_that_an_edit_list_hides_are_not_missing(hidden: int, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", Clip(b_frames=2))
    edited = copy_packets(whole, tmp_path / "edited.mp4", -hidden * 512, {"avoid_negative_ts": "disabled"})
    frames, report = read_file(edited)
    assert numbers(frames) == list(range(hidden, 40))
    assert frames[0].pts_s == 0
    assert report == SourceReport(40 - hidden, 0, 0, ())


def test_time_never_runs_backward_when_the_streams_clock_does(tmp_path: Path) -> None:
    parts = [
        copy_packets(write_clip(tmp_path / "a.mp4", Clip(frames=20)), tmp_path / "late.ts", 12800 * 100),
        write_clip(tmp_path / "early.ts", Clip(frames=20, first_number=20)),
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, report = read_file(path)
    times = [frame.pts_s for frame in frames]
    assert numbers(frames) == list(range(40))
    assert times == sorted(times)
    assert times[-1] == pytest.approx(39 / 25, abs=0.05)
    assert report.damage == ("impossible picture times, replaced by the average rate: 2",)


def test_reading_only_the_beginning_of_a_file_is_no_damage(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4"), "c")
    for _ in range(5):
        source.read()
    assert source.report() == SourceReport(5, 0, 0, ())
    source.close()
    assert source.report() == SourceReport(5, 0, 0, ())


def test_closing_twice_and_reading_after_closing_are_harmless(tmp_path: Path) -> None:
    source = FileSource(write_clip(tmp_path / "a.mp4"), "c")
    first = source.read()
    source.close()
    source.close()
    assert source.read() is None
    assert first is not None
    assert read_number(first.rgb()) == 0


def test_several_files_are_read_in_several_threads_at_once(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{n}.mp4", Clip(first_number=100 * n)) for n in range(4)]
    barrier = threading.Barrier(4)

    def read(path: Path) -> list[int]:
        barrier.wait(10)
        return numbers(read_file(path)[0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, paths)) == [[100 * n + index for index in range(40)] for n in range(4)]
