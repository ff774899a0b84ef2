"""The catalog: what it holds, and what it refuses to hold."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from watchline.detectors.catalog import Catalog, Kind, UrlSource, WheelSource, redacted
from watchline.streams.errors import UsageError

CLIP = """
default_model = "a"
default_clip = "a"
[entries.a]
kind = "clip"
description = "a clip"
file = "a.mp4"
size_bytes = 1
sha256 = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
licence = "CC0-1.0"
licence_url = "https://example.org/licence"
notice = "Free for all."
sources = [{ url = "https://example.org/a.mp4" }]
"""


def test_the_catalog_brought_along_names_its_defaults() -> None:
    catalog = Catalog.load()
    assert catalog[catalog.default_model].kind is Kind.MODEL
    assert catalog[catalog.default_clip].kind is Kind.CLIP


def test_every_entry_states_its_licence_and_a_notice() -> None:
    for entry in Catalog.load():
        assert entry.licence
        assert entry.licence_url.startswith("https://")
        assert entry.notice.endswith(".")


def test_the_defaults_have_a_source_that_needs_no_more_than_a_package_mirror() -> None:
    catalog = Catalog.load()
    for entry in (catalog[catalog.default_model], catalog[catalog.default_clip]):
        assert any(isinstance(source, WheelSource) for source in entry.sources), entry.name


def test_names_and_files_are_unique() -> None:
    catalog = Catalog.load()
    assert len({entry.name for entry in catalog}) == len({entry.file for entry in catalog}) == len(catalog)


@pytest.mark.data
@pytest.mark.parametrize(("name", "folder"), [("yolov8n", "models"), ("yunet", "models"), ("bikes", "clips")])
def test_size_and_sha256_are_those_of_the_real_file(name: str, folder: str, data_dir: Path) -> None:
    entry = Catalog.load()[name]
    content = (data_dir / folder / entry.file).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.size_bytes, entry.sha256)


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"'yolov9n'; did you mean 'yolov8n'.*watchline models list"):
        Catalog.load()["yolov9n"]


def test_a_name_like_no_other_is_answered_with_the_list() -> None:
    with pytest.raises(UsageError, match="'zzz'; `watchline models list`"):
        Catalog.load()["zzz"]


def test_a_catalog_reads_back_what_was_written() -> None:
    entry = Catalog.parse(CLIP)["a"]
    assert entry.sources == (UrlSource("https://example.org/a.mp4"),)
    assert (entry.family, entry.input_size) == ("", (0, 0))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"a.mp4"', '"../a.mp4"'),
        ('"a.mp4"', '"/etc/passwd"'),
        ('"a.mp4"', '".bashrc"'),
        ("size_bytes = 1", "size_bytes = 0"),
        ("ca978", "CA978"),
        ("ca978", "ca97"),
        ("https://example.org/a.mp4", "file:///etc/passwd"),
        ("https://example.org/a.mp4", "ftp://example.org/a.mp4"),
        ('{ url = "https://example.org/a.mp4" }', ""),
        ('{ url = "https://example.org/a.mp4" }', '{ wheel = "a>=1", member = "a" }'),
        ('{ url = "https://example.org/a.mp4" }', '{ wheel = "--pre", member = "a" }'),
        ('"clip"', '"model"'),
        ('"clip"', '"poem"'),
        ("[entries.a]", '[entries.a]\ntask = "detect"'),
    ],
)
def test_a_catalog_that_makes_no_sense_is_refused(right: str, wrong: str) -> None:
    assert right in CLIP
    with pytest.raises(ValueError, match=r"want|no source|only a model|not a valid"):
        Catalog.parse(CLIP.replace(right, wrong))


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(TypeError, match="licens"):
        Catalog.parse(CLIP.replace("licence =", "licens ="))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@h/x", "https://***@h/x"),
        ("http://u:p@ss@h:80/x and http://h/y@z", "http://***@h:80/x and http://h/y@z"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_credentials_are_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown
