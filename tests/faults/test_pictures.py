"""Pictures that are damaged, huge, or none: one clear line each, and a size is refused before any pixel is decoded."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from watchline.pipeline.cropping import MOST_PIXELS, cut, read_picture
from watchline.pipeline.picture_headers import picture_size
from watchline.streams.errors import StreamError
from watchline.streams.frame import U8

KINDS = (".jpg", ".png", ".webp", ".bmp")


def drawn(height: int = 60, width: int = 30) -> U8:
    """A picture whose top left quarter is red, in RGB."""
    rgb = np.full((height, width, 3), 40, np.uint8)
    rgb[: height // 2, : width // 2] = (220, 30, 30)
    return rgb


def encoded(kind: str, rgb: U8 | None = None, *options: int) -> bytes:
    rgb = drawn() if rgb is None else rgb
    done, data = cv2.imencode(kind, rgb[..., ::-1], options)
    assert done
    return data.tobytes()


def refusal(path: Path) -> str:
    with pytest.raises(StreamError) as refused:
        read_picture(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def png_of(width: int, height: int) -> bytes:
    """A sound PNG of that size, all black, as small as it can be."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + width // 8 + 1)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def huge(kind: str) -> bytes:
    """A picture whose header says 30,000 x 30,000, or as much as its kind can say."""
    data = bytearray(encoded(kind))
    if kind == ".jpg":
        place = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
        data[place + 5 : place + 9] = struct.pack(">HH", 30_000, 30_000)
    elif kind == ".png":
        return png_of(30_000, 30_000)
    elif kind == ".webp":
        assert data[12:16] == b"VP8L"
        data[21:25] = struct.pack("<I", 0x3FFF | 0x3FFF << 14)
    else:
        data[18:26] = struct.pack("<ii", 30_000, 30_000)
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
class TestKinds:
    def test_a_sound_picture_is_read_as_rgb(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / f"a picture with spaces{kind}"
        path.write_bytes(encoded(kind))
        rgb = read_picture(path)
        assert rgb.shape == (60, 30, 3)
        assert rgb.dtype == np.uint8
        assert np.abs(rgb[10, 5].astype(int) - (220, 30, 30)).max() < 20
        assert np.abs(rgb[50, 25].astype(int) - 40).max() < 20

    def test_the_size_is_what_the_header_says(self, kind: str) -> None:
        assert picture_size(encoded(kind, drawn(37, 91))) == (91, 37)

    def test_a_picture_of_30000_by_30000_is_refused_by_its_header(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / f"huge{kind}"
        path.write_bytes(huge(kind))
        tracemalloc.start()
        line = refusal(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert ("16384x16384" if kind == ".webp" else "30000x30000") in line
        assert "more than 40 million; make it smaller" in line
        assert peak_bytes < 4 * path.stat().st_size + 1_000_000

    def test_a_picture_cut_anywhere_is_refused(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / f"cut{kind}"
        whole = encoded(kind)
        for length in {2, 9, 25, len(whole) // 4, len(whole) // 2, len(whole) * 9 // 10, len(whole) - 1}:
            path.write_bytes(whole[:length])
            refusal(path)

    def test_noise_behind_a_sound_start_never_breaks_out(self, kind: str, tmp_path: Path) -> None:
        path, whole, noise = tmp_path / f"hurt{kind}", encoded(kind), np.random.default_rng(8)
        for _ in range(60):
            data = np.frombuffer(whole, np.uint8).copy()
            places = noise.integers(2, min(len(data), 400), 4)
            data[places] = noise.integers(0, 256, 4)
            path.write_bytes(data.tobytes())
            try:
                rgb = read_picture(path)
            except StreamError:
                continue
            assert rgb.shape[2] == 3
            assert rgb.shape[0] * rgb.shape[1] <= MOST_PIXELS


class TestWebp:
    """The other two forms of WebP: lossy, and extended by a colour profile, say."""

    def test_the_size_of_a_lossy_picture_is_read(self, tmp_path: Path) -> None:
        data = encoded(".webp", drawn(37, 91), cv2.IMWRITE_WEBP_QUALITY, 80)
        assert data[12:16] == b"VP8 "
        assert picture_size(data) == (91, 37)
        (tmp_path / "lossy.webp").write_bytes(data)
        assert read_picture(tmp_path / "lossy.webp").shape == (37, 91, 3)

    def test_the_size_of_an_extended_picture_is_that_of_its_canvas(self, tmp_path: Path) -> None:
        inner = encoded(".webp", drawn(37, 91), cv2.IMWRITE_WEBP_QUALITY, 80)[12:]
        sides = (90).to_bytes(3, "little") + (36).to_bytes(3, "little")
        extended = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides + inner
        data = b"RIFF" + struct.pack("<I", len(extended)) + extended
        assert picture_size(data) == (91, 37)
        (tmp_path / "extended.webp").write_bytes(data)
        assert read_picture(tmp_path / "extended.webp").shape == (37, 91, 3)


class TestNoPictures:
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "is empty (0 bytes)"),
            (b"I am a letter, not a picture.\n" * 9, "is no JPEG, PNG, WebP or BMP picture"),
            (b"GIF89a" + bytes(90), "is no JPEG, PNG, WebP or BMP picture"),
            (b"RIFF\x10\0\0\0AVI LIST" + bytes(90), "is no JPEG, PNG, WebP or BMP picture"),
            (b"\xff\xd8\xff\xd9", "holds no pixels"),
            (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 100_001, "has more than 100000 parts"),
            (b"\xff\xd8" + b"\xff\xda\x00\x02" * 101 + b"\xff\xd9", "goes over its pixels more than 100 times"),
            (b"\x89PNG\r\n\x1a\n" + bytes(90), "begins without a size"),
        ],
    )
    def test_what_is_none_is_said_in_one_line(self, content: bytes, says: str, tmp_path: Path) -> None:
        path = tmp_path / "it.jpg"
        path.write_bytes(content)
        assert says in refusal(path)

    def test_a_folder_a_missing_file_and_a_pipe_are_named(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        assert "is a folder, not a picture" in refusal(tmp_path)
        assert "cannot be read (no such file or directory)" in refusal(tmp_path / "gone.jpg")
        assert "is no regular file" in refusal(tmp_path / "pipe.jpg")

    def test_a_single_pixel_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "dot.png").write_bytes(encoded(".png", drawn(1, 1)))
        assert "1x1 pixels, less than 4x4" in refusal(tmp_path / "dot.png")

    def test_a_png_with_a_wrong_check_sum_is_refused(self, tmp_path: Path) -> None:
        data = bytearray(encoded(".png"))
        data[len(data) // 2] ^= 1
        (tmp_path / "hurt.png").write_bytes(data)
        assert "a check sum is wrong" in refusal(tmp_path / "hurt.png")


class TestForms:
    """Pictures that are not plain 8-bit RGB."""

    def test_grey_alpha_palette_and_sixteen_bits_become_rgb(self, tmp_path: Path) -> None:
        rgb = drawn()
        grey = rgb[..., 0]
        forms: dict[str, NDArray[np.uint8] | NDArray[np.uint16]] = {
            "grey": grey,
            "alpha": np.dstack([rgb[..., ::-1], np.full_like(grey, 7)]),
            "deep": rgb[..., ::-1].astype(np.uint16) * 257,
            "deep grey": grey.astype(np.uint16) * 257,
        }
        for name, form in forms.items():
            path = tmp_path / f"{name}.png"
            path.write_bytes(cv2.imencode(".png", form)[1].tobytes())
            read = read_picture(path)
            want = np.dstack([grey] * 3) if "grey" in name else rgb
            assert np.abs(read.astype(int) - want).max() <= 1, name
        (tmp_path / "palette.png").write_bytes(png_of(40, 24))  # one bit a pixel
        assert read_picture(tmp_path / "palette.png").shape == (24, 40, 3)

    @pytest.mark.parametrize(("orientation", "red_at"), [(1, (5, 5)), (3, (50, 25)), (6, (5, 50)), (8, (25, 5))])
    def test_a_turned_picture_is_turned_upright(
        self, orientation: int, red_at: tuple[int, int], tmp_path: Path
    ) -> None:
        tag = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
        exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + tag + bytes(4)
        data = encoded(".jpg")
        path = tmp_path / "phone.jpg"
        path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
        rgb = read_picture(path)
        assert rgb.shape[:2] == ((60, 30) if orientation in (1, 3) else (30, 60))
        assert rgb[red_at][0] > 180


class TestCut:
    def test_a_box_is_cut_off_at_the_border_of_the_picture(self) -> None:
        assert cut(drawn(), (-5.0, 10.2, 20.4, 99.0), "a.jpg").shape == (50, 20, 3)

    @pytest.mark.parametrize(
        "box", [(40.0, 0.0, 60.0, 9.0), (5.0, 5.0, 6.0, 50.0), (9.0, 9.0, 2.0, 2.0), (-50.0, 0.0, 2.0, 60.0)]
    )
    def test_a_box_that_holds_nothing_is_named(self, box: tuple[float, float, float, float]) -> None:
        with pytest.raises(StreamError, match=r"a\.jpg: the box .* holds less than 4x4 pixels of its 30x60"):
            cut(drawn(), box, "a.jpg")
