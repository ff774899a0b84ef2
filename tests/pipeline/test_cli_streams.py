"""`watchline streams`: looks at cameras, as a user runs it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import COMMAND, watchline
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer
from tests.kit.web_server import WebServer
from watchline.pipeline.cli import watching
from watchline.streams.address import Address
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.ingest import Ingest


@pytest.fixture
def server(record: Record, require_rtsp_server: None) -> Iterator[RtspServer]:
    with RtspServer(life_s=120) as server:
        server.add("/cam", record(Scene(frames=1000)))
        server.add("/sound", None, sound=True)
        yield server


def test_a_probe_says_what_is_there(server: RtspServer) -> None:
    done = watchline("streams", "probe", server.url("/cam"), "--seconds", "3")
    assert done.returncode == 0, done.stderr
    for told in ("h264, 320x240", "announced 25", "every 25 pictures", "read by", "in software, tcp", "first picture"):
        assert told in done.stdout


def test_a_probe_as_json(server: RtspServer) -> None:
    done = watchline("streams", "probe", server.url("/cam"), "--seconds", "2", "--transport", "udp", "--json")
    found = json.loads(done.stdout)
    assert found["reason"] is None
    assert (found["info"]["width"], found["info"]["height"], found["gop"]) == (320, 240, 25)
    assert 20 < found["fps"] < 35
    assert found["first_picture_s"] < 2


def test_a_probe_says_why_not_in_one_line(server: RtspServer) -> None:
    for path, reason in (("/none", "not_found"), ("/sound", "no_video")):
        done = watchline("streams", "probe", server.url(path))
        assert done.returncode == 1
        assert done.stderr.startswith(f"watchline: {reason}: camera ")
        assert done.stderr.count("\n") == 1
        told = json.loads(watchline("streams", "probe", server.url(path), "--json").stdout)
        assert told["reason"] == reason


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("probe", "ftp://cam/a"), "ftp:// is not allowed"),
        (("probe", "rtsp://${NO_SUCH}@cam/a"), "${NO_SUCH}: no such environment variable"),
        (("probe", "rtsp://${file:/no/such}@cam/a"), "cannot be read"),
        (("probe", "admin:pw@10.0.0.7/h264"), "without rtsp://"),
        (("watch", "yard.mp4", "--group-size", "65"), "--group-size"),
        (("watch", "yard.mp4", "--frozen-after", "0.1"), "frozen_after_s"),
        (("probe", "yard.mp4", "--backend", "vlc"), "vlc"),
    ],
)
def test_wrong_usage_is_one_clear_line(arguments: tuple[str, ...], told: str) -> None:
    done = watchline("streams", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_watching_tells_of_each_change_and_ends_with_a_table(server: RtspServer) -> None:
    done = watchline("streams", "watch", server.url("/cam"), server.url("/none"), "--seconds", "4")
    assert done.returncode == 3  # one of two gave pictures
    lines = done.stdout.splitlines()
    assert any(line.startswith("127.0.0.1-cam: live: pyav") for line in lines)
    assert any(line.startswith("127.0.0.1-none: offline (not_found): ") for line in lines)
    assert "taken fps" in done.stdout


@pytest.mark.parametrize("group_size", ["0", "1"])
def test_watching_as_json_counts_every_frame(server: RtspServer, group_size: str) -> None:
    url = server.url("/cam")
    done = watchline("streams", "watch", url, url, "--seconds", "8", "--json", "--group-size", group_size)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["camera"] for record in records} == {"127.0.0.1-cam", "127.0.0.1-cam-2"}
    for record in records:
        counts = record["counts"]
        settled = counts["delivered"] + sum(counts["dropped"].values()) + counts["in_flight"]
        assert counts["received"] == settled
    assert 4 < records[-1]["delivered_fps"] < 6


def test_a_file_is_played_as_if_it_were_live(clip: Path) -> None:
    done = watchline("streams", "watch", clip, "--seconds", "3", "--fps", "0", "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert 22 < last["fps"] < 28  # forty frames, looped, at their own rate
    assert last["counts"]["received"] > 45


def test_an_interrupt_ends_watching_with_the_table(clip: Path) -> None:
    command = [*COMMAND, "streams", "watch", str(clip)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=10)
    assert process.returncode == 0, errors
    assert "taken fps" in printed
    assert errors == ""


@pytest.mark.parametrize("command", [("probe",), ("watch",), ("watch", "--group-size", "4")])
def test_an_interrupt_ends_the_wait_for_a_silent_host(command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        process = subprocess.Popen(
            [*COMMAND, "streams", *command, url, "--timeout", "60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            time.sleep(0.5)
            begun_s = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
    assert time.monotonic() - begun_s < 3.5  # three, and a busy machine
    if command == ("probe",):
        assert (process.returncode, errors) == (130, "watchline: interrupted\n")
    else:
        assert (process.returncode, errors) == (1, "")


def test_an_interrupt_ends_watching_although_nobody_takes_its_lines(clip: Path) -> None:
    command = [*COMMAND, "streams", "watch", "--json", *[str(clip)] * 8]
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"):
        size = fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        process = subprocess.Popen(command, stdout=writing, stderr=subprocess.DEVNULL)
        os.close(writing)
        os.set_blocking(reading, False)
        time.sleep(5)  # 8 cameras fill 4 KiB in a second
        assert size == 4096
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=4) == 130


def test_an_interrupt_ends_a_probe_with_what_it_saw(server: RtspServer) -> None:
    command = [*COMMAND, "streams", "probe", server.url("/cam"), "--seconds", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert "h264, 320x240" in printed


@pytest.mark.parametrize("path", ["[/a]", "[red]stream[x]"])
def test_brackets_in_an_address_are_shown_as_they_are(path: str) -> None:
    done = watchline("streams", "watch", f"rtsp://127.0.0.1:1/{path}", "--seconds", "2")
    assert (done.returncode, done.stderr) == (1, "")
    assert "".join(done.stdout.split()).count(path) >= 2  # its line and the table, which folds it


def test_cameras_of_one_address_or_a_long_one_have_names_of_their_own() -> None:
    addresses = [Address.parse(text) for text in ["rtsp://cam/" + "a" * 90] * 3 + ["_.mp4", "front yard.mp4"]]
    names = [CameraSettings(name, address).camera for name, address in watching._named(addresses)]
    assert len(set(names)) == 5
    assert names[1].endswith("a-2")


def test_a_narrow_table_keeps_what_matters_most() -> None:
    settings = CameraSettings("cam-7", Address.parse("rtsp://127.0.0.1:1/[/a]"))
    with Ingest() as ingest:
        ingest.add(settings)
        statuses = ingest.status()
    wide, narrow = ([str(c.header) for c in watching._table(statuses, width).columns] for width in (100, 99))
    assert narrow == ["camera", "state", "fps", "age", "why"]
    assert set(wide) == {*narrow, "taken fps", "received", "dropped", "reconnects"}


@pytest.mark.usefixtures("require_gstreamer")
def test_gstreamer_follows_no_redirect_with_the_password() -> None:
    with WebServer() as other, WebServer() as web:
        other.auth = "basic"
        web.redirect = other.url("/mjpeg")
        url = f"http://admin:pw@127.0.0.1:{web.port}/cam"
        done = watchline("streams", "probe", url, "--backend", "gstreamer", "--timeout", "3")
        assert not other.requests
    assert done.returncode == 1
    assert done.stderr.startswith("watchline: protocol: ")
