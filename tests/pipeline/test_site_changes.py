"""What a changed site means for one that runs."""

from __future__ import annotations

from pathlib import Path

from watchline.pipeline.site.changes import changes
from watchline.pipeline.site.loading import parse_site
from watchline.pipeline.site.settings import camera_settings
from watchline.pipeline.site.site import Site

BASE = """\
site: north
defaults: {fps: 5}
cameras:
  - {id: a, url: "rtsp://u:hunter22@cam-a/1"}
  - {id: b, url: "rtsp://u:${PW}@cam-b/1", weight: 2}
  - {id: c, url: c.mp4, model: cars}
  - {id: d, url: d.mp4}
models: {people: {}, cars: {conf: 0.3}}
"""
TEXT = (
    BASE.replace('cam-a/1"', 'cam-a/1", model: people')
    .replace("weight: 2", "weight: 2, model: people")
    .replace("d.mp4", "d.mp4, model: people")
)


def site_of(text: str) -> Site:
    return parse_site(text, "site.yaml", Path("/x"))


def test_the_same_site_changes_nothing() -> None:
    found = changes(site_of(TEXT), site_of(f"# a comment\n{TEXT}"))
    assert not found
    assert found.sentences == ()


def test_cameras_come_and_go() -> None:
    new = TEXT.replace("id: d", "id: e")
    found = changes(site_of(TEXT), site_of(new))
    assert (found.added, found.removed, found.restarted) == (("e",), ("d",), ())
    assert set(found.sentences) == {"camera e: added", "camera d: removed"}


def test_an_address_restarts_its_camera_alone_and_no_secret_is_told() -> None:
    found = changes(site_of(TEXT), site_of(TEXT.replace("hunter22@cam-a", "hunter33@cam-a")))
    assert found.restarted == ("a",)
    assert found.sentences == ("camera a: its address changed; it reconnects",)


def test_weight_classes_and_regions_apply_in_place() -> None:
    new = TEXT.replace("weight: 2", "weight: 3, classes: [person], ignore: [[[0, 0], [1, 0], [1, 1]]]")
    found = changes(site_of(TEXT), site_of(new))
    assert (found.restarted, found.in_place) == ((), ("b",))
    assert found.sentences == ("camera b: its weight, classes and regions to ignore changed; it goes on",)


def test_defaults_count_by_what_they_do() -> None:
    found = changes(site_of(TEXT), site_of(TEXT.replace("fps: 5", "fps: 6")))
    assert found.restarted == ("a", "b", "c", "d")
    assert not changes(site_of(TEXT), site_of(TEXT.replace("fps: 5", "fps: 5, backend: auto")))


def test_a_model_that_changed_is_opened_anew_and_its_cameras_go_on() -> None:
    found = changes(site_of(TEXT), site_of(TEXT.replace("conf: 0.3", "conf: 0.4")))
    assert (found.models, found.restarted) == (("cars",), ())
    assert found.sentences == ("model cars: its conf changed; its workers start anew",)
    found = changes(site_of(TEXT), site_of(TEXT.replace("cars", "lorries")))
    assert (found.models, found.models_removed, found.restarted) == (("lorries",), ("cars",), ("c",))


def test_the_only_model_may_be_named_or_not() -> None:
    one = "cameras: [{id: a, url: a.mp4}]\nmodels: {p: {}}\n"
    assert not changes(site_of(one), site_of(one.replace("a.mp4", "a.mp4, model: p")))


def test_what_only_a_restart_applies_is_named() -> None:
    new = f"{TEXT}http: {{listen: 127.0.0.1:9}}\nstorage: {{path: y}}\ningest: {{group_size: 2}}\n".replace(
        "north", "south"
    )
    found = changes(site_of(TEXT), site_of(new))
    assert found.needs_restart == ("site", "ingest.group_size", "storage.path", "http.listen")
    assert "http.listen: changed; only a restart of the service applies it" in found.sentences


def test_sightings_begin_and_end_with_the_service_but_those_of_a_camera_at_once() -> None:
    found = changes(site_of(TEXT), site_of(f"{TEXT}sightings: {{}}\n"))
    assert found.needs_restart == ("sightings",)
    found = changes(site_of(f"{TEXT}sightings: {{}}\n"), site_of(f"{TEXT}sightings: {{crops: true}}\n"))
    assert found.needs_restart == ("sightings.crops",)
    found = changes(site_of(TEXT), site_of(TEXT.replace("weight: 2", "weight: 2, sightings: false")))
    assert (found.restarted, found.in_place) == ((), ("b",))
    assert found.sentences == ("camera b: its keeping of sightings changed; it goes on",)


def test_retention_applies_at_once() -> None:
    found = changes(site_of(TEXT), site_of(f"{TEXT}retention: {{tracks_days: 3, free: 2GiB}}\n"))
    assert found.retention
    assert found.sentences == ("retention: its tracks_days and free changed",)


def test_a_secret_that_changed_behind_its_name_reconnects_its_camera() -> None:
    site = site_of(TEXT)
    running = {camera.id: camera_settings(site, camera, {"PW": "old"}) for camera in site.cameras}
    assert not changes(site, site, running, {"PW": "old"})
    found = changes(site, site, running, {"PW": "new"})
    assert found.restarted == ("b",)
    assert found.sentences == ("camera b: its password or another secret changed; it reconnects",)
