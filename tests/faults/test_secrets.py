"""A canary password is searched for in everything that the programs write, show or hand on."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.command import COMMAND
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer

pytestmark = pytest.mark.usefixtures("require_rtsp_server")

CANARY = "c4nary/b!rd@home"
FORMS = {CANARY, quote(CANARY, safe=""), quote(CANARY), base64.b64encode(f"admin:{CANARY}".encode()).decode(), "c4nary"}


@pytest.fixture
def server(record: Record) -> Iterator[RtspServer]:
    with RtspServer(user="admin", password=CANARY, life_s=120) as server:
        server.add("/cam", record(Scene(frames=1000)))
        yield server


def check(text: str, where: str) -> None:
    for form in FORMS:
        assert form not in text, f"{where} holds the password as {form}: ...{text[:3000]}"


def run(folder: Path, *arguments: str, during: bool = False, **environment: str) -> str:
    """Runs the command with all its files in `folder`; returns what it wrote, checked with every file and process."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(folder), "TMPDIR": str(folder), **environment},
    )
    if during:
        time.sleep(5)
        whole = psutil.Process(process.pid)
        for one in [whole, *whole.children(recursive=True)]:
            check("\n".join(one.cmdline()), f"the title of process {one.pid}")
            if one.pid != process.pid:  # whose own environment is what the user put there
                check(str(one.environ()), f"the environment of process {one.pid}")
    printed, _ = process.communicate(timeout=60)
    check(printed, "what it printed")
    for path in folder.rglob("*"):
        if path.is_file():
            check(path.read_bytes().decode(errors="replace"), str(path))
    return printed


def test_a_probe_shows_no_password(server: RtspServer, tmp_path: Path) -> None:
    right = server.url("/cam", user="admin", password=CANARY)
    assert "h264" in run(tmp_path, "streams", "probe", right, "--seconds", "1")
    assert "h264" in run(tmp_path, "streams", "probe", right, "--seconds", "1", "--json")
    named = right.replace(quote(CANARY, safe=""), "${BIRD}")
    assert "h264" in run(tmp_path, "streams", "probe", named, "--seconds", "1", BIRD=quote(CANARY, safe=""))


def test_no_failure_shows_the_password(server: RtspServer, tmp_path: Path) -> None:
    wrong = quote(CANARY + "x", safe="")
    for url, told in (
        (f"rtsp://admin:{wrong}@127.0.0.1:{server.port}/cam", "auth"),
        (f"rtsp://admin:{wrong}@127.0.0.1:9/cam", "refused"),
        (f"http://admin:{wrong}@127.0.0.1:{server.port}/cam", "protocol"),
        (f"https://admin:{wrong}@127.0.0.1:{server.port}/cam", "tls"),
        (f"rtmp://admin:{wrong}@127.0.0.1:{server.port}/cam", ""),
        (f"rtsp://admin:{wrong}@no-such-host.invalid/cam", "dns"),
        (f"rtsp://admin:{CANARY}@127.0.0.1:{server.port}/cam", "%2F"),
        (f"gopher://admin:{wrong}@127.0.0.1/cam", "not allowed"),
        (f"rtsp://127.0.0.1:9/cam?user=admin&password={wrong}", "refused"),
    ):
        assert told in run(tmp_path, "streams", "probe", url, "--timeout", "3", WATCHLINE_DEBUG="1")


@pytest.mark.parametrize("group_size", ["0", "1"])
def test_watching_shows_no_password_in_titles_environments_or_lines(
    server: RtspServer, tmp_path: Path, group_size: str
) -> None:
    right = server.url("/cam", user="admin", password=CANARY)
    wrong = server.url("/cam", user="admin", password=CANARY + "x")
    common = ("streams", "watch", right, wrong, "--seconds", "8", "--group-size", group_size)
    printed = run(tmp_path, *common, during=True)
    assert "auth" in printed
    assert "live" in printed
    assert '"reason": "auth"' in run(tmp_path, *common, "--json", during=True)
