"""Sightings of the daemon while their disk is full."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kit.small_disk import small_disk
from tests.pipeline.live_outcomes import make_outcome, wait_until
from tests.pipeline.reid_models import write_tiny_embedder
from watchline.pipeline.live.pool import Network
from watchline.pipeline.serving.networks import Networks
from watchline.pipeline.serving.sightings import SightingKeeping
from watchline.pipeline.site.loading import parse_site


def test_a_full_disk_is_told_and_nothing_that_was_taken_is_lost_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tiny_embedder(tmp_path / "body.onnx")
    network = Network("people", "yolov8n", "0" * 64)
    with small_disk(tmp_path / "disk") as disk:
        text = "cameras: [{id: cam, url: a.mp4}]\nsightings: {model: body.onnx, path: disk/people.db}\n"
        site = parse_site(text, "site.yaml", tmp_path)
        assert site.sightings is not None
        keeping = SightingKeeping(site, site.sightings, Networks(tmp_path, lambda entry: Path(entry.name)))
        camera = site.camera("cam")
        try:
            outlet = keeping.outlet(site, camera, network)
            outlet(make_outcome(0, *range(10)))
            keeping.leave("cam")
            wait_until(lambda: keeping.facts().store.stored == 10)
            assert keeping.facts().seeing.undescribed["no_crop"] == 10
            disk.fill()
            for start in range(0, 800, 200):
                keeping.outlet(site, camera, network)(make_outcome(0, *range(start, start + 200)))
                keeping.leave("cam")
            wait_until(lambda: keeping.facts().store.failing)
            assert "no room left" in keeping.facts().store.sentence
            assert keeping.stuck(5.0) == ()  # it waits for room, and does not stand still
            disk.free()
            wait_until(lambda: not keeping.facts().store.failing)
            wait_until(lambda: keeping.facts().store.stored == 810)
            assert not any(keeping.facts().refused().values())
            disk.fill()
            for start in range(0, 800, 200):
                keeping.outlet(site, camera, network)(make_outcome(0, *range(start, start + 200)))
                keeping.leave("cam")
            wait_until(lambda: keeping.facts().store.failing)
        finally:
            finished = keeping.close(2.0)
        assert not finished
        assert re.search(r"\d+ sightings could not be stored: .*no room left on its disk", caplog.text)
