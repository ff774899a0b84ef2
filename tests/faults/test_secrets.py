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
from watchline.pipeline.secrets import expand
from watchline.streams.address import Address

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
    assert "h264" in run(tmp_path, "streams", "probe", named, "--seconds", "1", BIRD=CANARY)


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
        (f"rtsp://127.0.0.1:9/user=admin_password={wrong}_channel=1.sdp", "refused"),
        (f"rtmp://127.0.0.1:9/live/{wrong}", "refused"),
        (f"admin:{CANARY}@127.0.0.1/cam", "without rtsp://"),
        (f"rtsp:/admin:{CANARY}@127.0.0.1/cam", "two slashes"),
        (f"admin:{CANARY}@rtsp://127.0.0.1/cam", "must begin with"),
        (f"rtsp://admin:{CANARY * 9}@127.0.0.1/cam\n", "no control characters"),
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


@pytest.mark.parametrize("secret", ["p@ss/w0rd%20", "a#b?c", "\u00e4 [x]:y", "l1\nl2"])
def test_a_named_secret_is_plain_text_whatever_it_holds(secret: str, tmp_path: Path) -> None:
    address = Address.parse(expand("rtsp://admin:${PW}@10.0.0.7/h264", {"PW": secret}))
    assert (address.user, address.password, address.host, address.path) == ("admin", secret, "10.0.0.7", "/h264")
    path = tmp_path / "dock"
    path.write_text(secret + "\n")
    named = Address.parse(expand(f"rtsp://${{WHO}}:${{file:{path}}}@10.0.0.7/h264", {"WHO": "a@b"}))
    assert (named.user, named.password, named.host) == ("a@b", secret, "10.0.0.7")
    asked = Address.parse(expand("http://10.0.0.7/v?token=${PW}&n=1", {"PW": secret}))
    assert asked.path == f"/v?token={quote(secret, safe='')}&n=1"


def test_a_host_a_path_or_a_whole_address_may_be_named_too() -> None:
    values = {"HOST": "cam:554", "PATH": "live/1", "ALL": "rtsp://u:p%40@cam/x"}
    assert Address.parse(expand("rtsp://u:p@${HOST}/${PATH}", values)).url == "rtsp://u:p@cam:554/live/1"
    assert Address.parse(expand("${ALL}", values)).password == "p@"
