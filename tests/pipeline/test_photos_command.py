"""`watchline photo check`: what an investigator sees first."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.command import watchline, write_tiny_face_model
from tests.faults.test_pictures import png_of
from tests.kit.cli import Said, call
from tests.pipeline.reid_models import save, write_tiny_embedder
from tests.reid.drawn import face, person
from watchline.streams.opening import open_source


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Somebody in the middle, where the tiny model always finds one: of 320x480 pixels."""
    rgb = np.full((480, 320, 3), 120, np.uint8)
    rgb[120:360, 120:200] = person(240, 80)
    rgb[60:132, 16:80] = face(72, 64)  # somebody else's, on a poster
    return save(tmp_path / "missing person.png", rgb)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds the face of somebody in the middle, and one on the left."""
    path = tmp_path_factory.mktemp("faces") / "faces.onnx"
    return write_tiny_face_model(path, (0.5, 0.3, 0.1, 0.09), (0.15, 0.2, 0.2, 0.15))


def cache_of(path: Path) -> Path:
    """A folder that all tests of a run share: what was vetted once is not vetted again."""
    return path.parents[1] / "cache"


def check(path: Path, detector: Path, *options: str | Path) -> Said:
    return call("photo", "check", path, "--detector", detector, "--cache", cache_of(path), *options)


def test_one_person_is_taken_and_what_would_help_is_said(picture: Path, tiny: Path) -> None:
    done = check(picture, tiny)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == f"{picture}: PNG, 320x480, {picture.stat().st_size:,} bytes"
    assert lines[1] == "one person:"
    assert lines[-1].startswith("person 1 can be searched with, by body (fair); clothes change: ")


def test_json_says_the_same_and_models_are_tried(picture: Path, tiny: Path, tmp_path: Path) -> None:
    model = write_tiny_embedder(tmp_path / "colours.onnx")
    done = check(picture, tiny, "--json", "--reid-model", model)
    record = json.loads(done.out)
    assert record["taken"] == 1
    assert record["kind"] == "PNG"
    assert len(record["sha256"]) == 64
    assert [(each["kind"], each["dimension"]) for each in record["described"]] == [("body", 24)]
    assert record["out"] is None


def test_the_marked_picture_is_written_and_never_over_another(picture: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "marked.jpg"
    done = check(picture, tiny, "--out", out)
    assert f"marked picture: {out}" in done.out
    marked = cv2.imread(str(out))
    assert marked is not None
    assert marked.shape == (480, 320, 3)
    again = check(picture, tiny, "--out", out)
    assert (again.code, again.err) == (
        2,
        f"--out {out}: is there already; choose another, or replace it with --overwrite",
    )
    assert check(picture, tiny, "--out", out, "--overwrite").code == 0


def test_the_photo_itself_is_never_written_over(picture: Path, tiny: Path, tmp_path: Path) -> None:
    photo, link = tmp_path / "only.jpg", tmp_path / "marked.jpg"
    photo.write_bytes(picture.read_bytes())
    link.symlink_to(photo)
    for out in (photo, link):
        done = check(photo, tiny, "--out", out, "--overwrite")
        assert (done.code, done.err) == (2, f"--out {out}: is the photo itself; choose another name")
    assert photo.read_bytes() == picture.read_bytes()


def test_several_are_shown_and_one_is_asked_for(picture: Path, tiny: Path, faces: Path) -> None:
    done = check(picture, tiny, "--face-detector", faces)
    assert done.code == 0, done.err
    assert "2 people, numbered from left to right:" in done.out
    assert "who is meant? say it with --person 1 to 2" in done.out
    assert "--out marked.jpg shows the numbers in the picture" in done.out
    chosen = check(picture, tiny, "--face-detector", faces, "--person", "2")
    assert "   2  body 120x240 px, " in chosen.out
    assert ", face 48x43 px, " in chosen.out
    assert "person 2 can be searched with, by body" in chosen.out


def test_who_is_too_small_is_told_so_with_exit_code_1(tiny: Path, tmp_path: Path) -> None:
    small = save(tmp_path / "small.png", np.full((80, 80, 3), 120, np.uint8))
    done = check(small, tiny)
    assert done.code == 1
    assert "body: too small: 40 px high, 48 is the least; use a larger picture" in done.out
    assert done.out.splitlines()[-1] == "person 1 cannot be searched with; another picture is needed"


def test_where_no_body_will_do_and_nobody_looked_a_face_is_thought_of(tiny: Path, faces: Path, tmp_path: Path) -> None:
    small = save(tmp_path / "small.png", np.full((80, 80, 3), 120, np.uint8))
    hint = "nobody looked for faces; one may do: --face-detector yunet"
    assert hint in check(small, tiny).err
    assert hint not in check(small, tiny, "--face-detector", faces).err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--whole", "--person", "1"), "--whole and --person 1 exclude each other"),
        (("--face-model", "sface"), "--face-model sface: nothing looks for faces; give --face-detector too"),
        (("--out", "marked.png"), "--out marked.png: want a name that ends in .jpg"),
        (("--out", "no such folder/marked.jpg"), "there is no folder no such folder; make it, or choose another"),
        (("--device", "abacus"), "--device abacus: want one or more of"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = check(tmp_path / "gone.jpg", tmp_path / "gone.onnx", *options)
    assert done.code == (1 if "folder" in says else 2)
    assert says in done.err


def test_models_that_find_the_wrong_thing_are_refused(picture: Path, tiny: Path, faces: Path) -> None:
    done = check(picture, faces)
    assert done.code == 2
    assert "finds face, and no person; name one that does" in done.err
    done = check(picture, tiny, "--face-detector", tiny)
    assert done.code == 2
    assert "finds no faces; name one that does, such as yunet" in done.err


def test_a_bomb_is_one_line_of_the_real_command(tiny: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of(30_000, 30_000))
    done = watchline("photo", "check", bomb, "--detector", tiny)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"watchline: {bomb}: is 30000x30000 pixels, more than 40 million; make it smaller\n"


@pytest.fixture(scope="module")
def frames(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of street clips, and somebody cut out of one."""
    folder = tmp_path_factory.mktemp("frames")
    for name in ("people-walking", "car-detection"):
        source = open_source(str(data_dir / "clips" / f"{name}.mp4"))
        frame = source.read()
        source.close()
        assert frame
        save(folder / f"{name}.jpg", frame.rgb())
    rgb = cv2.imread(str(folder / "people-walking.jpg"))
    assert rgb is not None
    save(folder / "cut out.png", np.ascontiguousarray(rgb[215:681, 344:515, ::-1]))
    return folder


class TestRealPictures:
    """What the detector of a first run finds in pictures that people took."""

    def test_a_street_a_person_cut_out_of_it_and_nobody(self, frames: Path, data_dir: Path) -> None:
        detector = data_dir / "models" / "yolov8n.pt"
        faces = data_dir / "models" / "face_detection_yunet_2026may.onnx"
        done = check(frames / "people-walking.jpg", detector, "--json", "--face-detector", faces)
        people = json.loads(done.out)["people"]
        assert 10 <= len(people) <= 18
        best = max((each for each in people if each["body"]), key=lambda each: each["body"]["quality"])
        assert best["body"]["quality"] > 0.5
        assert best["face"]
        cut = json.loads(check(frames / "cut out.png", detector, "--json").out)
        assert cut["people"][0]["whole"]
        assert cut["people"][0]["body"]["quality"] > 0.5
        nobody = check(frames / "car-detection.jpg", detector)
        assert (nobody.code, nobody.out) == (1, "")
        assert "nobody was found in it; give a photo that shows the person larger" in nobody.err

    def test_a_portrait_is_of_use_by_its_face(self, data_dir: Path, tmp_path: Path) -> None:
        faces = data_dir / "models" / "face_detection_yunet_2026may.onnx"
        portrait = save(tmp_path / "portrait.jpg", _portrait(data_dir))
        done = check(portrait, data_dir / "models" / "yolov8n.pt", "--face-detector", faces)
        assert done.code == 0, done.err
        assert "body: cut off: too little of it is in the picture" in done.out
        assert done.out.splitlines()[-1] == "person 1 can be searched with, by face (good)"


def _portrait(data_dir: Path) -> np.ndarray:
    picture = cv2.imread(str(data_dir / "images" / "face_1.jpg"))
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1])
