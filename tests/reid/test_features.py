"""Files of features: what is written is read, and what is no such file ends in one line."""

from __future__ import annotations

import io
import json
import math
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchline.reid.embeddings import EmbeddingModel, Kind
from watchline.reid.features import (
    DISTRACTOR,
    JUNK,
    LONGEST_TEXT,
    UNKNOWN,
    FeatureSet,
    market_name,
    read_features,
    unit,
    write_features,
)
from watchline.streams.errors import OutputError, StreamError

MODEL = EmbeddingModel("osnet-x0-25", "ab" * 32, Kind.BODY, 3)
NAMES = ["0001_c1s1_000001_00.jpg", "0001_c2s3_000002_01.jpg", "0000_c1s1_000003_02.jpg", "-1_c2s1_000004_03.jpg"]

ENDLESS = {"name": "body", "sha256": "", "kind": "body", "dimension": math.inf}


def some(n: int = 4) -> FeatureSet:
    rng = np.random.default_rng(7)
    return FeatureSet.of(
        rng.normal(size=(n, 3)).astype(np.float32),
        MODEL,
        names=[f"yard.mp4 at {i} s, Zoë" for i in range(n)],
        file=["yard.mp4"] * n,
        camera=["north gate"] * n,
        box=rng.uniform(0, 100, (n, 4)).astype(np.float32),
        time_s=np.arange(n) / 7,
        track_id=np.arange(n) + 2**40,
        quality=rng.uniform(size=n).astype(np.float32),
        person_id=np.arange(n, dtype=np.int32),
        query=np.arange(n) % 2 == 0,
    )


SIZE = len("".join(some().names).encode()) + len("yard.mp4north gate")  # bytes of its texts


def same(a: FeatureSet, b: FeatureSet) -> bool:
    columns = ("vectors", "names", "file", "camera", "box", "time_s", "track_id", "quality", "person_id", "query")
    known = all(
        getattr(a, name).dtype.kind == getattr(b, name).dtype.kind
        and np.array_equal(getattr(a, name), getattr(b, name), equal_nan=getattr(a, name).dtype.kind == "f")
        for name in columns
    )
    return known and a.model == b.model


def market(**changed: Any) -> dict[str, Any]:
    vectors = np.arange(12, dtype=np.float16).reshape(4, 3)
    parts = {"qn": np.array(NAMES[:1]), "qf": vectors[:1], "gn": np.array(NAMES[1:]), "gf": vectors[1:]}
    return {name: part for name, part in {**parts, **changed}.items() if part is not None}


def refusal(path: Path) -> str:
    """The one line that a user sees of a file that is refused."""
    with pytest.raises(StreamError) as caught:
        read_features(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    assert len(line) < len(str(path)) + 250
    return line


def with_member(path: Path, name: str, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Writes a good file of features, but for one member."""
    whole = path.with_name("whole.npz")
    write_features(whole, some())
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", compression) as new:
        for member in old.namelist():
            new.writestr(member, content if member == f"{name}.npy" else old.read(member))
    return path


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array), allow_pickle=allow_pickle)
    return file.getvalue()


def claim(descr: str, shape: str, data: bytes = b"", fortran: str = "False") -> bytes:
    """An array whose header says what it likes."""
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


# What is written is read


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    for features in (some(), some(0), FeatureSet.of(some().vectors, MODEL)):
        write_features(path, features)
        assert same(read_features(path), features)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["features.npz"]


def test_numpy_alone_opens_the_file_without_pickles(tmp_path: Path) -> None:
    write_features(tmp_path / "features.npz", some())
    with np.load(tmp_path / "features.npz", allow_pickle=False) as archive:
        number, ends = archive["names"][1], archive["text_ends"]
        assert bytes(archive["text"][ends[number - 1] : ends[number]]).decode() == "yard.mp4 at 1 s, Zoë"
        assert archive["vectors"].dtype == np.float32
        assert json.loads(str(archive["about"]))["model"]["sha256"] == MODEL.sha256


@pytest.mark.parametrize(
    ("name", "dtype"), [("vectors", ">f8"), ("time_s", "<f4"), ("person_id", ">u2"), ("names", ">i8")]
)
def test_numbers_of_other_widths_and_orders_are_read(tmp_path: Path, name: str, dtype: str) -> None:
    good = some(8)
    column = np.arange(8) if name == "names" else getattr(good, name)  # texts are numbered as they come
    stored = np.asfortranarray(column).astype(dtype, order="F")
    whole = tmp_path / "whole.npz"
    write_features(whole, good)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "theirs.npz", "w") as new:
        for member in old.namelist():
            new.writestr(member, npy(stored) if member == f"{name}.npy" else old.read(member))
    found = getattr(read_features(tmp_path / "theirs.npz"), name)
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    assert np.array_equal(found, good.names if name == "names" else stored)


def test_the_market_form_says_who_where_and_which_recording(tmp_path: Path) -> None:
    np.savez(tmp_path / "market.npz", **market())
    features = read_features(tmp_path / "market.npz")
    assert features.names.tolist() == NAMES
    assert features.person_id.tolist() == [1, 1, DISTRACTOR, JUNK]
    assert features.camera.tolist() == ["c1", "c2", "c1", "c2"]
    assert features.file.tolist() == ["c1s1", "c2s3", "c1s1", "c2s1"]
    assert features.query.tolist() == [True, False, False, False]
    assert features.track_id.tolist() == [1, 1, -1, -1]
    assert np.array_equal(features.vectors, np.arange(12, dtype=np.float32).reshape(4, 3))
    assert features.model == EmbeddingModel("not said", "", Kind.BODY, 3)


def test_one_long_text_does_not_widen_the_others(tmp_path: Path) -> None:
    n, path = 20_000, tmp_path / "features.npz"
    names = ["x" * LONGEST_TEXT, *(f"{i}.jpg" for i in range(1, n))]
    features = FeatureSet.of(np.ones((n, 3), np.float32), MODEL, names=names, file=["y" * LONGEST_TEXT] * n)
    tracemalloc.start()
    try:
        write_features(path, features)
        found = read_features(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000  # 330 MB for each column as NumPy has text
    finally:
        tracemalloc.stop()
    assert found.names.tolist() == names
    assert len({id(text) for text in found.file}) == 1


def test_names_that_are_no_unicode_come_back(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.jpg"), "\ud800", "\U0001f600\0", ""]
    write_features(tmp_path / "features.npz", FeatureSet.of(some().vectors, MODEL, names=names))
    assert read_features(tmp_path / "features.npz").names.tolist() == names


def test_a_text_that_is_longer_than_a_path_is_refused(tmp_path: Path) -> None:
    lines = np.arange(1, 5) * 5000
    with_member(tmp_path / "a.npz", "text", npy(np.full(20000, 65, np.uint8)))
    with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "bad.npz", "w") as new:
        for member in old.namelist():
            new.writestr(member, npy(lines) if member == "text_ends.npy" else old.read(member))
    assert "text holds a text of 5000 characters; want 4096 at most" in refusal(tmp_path / "bad.npz")


def test_names_of_pictures_are_taken_apart_only_where_they_have_the_form() -> None:
    assert market_name("-1_c3s2_000001_02.jpg") == (-1, "c3", "c3s2")
    assert market_name("0000_c6s4_1_1.png") == (0, "c6", "c6s4")
    for other in ("", "0001.jpg", "1_c1_2.jpg", "x0001_c1s1_1.jpg", f"{'9' * 30}_c1s1_0_0.jpg"):
        assert market_name(other) is None


def test_what_is_not_given_is_not_known() -> None:
    features = FeatureSet.of(some(2).vectors, MODEL)
    assert features.person_id.tolist() == [UNKNOWN, UNKNOWN]
    assert features.camera.tolist() == ["", ""]
    assert np.isnan(features.time_s).all()
    assert len(features.take(np.array([True, False]))) == 1


def test_vectors_of_any_size_have_length_one_and_zeros_stay() -> None:
    vectors = np.array([[3, 4, 0], [3e38, 3e38, 0], [1e-44, 0, 0], [0, 0, 0]], np.float32)
    lengths = np.linalg.norm(unit(vectors), axis=1)
    assert lengths == pytest.approx([1, 1, 1, 0], abs=1e-6)
    assert vectors[0, 0] == 3


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("vectors", np.zeros((4, 2), np.float32)),
        ("vectors", np.full((4, 3), np.nan, np.float32)),
        ("vectors", np.full((4, 3), np.inf, np.float32)),
        ("names", np.zeros(4)),
        ("camera", np.array(["a"])),
        ("box", np.zeros((4, 4))),
        ("query", np.zeros(4, np.int32)),
    ],
)
def test_a_set_of_wrong_columns_cannot_be_made(column: str, wrong: Any) -> None:
    good = some()
    parts = {name: getattr(good, name) for name in FeatureSet.__slots__}
    with pytest.raises(ValueError, match=column):
        FeatureSet(**{**parts, column: wrong})


# What cannot be written


def test_a_refused_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    write_features(path, some())
    before = path.read_bytes()
    (tmp_path / "features.npz.part").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_features(path, some(2))
    assert path.read_bytes() == before
    with pytest.raises(OutputError, match="cannot write"):
        write_features(tmp_path / "nowhere" / "features.npz", some())


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "features.npz"
    with pytest.raises(OutputError, match="5000 characters is too long"):
        write_features(path, FeatureSet.of(some(1).vectors, MODEL, names=["x" * 5000]))
    long = EmbeddingModel("m" * 5000, "", Kind.FACE, 3)
    with pytest.raises(OutputError, match="model's name would be too much"):
        write_features(path, FeatureSet.of(some(1).vectors, long))
    assert not list(tmp_path.iterdir())


# What is refused


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    assert "check the name" in refusal(tmp_path / "missing.npz")
    assert "folder" in refusal(tmp_path)
    for content in (b"", b"PK\x03\x04", b"\x80\x04\x95pickle", npy(np.zeros(3)), bytes(1000)):
        (tmp_path / "file.npz").write_bytes(content)
        assert "no .npz archive" in refusal(tmp_path / "file.npz")


def test_a_cut_off_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    write_features(tmp_path / "whole.npz", some())
    whole = (tmp_path / "whole.npz").read_bytes()
    for size in range(0, len(whole), 37):
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        refusal(tmp_path / "cut.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vectors", npy(np.array([{"a": 1}] * 4), allow_pickle=True), "pickled objects, which are never loaded"),
        ("about", npy(np.array({"a": 1}), allow_pickle=True), "pickled objects, which are never loaded"),
        ("vectors", npy(np.zeros((4, 3), [("a", "f4")])), "no plain array"),
        ("vectors", npy(np.zeros((4, 3), np.complex64)), "no plain array"),
        ("vectors", npy(np.zeros((4, 3), np.int32)), "want floating-point numbers"),
        ("vectors", npy(np.zeros((4, 2), np.float32)), "its model makes 3"),
        ("vectors", npy(np.zeros((4, 0), np.float32)), "vectors of 0 numbers"),
        ("vectors", npy(np.zeros((1, 20000), np.float32)), "vectors of 20000 numbers"),
        ("vectors", npy(np.zeros(12, np.float32)), r"shape \(12,\)"),
        ("vectors", npy(np.full((4, 3), np.nan, np.float32)), "row 0 holds NaN"),
        ("vectors", npy(np.full((4, 3), 1e300)), "row 0 holds NaN or infinity"),
        ("vectors", npy(np.zeros((4, 3), np.float32))[:-1], "vectors ends early"),
        ("vectors", npy(np.zeros((4, 3), np.float32)) + b"x", "goes on beyond its end"),
        ("vectors", b"", "no NumPy array"),
        ("vectors", claim("'<f4'", f"({'9' * 12}, 3)"), "needs more memory"),
        ("vectors", claim("'<f4'", f"({'9' * 12}, 0)"), "vectors of 0 numbers"),
        ("vectors", claim("'<f4'", "(" * 3000), "no plain array"),
        ("vectors", claim("__import__('os')", "(4, 3)"), "no plain array"),
        ("vectors", b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little"), "no plain array"),
        ("names", npy(np.arange(3)), r"names has the shape \(3,\)"),
        ("names", npy(np.array(["a"] * 4)), "want whole numbers"),
        ("names", npy(np.array([b"a"] * 4)), "no plain array"),
        ("names", npy(np.array([0, 1, 2, 99])), "names texts that are not there"),
        ("file", npy(np.array([0, 1, 2, -1])), "file names texts that are not there"),
        ("text", npy(np.full(SIZE, 0xFF, np.uint8)), "text holds no text"),
        ("text", npy(np.zeros(SIZE + 1, np.uint8)), "does not say where the texts of text end"),
        ("text", npy(np.full(SIZE, 300)), "numbers beyond uint8"),
        ("text_ends", npy(np.array([9, 3, SIZE])), "does not say where"),
        ("text_ends", npy(np.array([-1, SIZE])), "does not say where"),
        ("text_ends", npy(np.zeros(0, np.int64)), "does not say where"),
        ("text_ends", claim("'<i8'", f"({2**40},)"), "needs more memory"),
        ("about", npy(np.array("a" * 5000)), "want short texts"),
        ("about", claim("'<U1'", "()", b"\xff" * 4), "holds no text"),
        ("about", claim("'<U0'", "()"), "no plain array"),
        ("about", npy(json.dumps({"form": "watchline-features", "version": 1, "model": {}})), "of version 1, known"),
        ("person_id", npy(np.full(4, 2**40)), "numbers beyond int32"),
        ("query", npy(np.zeros(4, np.int8)), "want yes and no"),
        ("about", npy("nonsense"), "not written by watchline"),
        ("about", npy("[" * 4000), "not written by watchline"),
        ("about", npy(json.dumps({"form": "watchline-features", "version": 9, "model": {}})), "of version 9"),
        ("about", npy(json.dumps({"form": "watchline-features", "version": 2, "model": {}})), "names no model"),
        ("about", npy(json.dumps({"form": "watchline-features", "version": 2, "model": 3})), "names no model"),
        ("about", npy(json.dumps({"form": "watchline-features", "version": math.inf})), "not written by watchline"),
        ("about", npy(json.dumps({"form": "watchline-features", "version": 2, "model": ENDLESS})), "names no model"),
    ],
)
def test_a_damaged_or_hostile_member_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    line = refusal(with_member(tmp_path / "bad.npz", name, content))
    assert __import__("re").search(message, line), line


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gf": None}, "neither watchline's features nor of the Market-1501 form"),
        ({"gf": np.zeros((3, 2), np.float32)}, "qf has vectors of 3 numbers, gf of 2"),
        ({"gn": np.array(NAMES[:2])}, "gn has the shape"),
        ({"gn": np.array(["holiday.jpg"] * 3)}, "'holiday.jpg': no picture's name of Market-1501"),
        ({"qf": np.full((1, 3), np.inf, np.float16)}, "row 0 holds NaN or infinity"),
        ({"gn": np.array(NAMES[1:], object)}, "pickled objects"),
    ],
)
def test_a_wrong_market_file_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "market.npz", **market(**changed))
    assert message in refusal(tmp_path / "market.npz")


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_packing_that_numpy_does_not_use_is_refused(tmp_path: Path, compression: int) -> None:
    assert "packed in a way" in refusal(with_member(tmp_path / "bad.npz", "", b"", compression))


def test_an_archive_of_endless_members_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for i in range(1000):
            archive.writestr(f"{i}.npy", b"")
    assert "1000 members" in refusal(tmp_path / "many.npz")


def test_a_list_of_members_is_not_read_before_it_is_known_to_be_short(tmp_path: Path) -> None:
    many = 50_000
    listed = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 15, 0) * many
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, many, many, len(listed), 0, 0)
    (tmp_path / "many.npz").write_bytes(listed + end)
    assert "a list of members of 2 MiB" in refusal(tmp_path / "many.npz")


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(lambda: claim("'<f4'", "(4, 3)"), id="goes on and on"),
        pytest.param(lambda: claim("'<f4'", f"({2**36}, 3)"), id="says terabytes"),
        pytest.param(lambda: claim("'<f4'", f"({2**28}, 3)"), id="says what is allowed, and ends early"),
    ],
)
def test_a_bomb_takes_no_more_memory_than_it_may(tmp_path: Path, header: Callable[[], bytes]) -> None:
    with_member(tmp_path / "bomb.npz", "vectors", header() + bytes(40_000_000))
    assert (tmp_path / "bomb.npz").stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(StreamError):
            read_features(tmp_path / "bomb.npz", most_bytes=1 << 24)
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
        with pytest.raises(StreamError):
            read_features(tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 120_000_000
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_changed_byte_brings_more_than_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "mutated.npz"
    write_features(path, some())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_features(path)
    except StreamError as error:
        assert "\n" not in str(error)  # either end is good


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_no_changed_header_brings_more_than_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    write_features(folder / "unchanged.npz", some())
    with zipfile.ZipFile(folder / "unchanged.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = data.draw(st.sampled_from(sorted(members)))
    content = bytearray(members[name])
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, min(127, len(content) - 1)))
        content[place] = data.draw(st.sampled_from(b"0123456789(),'<>|fUiO\x00\xff"))
    with zipfile.ZipFile(folder / "mutated.npz", "w") as archive:
        for each, old in members.items():
            archive.writestr(each, content[: data.draw(st.integers(0, 200))] if each == name else old)
    try:
        read_features(folder / "mutated.npz")
    except StreamError as error:
        assert "\n" not in str(error)  # either end is good
