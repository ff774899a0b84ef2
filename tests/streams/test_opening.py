"""What a user names becomes a source, or one line that says what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.clips import Clip, write_clip, write_image
from watchline.streams.errors import StreamError
from watchline.streams.images import ImageSource
from watchline.streams.libav import FileSource
from watchline.streams.opening import input_sha256, open_source


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = tmp_path / "shots.day1"
    (folder / "later").mkdir(parents=True)
    for number in (1, 2, 10):
        write_image(folder / f"img{number}.png", number)
    write_image(folder / "later" / "img3.jpg", 3)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_video_file_is_named_after_itself(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "front door.mp4", Clip(frames=2))
    source = open_source(str(path))
    assert isinstance(source, FileSource)
    assert source.camera == "front door"
    assert open_source(str(path), camera="door", threads=2).camera == "door"


def test_a_folder_of_images_is_named_after_itself(shots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(str(shots))
    assert isinstance(source, ImageSource)
    assert (source.camera, source.info.frames) == ("shots.day1", 3)
    monkeypatch.chdir(shots)
    assert open_source(".").camera == "shots.day1"


@pytest.mark.parametrize(("pattern", "count"), [("*.png", 3), ("img1*", 2), ("**/*.*", 4), ("img[12].png", 2)])
def test_a_pattern_opens_the_images_that_it_matches(pattern: str, count: int, shots: Path) -> None:
    source = open_source(f"{shots}/{pattern}")
    assert isinstance(source, ImageSource)
    assert (source.camera, source.info.frames) == ("shots.day1", count)


def test_one_image_is_a_source_of_one_frame(shots: Path) -> None:
    source = open_source(str(shots / "img2.png"))
    assert (source.camera, source.info.kind, source.info.frames) == ("img2", "images", 1)


def test_a_file_whose_name_looks_like_a_pattern_is_the_file(tmp_path: Path) -> None:
    write_clip(tmp_path / "cam.mp4", Clip(frames=2)).rename(tmp_path / "cam[1].mp4")
    assert open_source(str(tmp_path / "cam[1].mp4")).info.frames == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.mp4", "no such file or folder; check the name"),
        ("shots.day1/*.webp", "the pattern matches no bmp, jpeg, jpg, png, tif, tiff, webp file"),
        ("shots.day1/*.txt", "the pattern matches no bmp, "),
        ("void", "the folder holds no bmp, "),
        ("shots.day1/notes.txt", "is not a video file that can be read"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_one_line(name: str, message: str, shots: Path, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    for ask in (open_source, input_sha256):
        if ask is input_sha256 and name.endswith("notes.txt"):
            continue  # it is a file, and has a digest
        with pytest.raises(StreamError) as caught:
            ask(f"{tmp_path}/{name}")
        assert str(caught.value).startswith(f"{tmp_path}/{name}: {message}")
        assert "\n" not in str(caught.value)


def test_an_address_is_refused_without_repeating_its_password() -> None:
    with pytest.raises(StreamError) as caught:
        open_source("rtsp://admin:secret@camera.example/1")
    assert str(caught.value) == "rtsp:// addresses are not read here; name a file or a folder"


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path, shots: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(3_000_000))
    assert input_sha256(str(tmp_path / "a.mp4")) == hashlib.sha256(bytes(3_000_000)).hexdigest()
    one = shots / "img1.png"
    assert input_sha256(str(one)) == hashlib.sha256(one.read_bytes()).hexdigest()


def test_the_digest_of_images_depends_on_names_contents_and_nothing_else(shots: Path) -> None:
    first = input_sha256(str(shots))
    assert input_sha256(f"{shots}/*.png") == first
    (shots / "notes.txt").write_text("still no image")
    assert input_sha256(str(shots)) == first
    (shots / "img10.png").rename(shots / "img11.png")
    renamed = input_sha256(str(shots))
    write_image(shots / "img11.png", 99)
    assert len({first, renamed, input_sha256(str(shots))}) == 3
