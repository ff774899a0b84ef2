"""Passwords of cameras are in nothing that leaves the daemon's memory."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from tests.kit.daemon import DaemonProcess, small_site
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into processes as Linux shows them"),
    pytest.mark.usefixtures("require_rtsp_server"),
]

RIGHT, WRONG, WRITTEN = "canary/r1ght@7d31f", "canary#wr0ng 5b", "canary-wr1tten-90"
TOLD = ("/metrics", "/api/cameras", "/api/cameras/right", "/", "/readyz", "/healthz", "/openapi.json", "/canary")


def assert_not_in(told: bytes, where: object) -> None:
    for secret in (RIGHT, WRONG, WRITTEN):
        for form in {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]}:
            assert form.encode() not in told, where


@pytest.fixture
def site(tiny: Path, tmp_path: Path) -> dict[str, Any]:
    """To be filled in with a port: a password by the environment, a wrong one by a file, and one in the site itself."""
    (tmp_path / "secret").write_text(WRONG + "\n")
    cameras = {
        "right": "rtsp://admin:${DOCK_PASSWORD}@127.0.0.1:PORT/cam",
        "wrong": f"rtsp://admin:${{file:{tmp_path / 'secret'}}}@127.0.0.1:PORT/cam",
        "written": f"rtsp://admin:{WRITTEN}@127.0.0.1:9/h264?token={WRITTEN}",
    }
    return {**small_site(tiny, cameras, fps=10), "ingest": {"group_size": 2}}


def test_passwords_are_in_no_log_page_file_title_environment_or_core(
    site: dict[str, Any], record: Record, tmp_path: Path
) -> None:
    with RtspServer(user="admin", password=RIGHT, life_s=60) as server:
        server.add("/cam", record(Scene(frames=500)))
        for camera in site["cameras"]:
            camera["url"] = camera["url"].replace("PORT", str(server.port))
        with DaemonProcess(tmp_path, site, {"DOCK_PASSWORD": RIGHT}, ("--verbose",)) as daemon:
            daemon.wait(lambda: daemon.cameras()["right"]["processed"] > 20)
            daemon.wait(lambda: all(daemon.cameras()[name]["reason"] for name in ("wrong", "written")))
            assert daemon.cameras()["wrong"]["reason"] == "auth"
            for path in TOLD:
                assert_not_in(daemon.get(path)[1], path)
            for child in daemon.children():
                assert_not_in(" ".join(child.cmdline()).encode(), child)
                with suppress(psutil.AccessDenied):  # it can be read by root alone
                    assert_not_in("\n".join(child.environ().values()).encode(), child)
            assert_not_in(" ".join(psutil.Process(daemon.process.pid).cmdline()).encode(), "the command")
            for process in (psutil.Process(daemon.process.pid), *daemon.children()):
                assert process_core_limit(process) == ("0", "0"), process.cmdline()
            refuse(daemon, site)
            crash(daemon)
        assert_not_in("\n".join(daemon.lines).encode(), "the log")
        files = [path for path in daemon.storage.rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert_not_in(path.read_bytes(), path)
            assert_not_in(str(path).encode(), path)


def process_core_limit(process: psutil.Process) -> tuple[str, str]:
    """Returns how large an image of its memory may be that a process leaves as it crashes: soft and hard bound."""
    limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    words = next(line for line in limits if line.startswith("Max core file size")).split()
    return words[4], words[5]


def refuse(daemon: DaemonProcess, site: dict[str, Any]) -> None:
    """Gives it files that are wrong near a password."""
    for key, value in (("fsp", 5), ("url", f"rtsp://admin:{WRITTEN}@[::1/h264"), ("fps", WRITTEN)):
        before = daemon.metrics().value("watchline_config_reloads_total", reason="refused")
        cameras = [*site["cameras"][:2], {**site["cameras"][2], key: value}]
        daemon.write({**site, "cameras": cameras})
        daemon.wait(
            lambda before=before: (  # type: ignore[misc]
                daemon.metrics().value("watchline_config_reloads_total", reason="refused") > before
            )
        )


def crash(daemon: DaemonProcess) -> None:
    """Ends a process that reads cameras, and then the daemon itself, as a defect in a decoder would."""
    reader = next(child for child in daemon.children() if child not in daemon.detectors())
    reader.send_signal(signal.SIGSEGV)
    daemon.wait(lambda: daemon.said("killed by SIGSEGV"))
    daemon.process.send_signal(signal.SIGSEGV)
    daemon.process.wait(10)
    assert not list(daemon.file.parent.glob("core*"))
    assert not list(Path.cwd().glob("core*"))
