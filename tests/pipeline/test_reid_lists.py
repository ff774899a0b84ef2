"""What an input of `watchline reid` names: pictures, folders and lists, with what they say of each picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.pipeline.reid_models import person, save
from watchline.pipeline.cropping import read_picture
from watchline.pipeline.picture_headers import PICTURE_SUFFIXES
from watchline.pipeline.picture_lists import Still, is_video, stills_of
from watchline.reid.features import UNKNOWN
from watchline.streams.errors import StreamError


def listed(path: Path) -> list[Still]:
    said: list[str] = []
    stills = stills_of(str(path), said.append, said.append)
    assert not said
    return stills


def refusal(path: Path) -> str:
    with pytest.raises(StreamError) as refused:
        stills_of(str(path), print, print)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_folder_gives_all_pictures_below_it_in_natural_order(tmp_path: Path) -> None:
    for name in ("a10.png", "a2.png", "cam 2/b.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [still.name for still in listed(tmp_path)] == ["a2.png", "a10.png", "cam 2/b.jpg"]


def test_an_empty_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith(f"{tmp_path}: the folder holds no picture (bmp, jpeg, jpg, png,")


def test_pictures_of_kinds_that_are_not_read_are_told(tmp_path: Path) -> None:
    for name in ("a.TIF", "b.tif", "c.heic", "._c.heic", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path).endswith("but 1 .heic, 2 .tif, which are not read here; save them as JPEG or PNG")
    (tmp_path / "d.png").write_bytes(b"")
    said: list[str] = []
    assert [still.name for still in stills_of(str(tmp_path), print, said.append)] == ["d.png"]
    assert said == [f"{tmp_path}: left out, for they are not read here: 1 .heic, 2 .tif; save them as JPEG or PNG"]


def test_every_kind_of_picture_that_is_listed_is_read(tmp_path: Path) -> None:
    for suffix in sorted(PICTURE_SUFFIXES):
        save(tmp_path / f"a{suffix}", person("red"))
    assert len(listed(tmp_path)) == len(PICTURE_SUFFIXES)
    for still in listed(tmp_path):
        assert read_picture(still.path).shape == (96, 48, 3)


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_list_as_other_spreadsheets_write_it_is_read(tmp_path: Path, between: str) -> None:
    rows = ("path", "x1", "y1", "x2", "y2"), ("a, b.png", "1", "2", "30", "40")
    text = "\ufeff" + "\r\n".join(between.join(row) for row in rows)
    (tmp_path / "list.csv").write_text(text, "utf-8")
    (still,) = listed(tmp_path / "list.csv")
    assert (still.name, still.box) == ("a, b.png", (1.0, 2.0, 30.0, 40.0))


def test_names_of_market_1501_say_person_and_camera(tmp_path: Path) -> None:
    picture = save(tmp_path / "0002_c1s1_000451_03.jpg", person("red"))
    assert listed(picture) == listed(tmp_path)
    (still,) = listed(picture)
    assert (still.person_id, still.camera, still.box) == (2, "c1", None)
    assert math.isnan(still.time_s)


def test_a_list_in_csv_and_one_in_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(
        "path,x1,y1,x2,y2,person_id,camera,time_s\r\n"
        '"frame 1.png",1,2.5,30,40,7,yard,12.5\r\n'
        "\r\n"
        "0002_c1s1_000451_03.jpg,,,,,,,\r\n"
    )
    row = {"path": "frame 1.png", "x1": 1, "y1": 2.5, "x2": 30, "y2": 40, "person_id": 7, "camera": "yard"}
    (tmp_path / "list.json").write_text(json.dumps([{**row, "time_s": 12.5}, "0002_c1s1_000451_03.jpg"]))
    first, second = listed(tmp_path / "list.csv")
    assert first == Still(tmp_path / "frame 1.png", "frame 1.png", (1.0, 2.5, 30.0, 40.0), 7, "yard", 12.5)
    assert (second.person_id, second.camera, second.box) == (2, "c1", None)
    again = listed(tmp_path / "list.json")
    assert again[0] == first
    assert repr(again[1]) == repr(second)  # a time that is not known equals no other


def test_a_list_without_anything_else_leaves_all_unknown(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("\ufeffpath\nme.png\n", encoding="utf-8")
    (still,) = listed(tmp_path / "list.csv")
    assert (still.path, still.person_id, still.camera) == (tmp_path / "me.png", UNKNOWN, "")


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,person\nme.png,3\n")
    said: list[str] = []
    stills_of(str(tmp_path / "list.csv"), said.append, print)
    assert said == [f"{tmp_path}/list.csv: not used: person; known are path, x1, y1, x2, y2, person_id, camera, time_s"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "is empty; want a list in CSV, its first line path,x1,"),
        ("a.csv", "path\n", "the list names no picture"),
        ("a.csv", "file,x1\nme.png,1\n", "line 1: 'file,x1': want names of columns, each once: path, and of x1, y1,"),
        ("a.csv", "path,camera\nme.png\n", "line 2: 1 values, want 2"),
        ("a.csv", 'path\n"me.png\n', "line 2: unexpected end of data; mend the line"),
        ("a.csv", "path,person_id\nme.png,two\n", "line 2: person_id is 'two'; want a number"),
        ("a.csv", "path,person_id\nme.png,1.5\n", "line 2: person_id is 1.5; want a whole number from -1"),
        ("a.csv", "path,time_s\nme.png,inf\n", "line 2: time_s is 'inf'; want a number"),
        ("a.csv", "path,x1,y1,x2,y2\nme.png,1,2,3,\n", "line 2: the box is 1, 2, 3, ?; want x1, y1, x2 and y2"),
        ("a.csv", "path,x1,y1,x2,y2\nme.png,9,2,3,4\n", "line 2: the box is 9, 2, 3, 4; want x1, y1, x2 and y2"),
        ("a.csv", "path,x1,y1,x2,y2\nme.png,1,2,3,1e308\n", "line 2: the box reaches to 1e+308; want pixels, 10000000"),
        ("a.csv", f"path,camera\nme.png,{'x' * 4097}\n", "line 2: camera has 4097 characters; want 4096 at most"),
        ("a.json", "{}", 'want an array: [{"path": "a.jpg"}, ...]'),
        ("a.json", "[{]", "no JSON (Expecting property name"),
        ("a.json", "[" * 100_000, "no JSON (too deep"),
        ("a.json", "[3]", "row 1: want an object with a path, or a path"),
        ("a.json", '[{"camera": "yard"}]', "row 1: path is None; want the name of a picture's file"),
        ("a.json", '["\\ud800.jpg"]', r"row 1: path is '\ud800.jpg'; want the name of a picture's file"),
        ("a.json", '[{"path": "a.png", "time_s": true}]', "row 1: time_s is True; want a number"),
        ("a.json", '[{"path": "a.png", "time_s": ' + "9" * 999 + "}]", "row 1: time_s is 999"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_with_its_line(
    name: str, content: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    line = refusal(tmp_path / name)
    assert line.startswith(f"{tmp_path / name}: ")
    assert says in line


def test_a_camera_may_be_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"path": "me.png", "camera": 0}]')
    assert [still.camera for still in stills_of(str(tmp_path / "a.json"), print, print)] == ["0"]


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"path\n\xff\xfe.png\n")
    assert "no text (byte 5); want a list in CSV or JSON, in UTF-8" in refusal(tmp_path / "a.csv")


def test_what_names_no_pictures_is_a_video(tmp_path: Path) -> None:
    assert is_video("shop.mp4")
    assert is_video("recording")
    assert not any(is_video(name) for name in ("a.JPG", "a.tif", "a.HEIC", "list.csv", "list.json", str(tmp_path)))
