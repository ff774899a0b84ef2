"""`watchline streams`: looks at cameras, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import COMMAND, watchline
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer


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
    done = watchline("streams", "watch", url, url, "--seconds", "5", "--json", "--group-size", group_size)
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
