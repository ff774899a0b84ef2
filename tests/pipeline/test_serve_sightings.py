"""Sightings of `watchline serve`: a process of its own, real files, a real store."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]

from tests.command import watchline, write_tiny_face_model
from tests.kit.daemon import DaemonProcess
from tests.kit.sightings import NOON, make_crop, make_sighting
from tests.pipeline.live_outcomes import make_outcome, wait_until
from tests.pipeline.reid_models import CARD, write_tiny_embedder
from watchline.detectors.catalog import Entry
from watchline.pipeline.checks import Check, Health
from watchline.pipeline.live.pool import Network
from watchline.pipeline.serving.checking import check_site
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.serving.sightings import SightingKeeping
from watchline.pipeline.site.kept import Faces, Sightings
from watchline.pipeline.site.loading import load_site, parse_site
from watchline.pipeline.site.site import Site
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.pipeline.store.writer import StoreWriter, WriterStatus
from watchline.reid.embeddings import Kind
from watchline.streams.errors import ModelError, WatchlineError
from watchline.streams.frame import Picture


@pytest.fixture
def site(tiny: Path, clip: Path, tmp_path: Path) -> dict[str, Any]:
    """A camera in which one person stands, as long as it is looked at, and what keeps sightings of it."""
    embedder = write_tiny_embedder(tmp_path / "body.onnx")
    return {
        "site": "yard",
        "models": {"people": {"model": str(tiny), "device": "cpu", "workers": 1}},
        "cameras": [{"id": "east", "url": str(clip), "frozen_after_s": 0, "fps": 0}],
        "sightings": {"model": str(embedder), "path": "people.db"},
    }


def stored(folder: Path) -> list[Sighting]:
    """All sightings of the store, the oldest first."""
    store = open_store(folder / "people.db", create=False)
    found = [store.get(one) for summary in store.find(Selection(), 100) for one in summary.ids]
    store.close()
    return sorted(found, key=lambda sighting: sighting.sighting_id)


def sightings(daemon: DaemonProcess) -> dict[str, Any]:
    """What /api/cameras says of them."""
    told: dict[str, Any] = json.loads(daemon.get("/api/cameras")[1])["sightings"]
    return told


def wanted(site: dict[str, Any], daemon: DaemonProcess, *, keep: bool) -> None:
    """Tells the running daemon whether sightings of its camera are kept; where not, what is open ends."""
    before = sum("keeping of sightings" in line for line in daemon.lines)
    site["cameras"][0]["sightings"] = keep
    daemon.write(site)
    daemon.wait(lambda: sum("keeping of sightings" in line for line in daemon.lines) > before)


def test_people_are_described_and_stored_as_the_site_says_and_a_kill_loses_only_who_is_open(
    site: dict[str, Any], tmp_path: Path
) -> None:
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames(40)
        metrics = daemon.metrics()
        assert metrics.value("watchline_tracklets_total", camera="east") == 0
        assert metrics.value("watchline_describer_up") == 1
        assert metrics.value("watchline_sighting_look_seconds_count") >= 40
        wanted(site, daemon, keep=False)
        daemon.wait(lambda: sightings(daemon)["stored"] == 1)
        daemon.wait_for_frames(10)
        wanted(site, daemon, keep=True)
        daemon.wait_for_frames(10)
        site["sightings"] |= {"crops": True, "part_s": 5, "crops_a_track": 1}
        site["retention"] = {"free": "1MiB", "vectors_days": 1}
        daemon.write(site)
        daemon.wait(lambda: daemon.said("sightings.crops: changed; only a restart of the service applies it"))
        assert daemon.said("retention: its vectors_days changed")
        daemon.kill()
        daemon.start()
        daemon.wait(lambda: sightings(daemon)["stored"] == 1)
        scrape = daemon.metrics()
        assert scrape.value("watchline_sightings_stored_total") == 1
        assert scrape.value("watchline_sightings_size_bytes") > 0
        assert scrape.value("watchline_embedded_crops_total") == 1
        code, took_s = daemon.stop()
    assert (code, took_s < 10) == (0, True), daemon.lines
    assert not any("Traceback" in line for line in daemon.lines)
    assert (tmp_path / "people.db").stat().st_mode & 0o077 == 0  # for its owner alone
    before, first, second = stored(tmp_path)
    _check_one_without_a_picture(before)
    assert before.provenance.config_sha256 != first.provenance.config_sha256
    assert before.track_key != first.track_key
    assert first.track_key == second.track_key
    assert (first.part, second.part) == (0, 1)
    assert [crop.jpeg[:2] for crop in first.crops] == [b"\xff\xd8"]
    assert [len(one.vectors) for one in (first, second)] == [1, 1]  # who is still there at the end, too


def _check_one_without_a_picture(sighting: Sighting) -> None:
    (vector,) = sighting.vectors
    assert (sighting.camera, sighting.track_id, sighting.part, sighting.label) == ("east", 1, 0, "person")
    assert (vector.model.dimension, 1 <= vector.crops <= 5) == (24, True)
    assert vector.quality == sighting.quality > 0
    assert sighting.crops == ()
    assert len(sighting.path) > 2
    made_by = sighting.provenance
    assert (made_by.source, made_by.tracker) == ("live", "bytetrack default")
    assert len(made_by.detector_sha256) == len(made_by.config_sha256) == 64


@contextmanager
def keeping_of(folder: Path, retention: str) -> Iterator[SightingKeeping]:
    """What keeps sightings of a camera "east", in a store that has 400 of 5 KB, and one of 1970."""
    write_tiny_embedder(folder / "body.onnx")
    with closing(open_store(folder / "people.db", ballast_bytes=0)) as store:
        store.add([make_sighting(at_s=100 - NOON)])  # so old that it goes at once
        store.add([make_sighting(crops=[make_crop(bytes(5000))]) for _ in range(400)])
    text = f"cameras: [{{id: east, url: a.mp4}}]\nsightings: {{model: body.onnx, path: people.db}}\n{retention}\n"
    site = parse_site(text, "site.yaml", folder)
    assert site.sightings is not None
    keeping = SightingKeeping(site, site.sightings, Networks(folder, lambda entry: Path(entry.name)))
    try:
        yield keeping
    finally:
        keeping.close(5.0)


def test_an_erasure_that_was_broken_off_is_told_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "people.db.erasing").write_text("half")
    with keeping_of(tmp_path, "") as keeping:
        assert not keeping.facts().store.sentence
    assert "people.db.erasing: the journal of an unfinished erasure is damaged" in caplog.text


class TestRoom:
    @pytest.mark.parametrize(
        ("room", "least_bytes", "goes"),
        [
            ("sightings_size: 1MiB", 64 << 20, True),
            ("sightings_size: 1GiB", 1 << 20, False),
            ("free: 1000TiB", 1 << 20, True),
            ("free: 1000TiB", 64 << 20, False),  # a small store may be had, however little is left
        ],
    )
    def test_the_oldest_go_where_there_are_too_many_or_too_little_is_left_on_the_disk(
        self, room: str, least_bytes: int, goes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("watchline.pipeline.serving.sightings._SMALL_BYTES", least_bytes)
        days = "sightings_days: 3650, vectors_days: 3650, crops_days: 3650"
        with keeping_of(tmp_path, f"retention: {{{days}, {room}}}") as keeping:
            wait_until(lambda: keeping.facts().store.purged["sightings"] > goes)
            time.sleep(0.2)  # for it to end
            facts = keeping.facts().store
        assert facts.trimmed == facts.purged["sightings"] - 1
        assert (0 < facts.trimmed < 390) == goes, facts


def test_at_every_moment_what_ended_is_stored_refused_or_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = StoreWriter.status

    def late(writer: StoreWriter) -> WriterStatus:
        time.sleep(0.002)  # whoever asked something else before sees another moment
        return status(writer)

    monkeypatch.setattr(StoreWriter, "status", late)
    site = parse_site("cameras: [{id: east, url: a.mp4}]\n", "site.yaml", tmp_path)
    with keeping_of(tmp_path, "") as keeping:
        for start in range(0, 1000, 100):
            outlet = keeping.outlet(site, site.camera("east"), Network("people", "yolov8n", "0" * 64))
            outlet(make_outcome(0, *range(start, start + 100)))
            keeping.leave("east")
            for _ in range(10):
                facts = keeping.facts()
                somewhere = facts.seeing.waiting + facts.store.waiting + facts.store.stored
                assert facts.seeing.ended == somewhere + sum(facts.refused().values()), facts


def site_with_faces(folder: Path) -> Site:
    """A site of one camera whose people are described, and their faces, by two workers."""
    write_tiny_embedder(folder / "body.onnx")
    write_tiny_face_model(folder / "find.onnx", (0.5, 0.1, 0.11, 0.11))  # of somebody who fills a picture
    write_tiny_embedder(folder / "face.onnx", replace(CARD, keypoints=(5, 2)))
    return parse_site(
        "cameras: [{id: east, url: a.mp4}]\nsightings: {model: body.onnx, path: people.db, workers: 2, budget: 2, "
        "crops: true, faces: {detector: find.onnx, model: face.onnx}}\n",
        "site.yaml",
        folder,
    )


def test_a_face_is_stored_with_whose_it_is(tmp_path: Path) -> None:
    site = site_with_faces(tmp_path)
    assert site.sightings is not None
    keeping = SightingKeeping(site, site.sightings, Networks(tmp_path, lambda entry: Path(entry.name)))
    outlet = keeping.outlet(site, site.camera("east"), Network("people", "yolov8n", "0" * 64))
    noise = np.random.default_rng(1).integers(0, 255, (1080, 1920, 3), np.uint8)
    box = np.array([[600, 200, 984, 968]], np.float32)  # 768 high: pictures of less would spoil the face
    seen = make_outcome(0, 7, camera="east", picture=Picture.from_rgb(noise))
    outlet(replace(seen, tracks=replace(seen.tracks, xyxy=box)))
    assert keeping.close(10.0)
    assert keeping.facts().seeing.crops == {"body": 1, "face": 1}
    (sighting,) = stored(tmp_path)
    assert [vector.model.kind for vector in sighting.vectors] == [Kind.BODY, Kind.FACE]
    assert [crop.kind for crop in sighting.crops] == [Kind.BODY, Kind.FACE]
    assert sighting.crops[1].xyxy == pytest.approx((749.8, 234.6, 834.2, 319.0), abs=1)


def test_models_of_faces_that_do_something_else_or_are_others_are_refused(tmp_path: Path) -> None:
    site_with_faces(tmp_path)

    def never(entry: Entry) -> Path:
        raise AssertionError(entry.name)

    networks, files = Networks(tmp_path, never), {name: str(tmp_path / f"{name}.onnx") for name in ("find", "face")}
    body = str(tmp_path / "body.onnx")
    for detector, model, sha256, told in (
        ("sface", "sface", "", "sightings.faces.detector: sface finds no faces; name a model that does, such as yunet"),
        (str(tmp_path / "none.onnx"), files["face"], "", "no such file: .*none.onnx"),
        (files["find"], body, "", "body.onnx: describes a body; name a model that describes a face, such as sface"),
        (files["find"], "yunet", "", "yunet: finds things in pictures and describes none; name a model that describes"),
        (files["find"], files["face"], "0" * 64, "sightings.faces: .*face.onnx has SHA-256"),
    ):
        faces = Faces(detector=detector, model=model, sha256=sha256)
        with pytest.raises(WatchlineError, match=told):
            networks.people(Sightings(model=body, faces=faces))
    with pytest.raises(ModelError, match=r"sightings.faces.detector: .*find.onnx has SHA-256"):
        networks.people(Sightings(model=body, faces=Faces(detector=files["find"], detector_sha256="0" * 64)))


def test_a_configuration_is_summed_up_once_for_all_its_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summed: list[Site] = []

    def note(site: Site) -> str:
        summed.append(site)
        return site.site

    monkeypatch.setattr("watchline.pipeline.serving.sightings.show", note)
    sites = [parse_site(f"site: {name}\ncameras: [{{id: east, url: a.mp4}}]\n", "a.yaml", tmp_path) for name in "ab"]
    with keeping_of(tmp_path, "") as keeping:
        for site in sites:
            for _ in range(5):
                keeping.change(site, site.camera("east"), Network("people", "yolov8n", "0" * 64))
    assert summed == sites


class TestCheck:
    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ({"sha256": "0" * 64}, "sightings: "),
            ({"model": "yolov8n"}, "finds things in pictures and describes none"),
            ({"model": "none.onnx"}, "none.onnx"),
            ({"path": "folder"}, "a folder; name a file for the store"),
            ({"faces": {"detector": "body.onnx"}}, "body.onnx finds no faces; name a model that does, such as yunet"),
            ({"path": "site.yaml"}, "not a store of watchline"),
            ({"path": "site.yaml/people.db"}, "no folder; choose another sightings.path"),
        ],
    )
    def test_what_cannot_work_is_told(
        self, said: dict[str, Any], told: str, site: dict[str, Any], tmp_path: Path
    ) -> None:
        (tmp_path / "folder").mkdir()
        site_with_faces(tmp_path)
        site["sightings"] |= said
        check = self.checked(site, tmp_path)
        assert (check.health, told in check.found) == (Health.FAIL, True), check

    def test_a_good_one_is_told_and_no_store_is_made(self, site: dict[str, Any], tmp_path: Path) -> None:
        check = self.checked(site, tmp_path)
        assert (check.health, "24 numbers" in check.found) == (Health.OK, True), check
        assert not (tmp_path / "people.db").exists()
        open_store(tmp_path / "people.db").close()
        assert "GB in" in self.checked(site, tmp_path).found
        site_with_faces(tmp_path)
        site["sightings"] |= {"faces": {"detector": "find.onnx", "model": "face.onnx"}}
        assert re.search(r"; faces by find.onnx and face.onnx, vectors of 24", self.checked(site, tmp_path).found)
        site["defaults"] = {"sightings": False}
        assert self.checked(site, tmp_path).health is Health.WARN

    def test_a_store_without_which_the_service_runs_is_told_as_such(self, site: dict[str, Any], tmp_path: Path) -> None:
        with closing(open_store(tmp_path / "people.db")) as store:
            store.add([make_sighting()])
        (tmp_path / "people.db").write_bytes(bytes(8192))
        (tmp_path / "people.db.ballast").touch()
        check = self.checked(site, tmp_path)
        assert (check.health, "damaged" in check.found) == (Health.FAIL, True), check
        assert check.mend.endswith("the service would run, and store no sightings until then")

    def test_an_erasure_that_was_broken_off_is_told(self, site: dict[str, Any], tmp_path: Path) -> None:
        one = make_sighting()
        with closing(open_store(tmp_path / "people.db")) as store:
            store.add([one])
            with suppress(KeyboardInterrupt), store.erasing(Selection(ids=(one.sighting_id,)), {}):
                raise KeyboardInterrupt
        check = self.checked(site, tmp_path)
        assert (check.health, "the erasure of 1 sighting" in check.mend) == (Health.WARN, True), check
        assert f"`watchline erase finish --store {tmp_path / 'people.db'}` ends it" in check.mend

    def test_a_network_that_is_opened_anew_must_be_the_same(self, tmp_path: Path) -> None:
        file = write_tiny_embedder(tmp_path / "body.onnx")
        networks = Networks(tmp_path / "models", lambda entry: Path(entry.name))
        settings = Sightings(model=str(file))
        first = networks.people(settings)
        assert networks.people(settings, first).body.model == first.body.model
        write_tiny_embedder(file, replace(CARD, std=(0.5, 0.5, 0.5)))
        with pytest.raises(ModelError, match=r"the store holds vectors of .* cannot be compared"):
            networks.people(settings, first)

    def test_the_daemon_does_not_start_then(self, site: dict[str, Any], tmp_path: Path) -> None:
        site["sightings"]["sha256"] = "0" * 64
        self.checked(site, tmp_path)
        started = watchline("serve", "--config", tmp_path / "site.yaml")
        assert (started.returncode, "sightings: " in started.stderr) == (1, True), started.stderr
        assert "Traceback" not in started.stderr

    def checked(self, site: dict[str, Any], folder: Path) -> Check:
        """What is found of sightings in a site."""
        file = folder / "site.yaml"
        file.write_text(yaml.safe_dump({"storage": {"path": "storage"}, "http": {"listen": "127.0.0.1:0"}, **site}))

        def never(entry: Entry) -> Path:
            raise AssertionError(entry.name)

        checks = check_site(load_site(file), Networks(folder / "models", never), probing=False)
        return next(check for check in checks if check.name == "sightings")
