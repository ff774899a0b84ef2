"""`watchline sightings export`: files that stand on their own, and a manifest that says who is in which."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tests.command import json_lines
from tests.kit.cli import call
from tests.kit.sightings import make_crop, make_sighting
from tests.pipeline.test_report import Page
from watchline.pipeline import sheets
from watchline.pipeline.manifests import MANIFEST, ExportedFile, read_manifest
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store


def filled(folder: Path, *sightings: Sighting) -> Path:
    path = folder / "site.db"
    store = open_store(path)
    store.add(sightings)
    store.close()
    return path


def test_a_folder_gets_a_sheet_records_crops_and_a_manifest(tmp_path: Path) -> None:
    one, two = make_sighting(track_id=1), make_sighting("gate", 2, at_s=60, crops=[make_crop(), make_crop()])
    out = tmp_path / "out"
    done = call("sightings", "export", "--store", filled(tmp_path, one, two), "--out", out, "--crops")
    assert done.out.startswith(f"2 tracks written to {out}, 6 files")
    assert sorted(each.name for each in out.iterdir()) == ["crops", "sheet.html", "sightings.jsonl", MANIFEST]
    gate, dock = json_lines(out / "sightings.jsonl")
    assert (gate["camera"], dock["camera"]) == ("gate", "dock")
    for crop, stored in zip(gate["parts"][0]["crops"], two.crops, strict=True):
        assert (out / crop["file"]).read_bytes() == stored.jpeg
        assert crop["sha256"] == hashlib.sha256(stored.jpeg).hexdigest()
    vector = np.frombuffer(base64.b64decode(dock["parts"][0]["vectors"][0]["float16_base64"]), "<f2")
    assert np.array_equal(vector, one.vectors[0].vector)
    assert len(Page((out / "sheet.html").read_text()).all("img")) == 2 + 1  # a best one each, and one more
    manifest = read_manifest(out / MANIFEST)
    assert manifest is not None
    held = {each.file: set(each.sightings) for each in manifest.files}
    assert held["sheet.html"] == held["sightings.jsonl"] == {one.sighting_id, two.sighting_id}
    assert sorted(held[f"crops/{hashlib.sha256(one.crops[0].jpeg).hexdigest()}.jpg"]) == [one.sighting_id]
    assert all(each.place(out) is not None for each in manifest.files)


@pytest.mark.parametrize("source", ["/home/jane/cases/yard.mp4", "/home/jane/live"])
def test_folders_of_this_machine_are_not_passed_on(tmp_path: Path, source: str) -> None:
    store, out, page = filled(tmp_path, make_sighting(source=source)), tmp_path / "out", tmp_path / "one.html"
    assert call("sightings", "export", "--store", store, "--out", out, "--source", source).code == 0
    assert call("sightings", "show", "dock:1", "--store", store, "--html", page).code == 0
    for file in (*out.iterdir(), page, tmp_path / f"one.html.{MANIFEST}"):
        assert "jane" not in file.read_text(), file
        assert str(tmp_path) not in file.read_text(), file
    (record,) = json_lines(out / "sightings.jsonl")
    name = "./live" if source.endswith("live") else "yard.mp4"  # a file of that name is no camera
    assert record["provenance"]["source"] == record["parts"][0]["provenance"]["source"] == name
    assert name in page.read_text()
    # The store itself knows the whole path: its files are told apart by it.
    assert source in call("sightings", "show", "dock:1", "--store", store).out


def test_one_file_is_a_page_lines_or_an_array(tmp_path: Path) -> None:
    store = filled(tmp_path, make_sighting(track_id=1), make_sighting(track_id=2, at_s=9))
    for name in ("a.html", "a.jsonl", "a.json"):
        assert call("sightings", "export", "--store", store, "--out", tmp_path / name).code == 0
        assert (tmp_path / f"{name}.{MANIFEST}").is_file()
    assert json.loads((tmp_path / "a.json").read_text()) == json_lines(tmp_path / "a.jsonl")
    assert "dock:2" in (tmp_path / "a.html").read_text()


def test_an_export_of_nothing_is_a_page_that_says_so(tmp_path: Path) -> None:
    store = filled(tmp_path, make_sighting())
    done = call("sightings", "export", "--store", store, "--out", tmp_path / "out", "--camera", "gate")
    assert done.code == 0
    assert "nothing was seen: camera gate" in done.err
    assert "Nothing was seen: camera gate" in (tmp_path / "out" / "sheet.html").read_text()
    assert (tmp_path / "out" / "sightings.jsonl").read_text() == ""
    assert call("sightings", "export", "-s", store, "-o", tmp_path / "no.json", "--until", "@9").code == 0
    assert json.loads((tmp_path / "no.json").read_text()) == []


def test_a_large_sheet_is_split_into_pages_that_lead_to_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MOST_CARDS", 2)
    store = filled(tmp_path, *(make_sighting(track_id=i, at_s=10.0 * i) for i in range(5)))
    done = call("sightings", "export", "--store", store, "--out", tmp_path / "all.html")
    assert "split into 3 pages" in done.out
    names = ["all.html", "all-2.html", "all-3.html"]
    links = [[a["href"] for a in Page((tmp_path / name).read_text()).all("a") if a.get("rel")] for name in names]
    assert [sorted(str(link) for link in set(each)) for each in links] == [
        ["all-2.html"],
        ["all-3.html", "all.html"],
        ["all-2.html"],
    ]
    assert "dock:4" in (tmp_path / "all.html").read_text()
    assert "dock:0" in (tmp_path / "all-3.html").read_text()


def test_what_is_there_is_replaced_only_when_asked_and_only_what_an_export_wrote(tmp_path: Path) -> None:
    out = tmp_path / "out"
    store = filled(tmp_path, make_sighting(track_id=1), make_sighting("gate", 2))
    export: list[str | Path] = ["sightings", "export", "--store", store, "--out", out, "--crops"]
    assert call(*export).code == 0
    (out / "mine.txt").write_text("keep")
    refused = call(*export)
    assert refused.code == 2
    assert "there is something already; choose another --out, or replace it with --overwrite" in refused.err
    assert call(*export, "--camera", "gate", "--overwrite").code == 0
    assert (out / "mine.txt").read_text() == "keep"
    assert len(list((out / "crops").iterdir())) == 1
    assert len(json_lines(out / "sightings.jsonl")) == 1


def test_an_out_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path, make_sighting())
    export: list[str | Path] = ["sightings", "export", "--store", store, "--out"]
    assert "want a folder, or a file that ends in .html, .json, .jsonl" in call(*export, tmp_path / "a.csv").err
    assert "name a folder, not --out" in call(*export, tmp_path / "a.jsonl", "--crops").err
    (tmp_path / "file").write_text("")
    assert call(*export, tmp_path / "file" / "deeper" / "a.html").code == 1


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "a/../../outside.txt", "link.txt", "in/x.txt", ""])
def test_a_manifest_cannot_reach_beyond_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    outside = tmp_path / "outside.txt"
    outside.write_text("x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.txt").write_text("x")
    (folder / "link.txt").symlink_to(outside)
    (folder / "in").symlink_to(tmp_path / "elsewhere")
    assert ExportedFile(name, hashlib.sha256(b"x").hexdigest(), 1, ()).place(folder) is None


ENDLESS = '{"files": [{"file": "a", "sha256": "b", "size_bytes": 1e999, "sightings": []}]}'


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 3}', '{"files": [{"file": 1}]}', "[" * 100_000, ENDLESS])
def test_a_file_that_is_no_manifest_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / MANIFEST
    path.write_text(text)
    assert read_manifest(path) is None
