"""Sightings of `watchline serve`: a process of its own, real files, a real store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.command import watchline
from tests.kit.daemon import DaemonProcess
from watchline.detectors.card import ModelCard
from watchline.detectors.catalog import Entry
from watchline.pipeline.checks import Check, Health
from watchline.pipeline.serving.checking import check_site
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.site.loading import load_site
from watchline.pipeline.site.site import Sightings
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.streams.errors import ModelError


def write_tiny_embedder(path: Path, scale: float = 1.0) -> Path:
    """Writes a network that gives the mean colours of eight parts of a picture of 32x16: 24 numbers."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Mul", ["flat", "scale"], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 16])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 24])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [1], [scale])],
    )
    card = ModelCard("osnet", "embed", (), (1,), scale=255.0, placement="stretch", outputs=("features",))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, card.to_metadata())
    onnx.save(model, path)
    return path


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


def test_who_is_still_there_at_the_end_is_described_and_stored_without_a_picture(
    site: dict[str, Any], tmp_path: Path
) -> None:
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames(40)
        metrics = daemon.metrics()
        assert metrics.value("watchline_tracklets_total", camera="east") == 0
        assert metrics.value("watchline_describer_up") == 1
        assert metrics.value("watchline_sighting_look_seconds_count") >= 40
        code, took_s = daemon.stop()
    assert (code, took_s < 10) == (0, True), daemon.lines
    (sighting,) = stored(tmp_path)
    (vector,) = sighting.vectors
    assert (sighting.camera, sighting.track_id, sighting.part, sighting.label) == ("east", 1, 0, "person")
    assert (vector.model.dimension, 1 <= vector.crops <= 5) == (24, True)
    assert vector.quality == sighting.quality > 0
    assert sighting.crops == ()
    assert len(sighting.path) > 2
    made_by = sighting.provenance
    assert (made_by.source, made_by.tracker) == ("live", "bytetrack default")
    assert len(made_by.detector_sha256) == len(made_by.config_sha256) == 64
    assert (tmp_path / "people.db").stat().st_mode & 0o077 == 0  # for its owner alone
    assert not any("Traceback" in line for line in daemon.lines)


def test_pictures_are_kept_where_the_site_says_so_and_long_tracks_are_stored_in_parts(
    site: dict[str, Any], tmp_path: Path
) -> None:
    site["sightings"] |= {"crops": True, "part_s": 5, "crops_a_track": 1}
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait(lambda: sightings(daemon)["stored"] == 1)
        scrape = daemon.metrics()
        assert scrape.value("watchline_sightings_stored_total") == 1
        assert scrape.value("watchline_sightings_size_bytes") > 0
        assert scrape.value("watchline_embedded_crops_total") == 1
        assert daemon.stop()[0] == 0
    first, second = stored(tmp_path)
    assert first.track_key == second.track_key
    assert (first.part, second.part) == (0, 1)
    assert [crop.jpeg[:2] for crop in first.crops] == [b"\xff\xd8"]


def test_a_camera_may_be_left_out_at_once_and_a_kill_loses_only_who_is_open(
    site: dict[str, Any], tmp_path: Path
) -> None:
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames(20)
        wanted(site, daemon, keep=False)
        daemon.wait(lambda: sightings(daemon)["stored"] == 1)
        daemon.wait_for_frames(10)
        wanted(site, daemon, keep=True)
        daemon.wait_for_frames(10)
        site["sightings"]["crops"] = True
        site["retention"] = {"free": "1MiB", "vectors_days": 1}
        daemon.write(site)
        daemon.wait(lambda: daemon.said("sightings.crops: changed; only a restart of the service applies it"))
        assert daemon.said("retention: its vectors_days changed")
        daemon.kill()
        daemon.start()
        daemon.wait_for_frames(10)
        assert daemon.stop()[0] == 0
    first, last = stored(tmp_path)
    assert first.provenance.config_sha256 != last.provenance.config_sha256
    assert first.track_key != last.track_key
    assert (len(first.crops), len(last.crops) > 0) == (0, True)


class TestCheck:
    @pytest.mark.parametrize(
        ("said", "told"),
        [
            ({"sha256": "0" * 64}, "sightings: "),
            ({"model": "yolov8n"}, "finds things in pictures and describes none"),
            ({"model": "none.onnx"}, "none.onnx"),
            ({"path": "folder"}, "a folder; name a file for the store"),
            ({"path": "site.yaml"}, "not a store of watchline"),
        ],
    )
    def test_what_cannot_work_is_told(
        self, said: dict[str, str], told: str, site: dict[str, Any], tmp_path: Path
    ) -> None:
        (tmp_path / "folder").mkdir()
        site["sightings"] |= said
        check = self.checked(site, tmp_path)
        assert (check.health, told in check.found) == (Health.FAIL, True), check

    def test_a_good_one_is_told_and_no_store_is_made(self, site: dict[str, Any], tmp_path: Path) -> None:
        check = self.checked(site, tmp_path)
        assert (check.health, "24 numbers" in check.found) == (Health.OK, True), check
        assert not (tmp_path / "people.db").exists()
        open_store(tmp_path / "people.db").close()
        assert "GB in" in self.checked(site, tmp_path).found
        site["defaults"] = {"sightings": False}
        assert self.checked(site, tmp_path).health is Health.WARN

    def test_a_network_that_is_opened_anew_must_be_the_same(self, tmp_path: Path) -> None:
        file = write_tiny_embedder(tmp_path / "body.onnx")
        networks = Networks(tmp_path / "models", lambda entry: Path(entry.name))
        settings = Sightings(model=str(file))
        first = networks.embedder(settings).model
        assert networks.embedder(settings, first).model == first
        write_tiny_embedder(file, scale=2.0)
        with pytest.raises(ModelError, match=r"the store holds vectors of .* cannot be compared"):
            networks.embedder(settings, first)

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
