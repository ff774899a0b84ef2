"""Folders of images: natural order, one frame each, unreadable ones named and passed over."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.clips import draw, write_image
from tests.streams.reading import numbers, read_all
from watchline.streams.errors import StreamError
from watchline.streams.frame import ClockSource, PixelFormat
from watchline.streams.images import ImageSource, only_images
from watchline.streams.source import SourceReport


def test_images_come_in_natural_order_without_hidden_and_foreign_files() -> None:
    names = ["img10.jpg", "img2.jpg", "IMG1.JPG", "img2b.png", ".img0.jpg", "notes.txt", "a.mp4", "img02.jpg", "7.webp"]
    assert [path.name for path in only_images(map(Path, names))] == [
        "7.webp", "IMG1.JPG", "img02.jpg", "img2.jpg", "img2b.png", "img10.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"])
def test_each_image_is_one_frame(suffix: str, tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{n}{suffix}", n) for n in range(3)]
    os.utime(paths[1], (1.7e9, 1.7e9))
    source = ImageSource(paths, "yard", fps=10)
    frames = read_all(source)
    assert numbers(frames) == [0, 1, 2]
    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert [frame.pts_s for frame in frames] == pytest.approx([0, 0.1, 0.2])
    assert (frames[1].captured_at, frames[1].clock) == (1.7e9, ClockSource.FILE)
    assert frames[0].picture.pixel_format is PixelFormat.RGB24
    assert not frames[0].rgb().flags.writeable
    assert (source.info.kind, source.info.width, source.info.height) == ("images", 160, 120)
    assert (source.info.frames, source.info.fps, source.info.codec) == (3, 10, suffix.lstrip("."))
    assert source.report() == SourceReport(3, 0, 0, ())


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 5)
    frame = ImageSource([path], "c").read()
    assert frame is not None
    assert np.array_equal(frame.rgb(), draw(5, 160, 120))


def test_a_photo_held_sideways_is_turned_by_its_exif_tag(tmp_path: Path) -> None:
    plain = write_image(tmp_path / "a.jpg", 9).read_bytes()
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # turn clockwise to show
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + orientation + struct.pack("<I", 0)
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    (tmp_path / "b.jpg").write_bytes(turned)
    upright = ImageSource([tmp_path / "a.jpg"], "c").read()
    frame = ImageSource([tmp_path / "b.jpg"], "c").read()
    assert upright is not None
    assert frame is not None
    assert np.array_equal(frame.rgb(), np.rot90(upright.rgb(), -1))


def test_images_of_several_sizes_keep_their_own(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / "0.png", 0), write_image(tmp_path / "1.png", 1, 320, 240)]
    assert [(frame.width, frame.height) for frame in read_all(ImageSource(paths, "c"))] == [(160, 120), (320, 240)]


def bomb() -> bytes:
    """A PNG of a few bytes that announces 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_unreadable_images_are_named_counted_and_passed_over(tmp_path: Path) -> None:
    paths = [write_image(tmp_path / f"{n}.png", n) for n in range(8)]
    paths[0].write_bytes(b"")
    paths[2].write_bytes(b"no image at all" * 9)
    paths[3].write_bytes(paths[3].read_bytes()[:300])
    paths[5].unlink()
    paths[6].write_bytes(bomb())
    source = ImageSource(paths, "c")
    frames = read_all(source)
    assert numbers(frames) == [1, 4, 7]
    assert [frame.sequence for frame in frames] == [1, 4, 7]
    assert [frame.pts_s for frame in frames] == pytest.approx([1 / 25, 4 / 25, 7 / 25])
    report = source.report()
    assert (report.decoded, report.damaged, report.missing) == (3, 5, 5)
    assert report.damage[0] == "0.png: is empty (0 bytes)"
    assert report.damage[3] == "5.png: No such file or directory"
    assert [sentence.partition(":")[0] for sentence in report.damage] == ["0.png", "2.png", "3.png", "5.png", "6.png"]


def test_the_report_stays_short_however_many_images_are_unreadable(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(100)]
    source = ImageSource([*paths, write_image(tmp_path / "x.png", 1)], "c")
    read_all(source)
    report = source.report()
    assert (report.damaged, len(report.damage)) == (100, 20)
    assert report.damage[-1] == "and 81 more images that cannot be read"


def test_a_set_without_one_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(StreamError, match=r'camera "yard": none of 1 images can be read \(a.png: is not an image'):
        ImageSource([tmp_path / "a.png"], "yard")


def test_a_rate_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fps: want above 0, got 0"):
        ImageSource([write_image(tmp_path / "a.png", 1)], "c", fps=0)


def test_closing_twice_and_reading_after_closing_are_harmless(tmp_path: Path) -> None:
    source = ImageSource([write_image(tmp_path / f"{n}.png", n) for n in range(3)], "c")
    source.read()
    source.close()
    source.close()
    assert source.read() is None
    assert source.report() == SourceReport(1, 0, 0, ())
