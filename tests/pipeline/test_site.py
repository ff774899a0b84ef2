"""A site's file: what it says, what is refused and in which words, and what must be on the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from watchline.pipeline.site.checking import read_token
from watchline.pipeline.site.dumping import dump, show
from watchline.pipeline.site.loading import load_site, parse_site, read_site
from watchline.pipeline.site.problems import SiteError
from watchline.pipeline.site.reference import renew
from watchline.pipeline.site.schema import json_schema
from watchline.pipeline.site.settings import camera_settings, ingest_settings, tracker_choice
from watchline.pipeline.site.site import Site
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.errors import UsageError
from watchline.streams.ingest_settings import IngestSettings
from watchline.trackers.build import build_tracker

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "pipeline" / "site" / "example.yaml"
FOLDER = Path("/etc/site")
CAMERA = "cameras:\n  - id: a\n    url: rtsp://cam/a\n"


def site_of(text: str) -> Site:
    return parse_site(text, "site.yaml", FOLDER)


def refusal(text: str) -> str:
    with pytest.raises(SiteError) as caught:
        site_of(text)
    return str(caught.value)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_smallest_site_takes_all_defaults() -> None:
    site = site_of(CAMERA)
    assert list(site.models) == ["people"]
    assert site.model_of(site.cameras[0]) == "people"
    assert site.http.listen == "127.0.0.1:8770"
    assert (site.http.host, site.http.port, site.http.is_local) == ("127.0.0.1", 8770, True)
    settings = camera_settings(site, site.cameras[0], {})
    assert settings == CameraSettings("a", settings.address)  # the defaults are those of the stages
    assert ingest_settings(site.ingest) == IngestSettings(group_size=4)
    assert str(tracker_choice(site.cameras[0])) == "bytetrack"


def test_a_camera_has_what_defaults_say_and_it_does_not() -> None:
    site = site_of(
        f"defaults: {{fps: 8, weight: 2, classes: [person]}}\n{CAMERA}    fps: 3\n  - {{id: b, url: b.mp4}}\n"
    )
    assert [(c.fps, c.weight, c.classes) for c in site.cameras] == [(3, 2, ("person",)), (8, 2, ("person",))]


def test_empty_maps_take_their_defaults() -> None:
    assert site_of(f"{CAMERA}ingest:\nhttp:\nmetrics:\nmodels:\n") == site_of(CAMERA)


def test_paths_are_relative_to_the_file() -> None:
    site = site_of(
        "cameras: [{id: a, url: yard.mp4}, {id: b, url: 'rtsp://u:${file:pw}@cam', tls_authorities: ca.pem}]\n"
        "storage: {path: data, models: m}\nmodels: {p: {model: ./p.onnx}}\n"
        "http: {token_file: token, tls: {certificate: c.pem, key: /k.pem}}\n"
    )
    assert [camera.url for camera in site.cameras] == ["/etc/site/yard.mp4", "rtsp://u:${file:/etc/site/pw}@cam"]
    assert site.cameras[1].tls_authorities == FOLDER / "ca.pem"
    assert (site.storage.path, site.storage.models) == (FOLDER / "data", FOLDER / "m")
    assert site.models["p"].model == "/etc/site/p.onnx"
    assert site.http.tls is not None
    assert (site.http.token_file, site.http.tls.key) == (FOLDER / "token", Path("/k.pem"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "site.yaml:1:1: the file is empty"),
        ("- a\n", "site.yaml:1:1: want a map"),
        ("site: x\n", "site.yaml:1:1: cameras: no camera; a site has one or more"),
        ("site: x\ncameras: []\n", "site.yaml:2:1: cameras: no camera"),
        (f"{CAMERA}    fsp: 5\n", 'site.yaml:4:5: cameras[0].fsp: unknown key; did you mean "fps"?'),
        (f"{CAMERA}    model: rtsp://u:p@cam\n", "cameras[0].model: holds an address"),
        (f"{CAMERA}httb: {{}}\n", 'site.yaml:4:1: httb: unknown key; did you mean "http"?'),
        (f"{CAMERA}retention: {{zz: 1}}\n", "unknown key; known: tracks_days, tracks_size, crops_days"),
        (f"models: {{p: {{modle: x}}}}\n{CAMERA}", 'models.p.modle: unknown key; did you mean "model"?'),
        (f"http: {{tls: {{certificate: x, key: z, kee: y}}}}\n{CAMERA}", 'tls.kee: unknown key; did you mean "key"?'),
        ("cameras:\n  - url: rtsp://cam/a\n", "site.yaml:2:5: cameras[0].id: is missing"),
        (f"{CAMERA}  - id: a\n    url: b.mp4\n", '4:5: cameras[1].id: "a" is the id of another camera, in line 2'),
        ("cameras: [{id: 7, url: x.mp4}]\n", "cameras[0].id: want text; put it between quotes"),
        ("cameras: [{id: a b, url: x.mp4}]\n", "cameras[0].id: want 1 to 80 letters"),
        ("cameras: [{id: ../a, url: x.mp4}]\n", "cameras[0].id: want 1 to 80 letters"),
        ("cameras: [{id: a, url: 'rtsp://u:${X@cam'}]\n", "cameras[0].url: holds ${ without a }"),
        (f"{CAMERA}    fps: '5'\n", "cameras[0].fps: want a number, without quotes"),
        (f"{CAMERA}    fps: 241\n", "cameras[0].fps: want 240 or less"),
        (f"{CAMERA}    weight: 0.05\n", "cameras[0].weight: want 0.1 or more"),
        (f"{CAMERA}    weight:\n", "cameras[0].weight: is empty"),
        (f"{CAMERA}    frozen_after_s: 0.1\n", "cameras[0].frozen_after_s: want 0.5 to 86400 seconds, or 0"),
        (f"{CAMERA}    tls_verify: 'true'\n", "cameras[0].tls_verify: want true or false"),
        (f"{CAMERA}    backend: gstreemer\n", 'backend: want one of auto, pyav, gstreamer; did you mean "gstreamer"?'),
        (f"{CAMERA}    model: cars\n", "cameras[0].model: there is no such model in `models`; known: people"),
        (f"models: {{p: {{}}, q: {{}}}}\n{CAMERA}", "cameras[0].model: there are 2 models; say which: p, q"),
        (f"{CAMERA}    pipeline: videotestsrc\n", "site.yaml:4:5: cameras[0].pipeline: may do all that"),
        (f"{CAMERA}    tracker: {{name: sort}}\n", "tracker.name: want one of bytetrack, ocsort"),
        (f"{CAMERA}    tracker: {{settings: {{coast: 1}}}}\n", 'no such option of bytetrack, did you mean "coast_s"?'),
        (f"{CAMERA}    tracker: {{settings: {{coast_s: abc}}}}\n", "its value is no number"),
        (f"{CAMERA}    ignore: [[[0, 0], [1, 1]]]\n", "cameras[0].ignore[0]: want 3 to 64 corners"),
        (f"{CAMERA}    ignore: [[[0, 0], [1, 1.5], [1, 0]]]\n", "cameras[0].ignore[0][1][1]: want 1 or less"),
        (f"{CAMERA}    ignore: [[[0, 0], [1, 1], [1, 0], [0, 1]]]\n", "cameras[0].ignore[0]: its sides cross"),
        (f"{CAMERA}    ignore: [[[0, 0], [0.5, 0.5], [1, 1]]]\n", "cameras[0].ignore[0]: "),
        (f"{CAMERA}    ignore: [[[0, 0], [1, 0], [1, 1], [0, 0]]]\n", "twice in a row"),
        (f"{CAMERA}    ignore: [[[0, 0], [1, 0], [1]]]\n", "want two numbers, [x, y]"),
        (f"models: {{p: {{sha256: abc}}}}\n{CAMERA}", "models.p.sha256: want the 64 digits"),
        (f"models: {{p: {{device: gpu}}}}\n{CAMERA}", "models.p.device: want one or more of auto, cpu"),
        (f"models: {{p: {{workers: 2.5}}}}\n{CAMERA}", "models.p.workers: want a whole number"),
        (f"retention: {{tracks_size: 10Gb}}\n{CAMERA}", "retention.tracks_size: want a size such as 10GiB"),
        (f"retention: {{tracks_days: 0}}\n{CAMERA}", "retention.tracks_days: want 0.01 or more"),
        (f"ingest: {{memory: 5KiB}}\n{CAMERA}", "ingest.memory: want 1MiB or more"),
        (f"ingest: {{group_size: true}}\n{CAMERA}", "ingest.group_size: want a whole number"),
        (f"http: {{listen: 8770}}\n{CAMERA}", "http.listen: want text"),
        (f"http: {{listen: localhost}}\n{CAMERA}", "http.listen: want ADDRESS:PORT"),
        (f"http: {{listen: 'localhost:70000'}}\n{CAMERA}", "http.listen: want ADDRESS:PORT"),
        (f"storage: {{path: ''}}\n{CAMERA}", "storage.path: want the path"),
        (f"sightings: {{faces: yunet}}\n{CAMERA}", "sightings.faces: want a map"),
        (f"sightings: {{faces: {{modle: x}}}}\n{CAMERA}", 'sightings.faces.modle: unknown key; did you mean "model"'),
        (f"sightings: {{budget: 2}}\n{CAMERA}", "sightings: budget: 2 processors are more than 1 of `workers`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_the_next_step(text: str, told: str) -> None:
    told_all = refusal(text)
    assert told in told_all
    assert told_all.count("\n") == 0


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    lines = refusal(f"site: a b\n{CAMERA}    fps: x\n    modl: y\nhttp: {{listen: 1}}\nretention: 5\n").splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "5", "6", "7", "8"]


def test_twenty_problems_are_shown_and_the_rest_is_counted() -> None:
    lines = refusal(
        "cameras:\n" + "".join(f"  - {{id: c{i}, url: x.mp4, nonsense: 1}}\n" for i in range(50))
    ).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "site.yaml: and 30 more"


def test_what_is_wrong_in_defaults_is_told_once_and_there() -> None:
    many = "".join(f"  - {{id: c{i}, url: x.mp4}}\n" for i in range(5))
    assert (
        refusal(f"defaults: {{fps: x}}\ncameras:\n{many}")
        == "site.yaml:1:12: defaults.fps: want a number, without quotes"
    )
    assert refusal(f"defaults: {{model: q}}\ncameras:\n{many}").startswith(
        "site.yaml:1:12: defaults.model: there is no"
    )
    assert refusal(f"defaults: {{url: q}}\ncameras:\n{many}").count("\n") == 0


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.9.1:80", "'[::1]:8770'", "localhost:8770"])
def test_an_address_of_this_machine_alone_needs_no_token(listen: str) -> None:
    assert site_of(f"http: {{listen: {listen}}}\n{CAMERA}").http.is_local


@pytest.mark.parametrize("listen", ["0.0.0.0:8770", "10.0.0.5:80", "'[::]:8770'", "nvr-1:8770"])
def test_any_other_address_needs_a_token_and_encryption(listen: str) -> None:
    told = refusal(f"http: {{listen: {listen}}}\n{CAMERA}")
    assert "add token_file: FILE" in told
    assert "and tls: {certificate: FILE, key: FILE}, or behind_proxy: true" in told
    assert "token_file" not in refusal(f"http: {{listen: {listen}, token_file: t}}\n{CAMERA}")
    assert "behind_proxy" not in refusal(f"http: {{listen: {listen}, behind_proxy: true}}\n{CAMERA}")
    assert not site_of(f"http: {{listen: {listen}, token_file: t, behind_proxy: true}}\n{CAMERA}").http.is_local
    assert site_of(f"http: {{listen: {listen}, token_file: t, tls: {{certificate: c, key: k}}}}\n{CAMERA}").http.tls


def test_a_missing_secret_is_a_problem_with_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path, "cameras:\n  - id: a\n    url: rtsp://u:${NO_SUCH}@cam\n  - {id: b, url: 'rtsp://u:${file:pw}@cam'}\n"
    )
    with pytest.raises(SiteError) as caught:
        load_site(path, {})
    one, two = str(caught.value).splitlines()
    assert one.startswith(f"{path}:3:5: cameras[0].url: ${{NO_SUCH}}: no such environment variable")
    assert f"cameras[1].url: ${{file:{tmp_path}/pw}}: cannot be read" in two
    assert len(read_site(path).cameras) == 2  # to look at, it needs no secrets


def test_secrets_are_put_in_for_ingest_alone(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter22/@\n")
    path = written(
        tmp_path, "cameras: [{id: a, url: 'rtsp://u:${file:pw}@cam'}, {id: b, url: 'rtsp://u:${PW}@cam/h264'}]\n"
    )
    site = load_site(path, {"PW": "p@ss"})
    assert [camera_settings(site, camera, {"PW": "p@ss"}).address.password for camera in site.cameras] == [
        "hunter22/@",
        "p@ss",
    ]
    assert "hunter22" not in f"{site!r}{site}{dump(site)}{show(site)}"
    assert not site.warnings


def test_a_plain_password_is_never_shown_and_warned_of_where_others_can_read_it(tmp_path: Path) -> None:
    path = written(tmp_path, "cameras: [{id: a, url: 'rtsp://u:hunter22@cam/x?token=abcdef'}]\n")
    assert not load_site(path).warnings
    path.chmod(0o644)
    site = load_site(path)
    assert "holds passwords (a) and others can read it; chmod 600" in site.warnings[0]
    assert "hunter22" not in f"{site!r}{site.warnings}{show(site)}"
    assert "rtsp://u:***@cam:554/x?token=***" in show(site)
    assert "hunter22" in dump(site)


def test_addresses_that_are_none_are_told_of_without_their_secrets(tmp_path: Path) -> None:
    for url in (
        "ftp://u:hunter22@cam",
        "rtsp://u:hunter22@cam:99999/a",
        "u:hunter22@cam/a",
        "rtsp://u:hunter22/@cam/a",
    ):
        with pytest.raises(SiteError) as caught:
            load_site(written(tmp_path, f"cameras: [{{id: a, url: '{url}'}}]\n"), {})
        assert "1:19: cameras[0].url: " in str(caught.value)
        assert "hunter22" not in str(caught.value)


def test_lossless_is_for_files(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"1:36: cameras.0..lossless: .*lossless is for files"):
        load_site(written(tmp_path, "cameras: [{id: a, url: rtsp://cam, lossless: true}]\n"), {})


def test_two_cameras_of_one_address_are_worth_a_warning(tmp_path: Path) -> None:
    site = load_site(written(tmp_path, "cameras: [{id: a, url: x.mp4}, {id: b, url: x.mp4}]\n"), {})
    assert site.warnings == ("cameras a and b have the same address; each is read and analysed by itself",)


def test_a_token_file_is_there_and_long_enough(tmp_path: Path) -> None:
    path, token = written(tmp_path, f"http: {{token_file: token}}\n{CAMERA}"), tmp_path / "token"
    for content, told in (
        (None, "cannot be read"),
        ("short\n", "16 characters"),
        ("x y z " * 9, "without spaces"),
        ("x" * 9000, "16"),
    ):
        if content is not None:
            token.write_text(content)
        with pytest.raises(SiteError) as caught:
            load_site(path, {})
        assert "site.yaml:1:8: http.token_file: " in str(caught.value)
        assert told in str(caught.value)
        assert "short" not in str(caught.value)
    token.write_text("0123456789abcdef\n")
    token.chmod(0o644)
    assert "others on this machine can read it" in load_site(path, {}).warnings[0]
    token.chmod(0o600)
    assert not load_site(path, {}).warnings
    assert read_token(token) == "0123456789abcdef"
    with pytest.raises(UsageError):
        read_token(tmp_path)


def test_certificates_are_there(tmp_path: Path) -> None:
    path = written(tmp_path, f"http: {{tls: {{certificate: c.pem, key: k.pem}}}}\n{CAMERA}")
    with pytest.raises(SiteError, match=r"(?s)http.tls.certificate: .*no file.*http.tls.key: .*no file"):
        load_site(path, {})


def test_a_file_that_is_not_there_or_no_text_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"cannot be read .no such file or directory.; `watchline config init`"):
        load_site(tmp_path / "none.yaml")
    with pytest.raises(SiteError, match=r"cannot be read .is a directory"):
        load_site(tmp_path)
    (tmp_path / "big.yaml").write_bytes(b"#\n" * (1 << 20))
    with pytest.raises(SiteError, match="more than 1 MiB"):
        load_site(tmp_path / "big.yaml")


def test_files_that_cannot_be_looked_at_are_told_of(tmp_path: Path) -> None:
    long = "x" * 300
    os.mkfifo(tmp_path / "pipe")
    tls = f"{{certificate: {long}, key: {long}}}"
    for token in (long, "pipe"):
        with pytest.raises(SiteError) as caught:
            load_site(
                written(tmp_path, f"http: {{token_file: {token}, tls: {tls}}}\n{CAMERA}    tls_authorities: {long}\n")
            )
        assert str(caught.value).count("\n") == 3


@pytest.mark.parametrize(
    "text",
    [
        CAMERA + "".join(f"    k{index}: 1\n" for index in range(45_000)),
        f"defaults: {{ignore: [{'[[0,0],[1,0],[1,2]],' * 32}], classes: [{'1,' * 999}]}}\ncameras:\n"
        + "".join(f"  - {{id: c{index}, url: x}}\n" for index in range(1000)),
        "cameras:\n" + "".join(f"  - {{id: c{index}, url: x}}\n" for index in range(19_000)),
        "cameras:\n" + "".join(f"  - {{id: c{i}, url: x, tracker: {{name: x}}}}\n" for i in range(1000)),
    ],
)
def test_thousands_of_problems_are_told_within_seconds(text: str) -> None:
    begun_s = time.process_time()
    assert refusal(text).count("\n") in (0, 20)
    assert time.process_time() - begun_s < 15


def test_a_thousand_cameras_load_within_seconds(tmp_path: Path) -> None:
    lines = "".join(
        f"  - {{id: c{i}, url: 'rtsp://10.0.{i // 250}.{i % 250}/a', fps: 5, weight: 2}}\n" for i in range(1000)
    )
    assert len(load_site(written(tmp_path, f"cameras:\n{lines}")).cameras) == 1000


def test_the_example_loads_and_names_every_key() -> None:
    site = load_site(EXAMPLE, {"DOCK_PASSWORD": "x"})
    assert [camera.id for camera in site.cameras] == ["dock-2", "gate", "rehearsal"]
    text = EXAMPLE.read_text()
    schema = json_schema()
    keys = {key for part in [schema, *schema["$defs"].values()] for key in part.get("properties", {})}
    assert [key for key in sorted(keys) if f"{key}:" not in text] == []
    for camera in site.cameras:
        build_tracker(tracker_choice(camera))


def test_every_key_of_the_schema_is_described() -> None:
    schema = json_schema()
    for part in [schema, *schema["$defs"].values()]:
        if "properties" in part:
            assert part["additionalProperties"] is False
            assert all(value.get("description") for value in part["properties"].values())
    assert schema["$defs"]["Camera"]["required"] == ["id", "url"]


def test_the_page_of_the_keys_is_what_the_models_say() -> None:
    page = (ROOT / "docs" / "config.md").read_text()
    assert renew(page) == page  # python -m watchline.pipeline.site.reference docs/config.md
