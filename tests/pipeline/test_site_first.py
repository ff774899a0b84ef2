"""A first site's file, by looks that are played."""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from watchline.pipeline.site.first import first_site, look_at_all, name_cameras, write_first
from watchline.pipeline.site.loading import parse_site
from watchline.pipeline.site.references import absolute, hidden
from watchline.streams.address import Address, Kind
from watchline.streams.camera_settings import CameraSettings, Transport
from watchline.streams.errors import OutputError, UsageError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import ClockSource
from watchline.streams.live_clock import Healed
from watchline.streams.probe import Probe
from watchline.streams.source import SourceInfo

LIKE = CameraSettings("camera", Address(Kind.FILE, "file", "", 0, ""))


def seen(_settings: CameraSettings) -> Probe:
    info = SourceInfo("video", 1280, 720, 25.0, None, None, "h264")
    return Probe(info, "pyav", 0.2, 2.0, 50, 24.9, 25, 0, 0, 0.0, ClockSource.ARRIVAL, 0.1, Healed())


def test_passwords_that_are_given_become_names_of_variables() -> None:
    given = [
        "rtsp://admin:hunter22@cam-7/h264",
        "http://cam-8/a.mjpg?token=abcdef&size=2",
        "rtmp://host/live/streamkey",
        "rtsp://admin:p%40ss@cam-9/a?token=abcdef",
    ]
    cameras = name_cameras(given, LIKE)
    assert [camera.url for camera in cameras] == [
        "rtsp://admin:${CAMERA_1_PASSWORD}@cam-7:554/h264",
        "http://cam-8:80/a.mjpg?token=${CAMERA_2_SECRET}&size=2",
        "rtmp://host:1935/live/${CAMERA_3_SECRET}",
        "rtsp://admin:${CAMERA_4_PASSWORD}@cam-9:554/a?token=${CAMERA_4_SECRET}",
    ]
    text = first_site(look_at_all(cameras, seen, 5)[0])
    assert not any(secret in f"{text}{cameras!r}" for secret in ("hunter22", "abcdef", "streamkey"))
    assert "#   CAMERA_1_PASSWORD=(the password that you gave for cam-7-h264)" in text
    assert (
        "#   CAMERA_4_PASSWORD=(the password that you gave for cam-9-a, as plain text: a letter for each %XX)" in text
    )
    secrets = {"CAMERA_4_PASSWORD": "p@ss", "CAMERA_4_SECRET": "abcdef"}
    secrets |= {"CAMERA_1_PASSWORD": "hunter22", "CAMERA_2_SECRET": "abcdef", "CAMERA_3_SECRET": "streamkey"}
    for camera, url in zip(parse_site(text, "f", Path("/x")).cameras, given, strict=True):
        from watchline.pipeline.secrets import expand

        assert Address.parse(expand(camera.url, secrets)) == Address.parse(url)


def test_names_that_are_given_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCK", "hunter22")
    (tmp_path / "pw").write_text("hunter33")
    cameras = name_cameras(["rtsp://admin:${DOCK}@cam-7/a", f"rtsp://admin:${{file:{tmp_path}/pw}}@cam-7/a"], LIKE)
    assert [camera.url for camera in cameras] == [
        "rtsp://admin:${DOCK}@cam-7:554/a",
        f"rtsp://admin:${{file:{tmp_path}/pw}}@cam-7:554/a",
    ]
    (camera,) = name_cameras(["rtsp://admin:${DOCK}@cam-7/a?token=abcdef"], LIKE)
    assert camera.url == "rtsp://admin:${DOCK}@cam-7:554/a?token=${CAMERA_1_SECRET}"
    assert [camera.settings.camera for camera in cameras] == ["cam-7-a", "cam-7-a-2"]
    assert cameras[0].settings.address.password == "hunter22"
    with pytest.raises(UsageError, match="NO_SUCH"):
        name_cameras(["rtsp://a:${NO_SUCH}@cam"], LIKE)


def test_a_secret_in_a_path_is_no_part_of_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter22")
    for url in ("rtsp://cam/${KEY}/a", "${KEY}", "rtmp://h/live/${KEY}"):
        (camera,) = name_cameras([url], LIKE)
        assert "hunter22" not in f"{camera.settings.camera}{camera.url}"


def test_cameras_that_gave_nothing_are_there_with_the_reason() -> None:
    def look(settings: CameraSettings) -> Probe:
        if settings.camera.startswith("cam-8"):
            raise CameraError(Reason.TIMEOUT, "no answer from rtsp://u:hunter22@cam-8\nurl: evil")
        if settings.camera.startswith("cam-9"):
            raise ValueError("hunter22 is not liked")
        return seen(settings)

    cameras = name_cameras(["rtsp://cam-7/a", "rtsp://u:hunter22@cam-8/a", "rtsp://u:hunter22@cam-9/a"], LIKE)
    told: list[str] = []
    found, ended = look_at_all(cameras, look, 5, lambda camera: told.append(camera.settings.camera))
    text = first_site(found)
    assert ended
    assert sorted(told) == ["cam-7-a", "cam-8-a", "cam-9-a"]
    assert "# h264, 1280x720, 24.9 fps (announced 25), by pyav" in text
    assert "# gave no picture: timeout: no answer" in text
    assert "hunter22" not in text
    assert [camera.id for camera in parse_site(text, "f", Path("/x")).cameras] == ["cam-7-a", "cam-8-a", "cam-9-a"]


def test_a_look_that_hangs_is_given_up() -> None:
    free = threading.Event()

    def look(settings: CameraSettings) -> Probe:
        if settings.camera.startswith("hangs"):
            free.wait(20)
        return seen(settings)

    cameras = name_cameras(["rtsp://hangs/a", *[f"rtsp://cam-{index}/a" for index in range(20)]], LIKE)
    begun_s = time.monotonic()
    found, ended = look_at_all(cameras, look, 1.0)
    free.set()
    assert time.monotonic() - begun_s < 10
    assert not ended
    assert found[0].reason == "no end of the look within 1 s"
    assert all(camera.probe for camera in found[1:])


def test_options_that_were_given_are_in_the_file() -> None:
    like = CameraSettings("camera", LIKE.address, transport=Transport.UDP, tls_verify=False)
    site = parse_site(first_site(name_cameras(["rtsp://cam/a"], like), "north"), "f", Path("/x"))
    assert (site.site, site.cameras[0].transport, site.cameras[0].tls_verify) == ("north", Transport.UDP, False)


def test_a_file_is_written_whole_for_its_owner_alone_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    write_first(path, "one", overwrite=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="--overwrite"):
        write_first(path, "two", overwrite=False)
    assert path.read_text() == "one"
    write_first(path, "two", overwrite=True)
    assert path.read_text() == "two"
    with pytest.raises(OutputError, match="cannot write"):
        write_first(tmp_path / "none" / "site.yaml", "x", overwrite=False)
    with pytest.raises(UsageError, match="is a folder"):
        write_first(tmp_path, "x", overwrite=True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_links_takes_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "site.yaml"
    write_first(path, "one", overwrite=False)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("one", 0o600)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("rtsp://admin:hunter22@cam/a", "rtsp://admin:***@cam:554/a"),
        ("rtsp://cam/user=admin_password=hunter22_channel=1.sdp", "rtsp://cam:554/user=***_channel=1.sdp"),
        ("rtsp://${U}:${P}@cam:8554/x?token=${T}", "rtsp://${U}:${P}@cam:8554/x?token=${T}"),
        ("rtsp://u:a${T}b@cam/", "rtsp://u:***@cam:554/"),
        ("rtsp://wlref0x:${T}@cam/", "rtsp://wlref0x:${T}@cam:554/"),
        ("/dev/video0", "/dev/video0"),
        ("${ALL}", "${ALL}"),
    ],
)
def test_an_address_is_shown_with_names_and_without_secrets(given: str, shown: str) -> None:
    assert hidden(given) == shown


def test_files_are_named_from_the_root() -> None:
    assert absolute("a/b.mp4", Path("/x")) == "/x/a/b.mp4"
    assert absolute("/a/b.mp4", Path("/x")) == "/a/b.mp4"
    assert absolute("rtsp://u:${file:pw}@cam/${N}", Path("/x")) == "rtsp://u:${file:/x/pw}@cam/${N}"
