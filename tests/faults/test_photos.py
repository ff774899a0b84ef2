"""Photos that anybody may have made: bombs, damage, other kinds, no files; a clear line each, in bounded time."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.faults.test_pictures import drawn, encoded, huge, png_of
from watchline.detectors.confined import Bounds
from watchline.pipeline.cases.photos import MOST_BYTES, photo_of, read_photo
from watchline.streams.errors import StreamError

# In a process of its own: the peak of all children of this one would be told, those of other tests among them.
_MEASURED = """
import json, resource, sys
from pathlib import Path
from watchline.pipeline.cases.photos import read_photo
shape = read_photo(Path(sys.argv[1])).rgb.shape
print(json.dumps([shape, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""

SECRET = b"51.5007N 0.1246W"


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG, with its check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def zeros(megabytes: int) -> bytes:
    """So many of nothing, packed; never held as a whole."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def exif(orientation: int, *, more: bytes = b"") -> bytes:
    """What EXIF says of how a picture was held; `more` lies behind it."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4) + more


def with_chunks(*chunks: bytes) -> bytes:
    """A PNG with chunks behind its header."""
    png = encoded(".png")
    return png[:33] + b"".join(chunks) + png[33:]


def refusal(data: bytes, name: str = "it.jpg") -> str:
    """The line that bytes are refused with; no process is started for most of them."""
    with pytest.raises(StreamError) as refused:
        photo_of(data, name)
    line = str(refused.value)
    assert line.startswith(f"{name}: ")
    assert "\n" not in line
    return line


class TestOtherKinds:
    @pytest.mark.parametrize(
        ("start", "what"),
        [
            (b"GIF89a", "a GIF picture"),
            (b"BM", "a BMP picture"),
            (b"II*\0", "a TIFF picture"),
            (b"\0\0\0\x18ftypheic", "a HEIC picture"),
            (b"\0\0\0\x18ftypavif", "an AVIF picture"),
            (b"\xff\x0a", "a JPEG XL picture"),
            (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">', "a drawing (SVG)"),
            (b"%PDF-1.7", "a PDF document"),
            (b"\0\0\0\x18ftypisom", "a video"),
            (b"\x1aE\xdf\xa3", "a video"),
            (b"RIFF\x10\0\0\0AVI LIST", "a video or a sound"),
            (b"PK\x03\x04", "a ZIP archive or an office document"),
            (b"Dear Sir,", "no picture of a kind that is known here"),
        ],
    )
    def test_the_bytes_say_what_it_is_whatever_its_name_is(self, start: bytes, what: str) -> None:
        line = refusal(start + bytes(300))
        assert f"is {what}, want JPEG, PNG or WebP: " in line

    def test_a_picture_of_a_phone_and_a_video_are_told_what_to_do(self) -> None:
        assert "share or save it as JPEG" in refusal(b"\0\0\0\x18ftypheic" + bytes(90))
        assert "stop it where the person is seen best, and save that picture" in refusal(b"FLV\x01" + bytes(90))


class TestNoFiles:
    def test_what_is_no_file_is_named_and_nothing_is_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        (tmp_path / "empty.jpg").touch()
        (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
        (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
        (tmp_path / "endless.jpg").symlink_to("/dev/zero")
        with (tmp_path / "large.jpg").open("wb") as large:
            large.truncate(MOST_BYTES + 1)  # takes no room on the disk
        for name, says in {
            ".": "is a folder, not a picture; give a photo: one file, JPEG, PNG or WebP, of at most 100 MB",
            "pipe.jpg": "is no regular file",
            "endless.jpg": "is no regular file",
            "empty.jpg": "is empty (0 bytes)",
            "large.jpg": f"has {MOST_BYTES + 1} bytes, more than {MOST_BYTES}",
            "gone.jpg": "cannot be read (no such file or directory); check the name and its permissions",
            "round.jpg": "cannot be read (too many levels of symbolic links)",
        }.items():
            with pytest.raises(StreamError) as refused:
                read_photo(tmp_path / name)
            assert f"{tmp_path / name}: {says}" in str(refused.value)

    def test_a_name_that_would_take_over_the_terminal_is_shown_without_what_it_hides(self, tmp_path: Path) -> None:
        (tmp_path / "a\n\x1b[2Jb.jpg").write_text("Dear Sir")
        with pytest.raises(StreamError, match=r"/a\?\?\[2Jb\.jpg: is no picture of a kind that is known here"):
            read_photo(tmp_path / "a\n\x1b[2Jb.jpg")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_nobody_may_read(self, tmp_path: Path) -> None:
        (tmp_path / "locked.jpg").write_bytes(encoded(".jpg"))
        (tmp_path / "locked.jpg").chmod(0)
        with pytest.raises(StreamError, match=r"locked\.jpg: cannot be read \(permission denied\)"):
            read_photo(tmp_path / "locked.jpg")


class TestBombs:
    @pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
    def test_a_huge_picture_is_refused_by_its_header(self, kind: str) -> None:
        assert "more than 40 million; make it smaller" in refusal(huge(kind))

    @pytest.mark.parametrize(("width", "height"), [(10_000_000, 1), (10_000_000, 4)])
    def test_a_line_of_pixels_is_refused(self, width: int, height: int) -> None:
        assert f"is {width}x{height} pixels" in refusal(png_of(width, height))

    def test_a_jpeg_that_goes_over_its_pixels_65535_times_is_refused(self) -> None:
        scan = segment(0xDA, b"\x01\x01\0\0\x3f\0")
        assert "more than 100 times" in refusal(encoded(".jpg")[:-2] + scan * 65_535 + b"\xff\xd9")

    @pytest.mark.parametrize(
        "data",
        [
            with_chunks(*[chunk(b"zTXt", b"x\0\0" + zeros(100))] * 5),
            with_chunks(chunk(b"iCCP", b"x\0\0" + zeros(300))),
            with_chunks(chunk(b"tEXt", b"x\0" + b"a" * (20 << 20))),
        ],
        ids=["texts of 100 MB", "profile of 300 MB", "long text"],
    )
    def test_what_unpacks_to_gigabytes_beside_the_pixels_takes_no_memory(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "bomb.png").write_bytes(data)
        command = [sys.executable, "-c", _MEASURED, str(tmp_path / "bomb.png")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        shape, peak = json.loads(done.stdout)
        assert shape == [60, 30, 3]
        assert peak < 1024 * 1024  # KiB

    def test_more_pixels_than_were_announced_are_no_way_in(self) -> None:
        png = encoded(".png")
        data = png[:33] + chunk(b"IDAT", zeros(100)) + chunk(b"IEND", b"")
        try:
            assert photo_of(data, "deep.png").rgb.shape == (60, 30, 3)
        except StreamError as error:  # as the decoder likes it
            assert str(error).startswith("deep.png: ")

    def test_a_photo_that_takes_too_much_memory_is_one_line(self) -> None:
        with pytest.raises(StreamError, match=r"^large\.png: ") as refused:
            photo_of(png_of(6300, 6300), "large.png", Bounds(memory_bytes=400 << 20, cpu_s=10))
        assert "\n" not in str(refused.value)

    def test_a_photo_that_takes_too_long_is_one_line(self) -> None:
        black = encoded(".jpg", np.zeros((6000, 6600, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
        last = black[black.rindex(b"\xff\xda") : -2]
        with pytest.raises(StreamError, match=r"^slow\.jpg: not read within [12] s"):
            photo_of(black[:-2] + last * 85 + b"\xff\xd9", "slow.jpg", Bounds(memory_bytes=1 << 30, cpu_s=1))


class TestDamage:
    @pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
    def test_a_photo_that_ends_early_is_refused(self, kind: str) -> None:
        whole = encoded(kind)
        for length in (3, 20, len(whole) // 2, len(whole) - 1):
            refusal(whole[:length])

    def test_damage_that_only_a_decoder_finds_is_one_line(self) -> None:
        png = encoded(".png")
        assert "cannot be decoded" in refusal(png[:33] + chunk(b"IDAT", b"no zlib") + chunk(b"IEND", b""))


class TestNothingElseIsKept:
    def test_a_jpeg_keeps_no_place_no_comment_and_no_tail(self) -> None:
        jpeg = encoded(".jpg", drawn(60, 40))
        hidden = [
            segment(0xE1, b"Exif\0\0" + exif(6, more=SECRET)),
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET),
            segment(0xE2, b"ICC_PROFILE\0\x01\x01" + SECRET),
            segment(0xED, SECRET),
            segment(0xFE, SECRET),
        ]
        photo = photo_of(jpeg[:2] + b"".join(hidden) + jpeg[2:] + SECRET + jpeg, "phone.jpg")
        assert photo.rgb.shape == (40, 60, 3)  # turned upright before EXIF was dropped
        assert SECRET not in photo.picture
        assert photo.picture.count(b"IHDR") == photo.picture.count(b"IEND") == 1
        assert set(_chunks(photo.picture)) == {b"IHDR", b"IDAT", b"IEND"}

    @pytest.mark.parametrize("kind", [b"tEXt", b"eXIf"])
    def test_a_png_keeps_its_pixels_alone(self, kind: bytes) -> None:
        data = with_chunks(chunk(kind, exif(1, more=SECRET) if kind == b"eXIf" else b"Place\0" + SECRET))
        photo = photo_of(data + SECRET, "scan.png")
        assert set(_chunks(photo.picture)) == {b"IHDR", b"IDAT", b"IEND"}

    def test_a_large_photo_becomes_a_jpeg_without_any_segment_of_its_own(self) -> None:
        jpeg = encoded(".jpg", np.tile(drawn(60, 40), (20, 30, 1)))
        photo = photo_of(jpeg[:2] + segment(0xE1, b"Exif\0\0" + exif(1, more=SECRET)) + jpeg[2:], "phone.jpg")
        assert photo.picture.startswith(b"\xff\xd8\xff\xe0")
        assert not [marker for marker in (b"\xff\xe1", b"\xff\xe2", b"\xff\xfe") if marker in photo.picture[:600]]
        assert SECRET not in photo.picture
        again = cv2.imdecode(np.frombuffer(photo.picture, np.uint8), cv2.IMREAD_COLOR)
        assert again is not None
        assert np.array_equal(again[..., ::-1], photo.rgb)


def _chunks(png: bytes) -> list[bytes]:
    found, place = [], 8
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        found.append(png[place + 4 : place + 8])
        place += 12 + length
    return found


def test_of_an_animation_the_first_picture_is_taken_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "moving.webp"
    animation = cv2.Animation()
    animation.frames = [drawn(60, 40)[..., ::-1].copy(), np.full((60, 40, 3), 255, np.uint8)]
    animation.durations = [100, 100]
    assert cv2.imwriteanimation(str(path), animation)
    photo = read_photo(path)
    assert photo.note == "holds several pictures, an animation; the first one was taken"
    assert photo.rgb[5, 5, 0] > 180
    assert photo.rgb[50, 30].max() < 80


class TestAProcessThatAPhotoTookOver:
    """Whoever found a flaw in a decoder speaks for the process; the one that started it believes nothing."""

    @pytest.mark.parametrize(
        "said",
        [
            b'{"ok": [-1, -1]}\n' + bytes(3),
            b'{"ok": [1, 16]}\n' + bytes(48),
            b'{"ok": [1e999, 1]}\n',
            b'{"ok": "ab"}\n',
            b'{"ok": 7}\n',
            b'{"no": 7}\n',
            b"7\n",
            b"[" * 100_000 + b"\n",
        ],
    )
    def test_what_it_says_is_a_picture_or_one_line(self, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
        monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, said, b""))
        refusal(encoded(".jpg"))

    def test_its_reason_says_nothing_to_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said = b'{"error": "no\\u001b[2J\\nway"}\n'
        monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, said, b""))
        assert refusal(encoded(".jpg")) == "it.jpg: no?[2J way"
