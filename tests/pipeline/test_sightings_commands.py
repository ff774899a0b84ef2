"""`watchline sightings list, show, stats and purge`, over a real store."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from pathlib import Path

import pytest

from tests.command import watchline
from tests.kit.cli import call
from tests.kit.sightings import NOON, make_crop, make_sighting, make_vector
from watchline.pipeline.store.asking import source_name
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.reid.embeddings import EmbeddingModel, Kind

FACE = EmbeddingModel("sface", "12" * 32, Kind.FACE, 4)


def filled(folder: Path, *sightings: Sighting) -> Path:
    path = folder / "site.db"
    store = open_store(path)
    store.add(sightings)
    store.close()
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two cameras; one track in two parts, one from a file, one without a crop."""
    return filled(
        tmp_path,
        make_sighting("dock", 1, track_key="aa" * 16, vectors=[make_vector(), make_vector(FACE)]),
        make_sighting("dock", 1, track_key="aa" * 16, part=1, at_s=60),
        make_sighting("gate", 7, at_s=120, crops=(), vectors=(), reason="cut off at the border"),
        make_sighting("shop", 2, at_s=30, source=source_name("shop.mp4")),
    )


def test_tracks_are_listed_newest_first_and_parts_are_told_as_one(site: Path) -> None:
    lines = call("sightings", "list", "--store", site).out.splitlines()
    assert lines[0].split()[:4] == ["time", "(UTC)", "at", "track"]
    assert [line.split()[2 if "shop" not in line else 3] for line in lines[1:]] == ["gate:7", "shop:2", "dock:1"]
    gate, shop, dock = lines[1:]
    assert "2026-11-22 12:02:00Z" in gate
    assert "cut off at the border" in gate
    assert "00:30.00" in shop
    assert "64.0 s" in dock
    assert "200" in dock
    assert "osnet-x0-25, sface" in dock


def test_records_have_all_that_is_known_and_no_pictures(site: Path) -> None:
    gate, shop, dock = json.loads(call("sightings", "list", "--store", site, "--json").out)
    assert dock["camera"] == "dock"
    assert dock["started_at"] == NOON
    assert dock["started"] == "2026-11-22T12:00:00Z"
    assert dock["length_s"] == 64.0
    assert (dock["crops"], dock["described"], len(dock["ids"])) == (2, ["body", "face"], 2)
    assert gate["reason"] == "cut off at the border"
    assert shop["provenance"]["source"] == source_name("shop.mp4")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--camera", "gate"], ["gate"]),
        (["--camera", "gate", "--camera", "dock"], ["gate", "dock"]),
        (["--since", "2026-11-22T12:01:30Z"], ["gate"]),
        (["--until", "2026-11-22T12:00:10Z"], ["dock"]),
        (["--source", "shop.mp4"], ["shop"]),
        (["--source", "./shop.mp4"], ["shop"]),
        (["--source", "live", "--until", "@" + str(int(NOON + 100))], ["dock"]),
    ],
)
def test_a_list_is_narrowed_by_camera_time_and_source(site: Path, options: list[str], found: list[str]) -> None:
    records = json.loads(call("sightings", "list", "--store", site, "--json", *options).out)
    assert [each["camera"] for each in records] == found


def test_a_list_that_is_cut_says_so(site: Path) -> None:
    done = call("sightings", "list", "--store", site, "--limit", "2", "--json")
    assert [each["camera"] for each in json.loads(done.out)] == ["gate", "shop"]
    assert "these are the newest 2, there are more; see --limit" in done.err


def test_who_finds_nothing_is_told_what_there_is(site: Path) -> None:
    done = call("sightings", "list", "--store", site, "--camera", "dok", "--since", "2026-11-22T12:00Z")
    assert done.code == 0
    assert "nothing was seen: camera dok, since 2026-11-22 12:00:00Z" in done.out
    assert "holds 3 tracks, from 2026-11-22 12:00:00Z to 2026-11-22 12:02:04Z" in done.out
    assert "camera dok: not in the store; did you mean dock?" in done.err


def test_an_empty_store_is_told_as_empty(tmp_path: Path) -> None:
    empty = filled(tmp_path)
    assert call("sightings", "list", "--store", empty).out == f"nothing was seen yet; {empty} holds 0 tracks\n"
    assert call("sightings", "list", "--store", empty, "--json").out == "[]\n"
    assert "no sighting" in call("sightings", "stats", "--store", empty).out
    assert call("sightings", "show", "dock:1", "--store", empty).err.startswith("dock:1: no such track in the store")


def test_what_a_camera_is_named_never_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    made = dataclasses.replace(make_sighting("dock\x1b[2J\r\x9b", reason="\x1b]0;x\x07", crops=()), label="\x1b[31m")
    path = filled(tmp_path, made)
    for arguments in (["list"], ["stats"], ["show", made.sighting_id], ["list", "--camera", "\x1b[2Jx"]):
        done = call("sightings", *arguments, "--store", path)
        assert done.code == 0
        assert not any(letter in done.out + done.err for letter in "\x1b\r\x9b\x07")


def test_a_track_is_shown_whole(site: Path) -> None:
    out = call("sightings", "show", "dock:1", "--store", site).out
    assert out.startswith("dock:1 person\n")
    assert "64.0 s, 200 frames" in out
    assert "osnet-x0-25 (body, 8 numbers), sha256 abab" in out
    assert "sface (face, 4 numbers)" in out
    record = json.loads(call("sightings", "show", "dock:1", "--store", site, "--json").out)
    assert [part["part"] for part in record["parts"]] == [0, 1]
    assert record["parts"][0]["crops"][0]["bytes"] > 600
    by_id = call("sightings", "show", record["ids"][1], "--store", site, "--json").out
    assert json.loads(by_id) == record


def test_a_name_that_means_several_tracks_is_asked_back(tmp_path: Path) -> None:
    runs = [make_sighting("dock", 1, at_s=1000 * i) for i in range(7)]
    done = call("sightings", "show", "dock:1", "--store", filled(tmp_path, *runs))
    assert done.code == 2
    assert "7 tracks have this id; name one by its own" in done.err
    assert runs[6].sighting_id in done.err
    assert runs[0].sighting_id not in done.err
    assert "\n" not in done.err


def test_a_page_of_a_track_is_written_once(site: Path, tmp_path: Path) -> None:
    page = tmp_path / "dock.html"
    assert f"wrote {page}" in call("sightings", "show", "dock:1", "--store", site, "--html", page).out
    assert "dock:1" in page.read_text()
    assert "there is something already" in call("sightings", "show", "gate:7", "--store", site, "--html", page).err
    assert call("sightings", "show", "gate:7", "--store", site, "--html", page, "--overwrite").code == 0
    assert "gate:7" in page.read_text()
    assert (
        "want the name of a page" in call("sightings", "show", "gate:7", "-s", site, "--html", tmp_path / "x.png").err
    )


def test_stats_count_cameras_kinds_and_models(site: Path) -> None:
    record = json.loads(call("sightings", "stats", "--store", site, "--json").out)
    assert record["schema"] == 1
    assert [(each["camera"], each["tracks"], each["sightings"]) for each in record["cameras"]] == [
        ("dock", 1, 2),
        ("gate", 1, 1),
        ("shop", 1, 1),
    ]
    assert record["whole"]["crops"] == 3
    assert record["whole"]["vector_bytes"] == 3 * 16 + 8
    assert record["whole"]["started_at"] == NOON
    assert [(each["name"], each["vectors"]) for each in record["models"]] == [("osnet-x0-25", 3), ("sface", 1)]
    assert record["files"]["site.db"] > 0
    text = call("sightings", "stats", "--store", site).out
    assert "schema 1" in text
    assert "osnet-x0-25" in text


def test_purge_says_what_it_would_erase_and_then_erases_it(tmp_path: Path) -> None:
    now = time.time()
    old, new = (
        dataclasses.replace(make_sighting(track_id=i), started_at=now - age - 4, ended_at=now - age)
        for i, age in ((1, 7200.0), (2, 60.0))
    )
    path = filled(tmp_path, old, new)
    ages = ["--keep-crops", "1h", "--keep-vectors", "30d"]
    would = call("sightings", "purge", "--store", path, *ages, "--dry-run").out
    assert would.startswith("would erase 1 crop, 0 vectors, 0 paths, 0 sightings altogether")
    assert call("sightings", "purge", "--store", path, *ages).out.startswith("erased 1 crop, 0 vectors, 0 sightings")
    assert call("sightings", "purge", "--store", path, *ages, "--dry-run").out.startswith("would erase 0 crops")
    assert "no longer kept" in call("sightings", "show", "dock:1", "--store", path).out
    store = open_store(path)
    assert store.count(Selection()) == 2
    assert not store.get(old.sighting_id).crops or not store.get(old.sighting_id).crops[0].jpeg
    assert store.get(new.sighting_id).crops[0].jpeg
    store.close()
    both = ["--keep-sightings", "1h"]
    assert "1 path, 1 sighting altogether" in call("sightings", "purge", "--store", path, *both, "--dry-run").out
    assert "1 sighting altogether" in call("sightings", "purge", "--store", path, *both).out


def test_purge_wants_to_know_what_is_kept_how_long(site: Path) -> None:
    done = call("sightings", "purge", "--store", site)
    assert "nothing was too old, as no age was said" in done.err
    assert "erased 0 crops, 0 vectors, 0 sightings" in done.out
    assert "--keep-crops 3: want a length of time" in call("sightings", "purge", "-s", site, "--keep-crops", "3").err


@pytest.mark.parametrize("command", [["list"], ["stats"], ["show", "dock:1"], ["export", "--out", "never"]])
def test_a_store_that_cannot_be_used_gets_one_line_with_the_next_step(tmp_path: Path, command: list[str]) -> None:
    missing, text, other, newer = (tmp_path / name for name in ("no.db", "text.db", "other.db", "newer.db"))
    text.write_text("no database\n" * 100)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE goods (name TEXT)")
    connection.close()
    open_store(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '99'")
    connection.close()
    for path, line in (
        (missing, "no such store; `watchline run --store"),
        (tmp_path, "a folder; name a file"),
        (text, "not a store of watchline; name another file"),
        (other, "a database, but not a store of watchline"),
        (newer, "its schema is 99, this watchline knows 1; use the newer watchline"),
    ):
        done = call("sightings", *command, "--store", path)
        assert done.code != 0
        assert line in done.err
        assert "\n" not in done.err.strip()
    assert not missing.exists()
    assert not Path("never").exists()


def test_a_damaged_store_gets_one_line(tmp_path: Path) -> None:
    path = filled(tmp_path, *(make_sighting(track_id=i, crops=[make_crop()] * 3) for i in range(60)))
    data = bytearray(path.read_bytes())
    data[8192:] = b"\x5a" * (len(data) - 8192)
    path.write_bytes(data)
    done = call("sightings", "list", "--store", path)
    assert done.code == 1
    assert "damaged" in done.err
    assert "\n" not in done.err.strip()


def test_the_command_itself_shows_lines_and_no_traceback(site: Path) -> None:
    done = watchline("sightings", "list", "--store", site, "--since", "soon")
    assert done.returncode == 2
    assert done.stderr.startswith("watchline: --since soon: want a time such as")
    assert done.stderr.count("\n") == 1
