"""A daemon whose store of sightings cannot be used, and one that starts with a clock from another century."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_store_reopening import counted, damage
from tests.kit.cli import call
from tests.kit.clock_shim import ShiftedClock, require_clock_shim
from tests.kit.daemon import DaemonProcess, small_site
from tests.kit.sightings import make_sighting
from tests.pipeline.reid_models import write_tiny_embedder
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.serving.sightings import SightingKeeping
from watchline.pipeline.site.loading import parse_site
from watchline.pipeline.store.failures import WrongStore
from watchline.pipeline.store.sqlite import open_store
from watchline.streams.errors import UsageError, WatchlineError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files and clocks as Linux has them")

_YEAR_S = 365 * 86_400.0


@pytest.fixture
def site(tiny: Path, clip: Path, tmp_path: Path) -> dict[str, Any]:
    """A camera in which one person stands, stored in parts of five seconds."""
    embedder = write_tiny_embedder(tmp_path / "body.onnx")
    keeps = {"sightings": {"model": str(embedder), "path": "people.db", "part_s": 5}}
    return {**small_site(tiny, {"east": clip}), **keeps}


def made(path: Path, ended_s: float = 3600.0) -> Path:
    """A store of thirty people, who were seen so long ago."""
    with closing(open_store(path, ballast_bytes=0)) as store:
        store.add([make_sighting(at_s=time.time() - ended_s - _NOON) for _ in range(30)])
    return path


_NOON = make_sighting().started_at


def told(daemon: DaemonProcess) -> dict[str, Any]:
    """What /api/cameras says of sightings."""
    found: dict[str, Any] = json.loads(daemon.get("/api/cameras")[1])["sightings"]
    return found


def test_a_daemon_follows_people_without_its_store_tells_it_and_stores_again_once_there_is_one(
    site: dict[str, Any], tmp_path: Path
) -> None:
    path = made(tmp_path / "people.db")
    shutil.copy(path, tmp_path / "copy.db")
    damage(path)
    with DaemonProcess(tmp_path, site) as daemon:
        assert daemon.said(f"no sightings can be stored: {path}: the store is damaged; bring back a copy, or name")
        daemon.wait_for_frames(20)
        assert daemon.metrics().value("watchline_sightings_failing") == 1
        now = told(daemon)
        assert (now["failing"], now["stored"]) == (True, 0)
        assert now["sentence"].startswith(f"sightings are not written: {path}: the store is damaged")
        daemon.wait(lambda: told(daemon)["waiting"] > 0)
        assert daemon.get("/healthz")[0] == 200
        (tmp_path / "copy.db").replace(path)
        daemon.wait(lambda: told(daemon)["stored"] > 0, 40)
        daemon.wait(lambda: not told(daemon)["failing"])
        assert daemon.metrics().value("watchline_sightings_failing") == 0
        assert daemon.said("sightings can be stored again")
        insert = "INSERT INTO meta VALUES ('other', '')"  # by another program: SQLite reads anew what it had read
        with closing(sqlite3.connect(path)) as other:
            other.execute(insert)
            other.commit()
            damage(path)
            damage(path.with_name("people.db-wal"), 32)
        daemon.wait(lambda: told(daemon)["failing"], 40)
        before = told(daemon)["tracklets"]
        daemon.wait(lambda: told(daemon)["tracklets"] > before, 40)
        now = told(daemon)
        assert now["tracklets"] == now["stored"] + now["waiting"] + sum(now["refused"].values())
        assert "damaged" in now["sentence"]
        daemon.wait_for_frames(5)
        code, took_s = daemon.stop()
    assert (code, took_s < 11) == (3, True)  # what waited could not be stored
    assert daemon.said("could not be stored")
    assert not daemon.said("Traceback")
    assert daemon.track_ids("east")


@pytest.mark.parametrize(
    ("wrong", "kind", "line"),
    [
        ("path: site.yaml", WrongStore, "not a store of watchline; name another file"),
        ("path: site.yaml/people.db", WrongStore, "cannot be made .*; make it, or choose sightings.path"),
        ("path: storage", UsageError, "a folder; name a file for the store"),
        ("model: none.onnx", WatchlineError, "none.onnx"),
    ],
)
def test_a_mistake_of_the_configuration_still_refuses_the_start(
    wrong: str, kind: type[WatchlineError], line: str, tmp_path: Path
) -> None:
    write_tiny_embedder(tmp_path / "body.onnx")
    (tmp_path / "storage").mkdir()
    (tmp_path / "site.yaml").write_text("cameras: []\n" * 100)
    said = {"model": "body.onnx", "path": "people.db"} | dict([wrong.split(": ")])
    text = f"cameras: [{{id: east, url: a.mp4}}]\nsightings: {json.dumps(said)}\n"
    site = parse_site(text, "site.yaml", tmp_path)
    assert site.sightings is not None
    with pytest.raises(kind, match=line):
        SightingKeeping(site, site.sightings, Networks(tmp_path, lambda entry: Path(entry.name)))


def test_a_daemon_whose_clock_is_decades_ahead_erases_nothing_and_says_so(site: dict[str, Any], tmp_path: Path) -> None:
    require_clock_shim()
    clock = ShiftedClock(tmp_path)
    clock.shift(64 * _YEAR_S)
    path = made(tmp_path / "people.db")
    with DaemonProcess(tmp_path, site, clock.environment()) as daemon:
        daemon.wait(lambda: daemon.metrics().value("watchline_sightings_purges_held_total") == 1)
        scrape = daemon.metrics()
        assert scrape.value("watchline_sightings_clock_ahead_seconds") == pytest.approx(64 * _YEAR_S, abs=86_400)
        assert scrape.value("watchline_sightings_purged_total") == 0
        assert "days ahead of the time that the store of sightings knows" in told(daemon)["sentence"]
        assert daemon.said("set it right, or if it is right, erase with `watchline sightings purge`")
        daemon.stop()
    assert counted(path) >= 30


def test_a_person_who_erases_by_a_clock_that_is_years_ahead_is_asked_and_is_believed(tmp_path: Path) -> None:
    path = made(tmp_path / "people.db", 3 * _YEAR_S)
    purge = ("sightings", "purge", "--store", path, "--keep-sightings")
    done = call(*purge, "30d", "--dry-run")
    assert "the newest sighting ended at 20" in done.err
    assert done.err.rstrip().endswith("is this machine's clock right?")
    with closing(open_store(path)) as store:
        assert store.reached() == pytest.approx(time.time() - 3 * _YEAR_S, abs=100)
        assert "30 sightings altogether" in call(*purge, "30d").out
        assert store.reached() == pytest.approx(time.time(), abs=100)
