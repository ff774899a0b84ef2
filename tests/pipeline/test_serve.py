"""`watchline serve`, as an operator meets it: a process of its own, real files, real pages."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml  # type: ignore[import-untyped]

from tests.command import json_lines, watchline
from tests.kit.daemon import DaemonProcess


@pytest.fixture
def site(tiny: Path, clip: Path) -> dict[str, Any]:
    """Two cameras that play a clip, and a network that finds one person in every picture."""
    return {
        "site": "yard",
        "models": {"people": {"model": str(tiny), "device": "cpu", "workers": 1}},
        "cameras": [{"id": name, "url": str(clip), "frozen_after_s": 0} for name in ("east", "west")],
    }


def test_a_site_runs_shows_itself_and_ends_when_it_is_told(site: dict[str, Any], tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait(lambda: all(camera["processed"] > 5 for camera in daemon.cameras().values()))
        assert daemon.get("/healthz")[0] == 200
        assert daemon.get("/readyz")[0] == 200
        metrics = daemon.get("/metrics")[1].decode()
        assert 'watchline_camera_up{camera="east"} 1' in metrics
        status, picture = daemon.get("/cameras/west/snapshot.jpg")
        assert (status, picture[:2]) == (200, b"\xff\xd8")
        code, took_s = daemon.stop()
    assert code == 0, daemon.lines
    assert took_s < 10
    for camera in ("east", "west"):
        tracked = [line for line in daemon.journal(camera) if line["type"] == "tracks"]
        assert {track["track_id"] for line in tracked for track in line["tracks"]} == {1}
        assert [line["sequence"] for line in tracked] == sorted({line["sequence"] for line in tracked})
    assert daemon.said("all frames finished")
    assert not any("Traceback" in line or "leaked" in line for line in daemon.lines)


def test_the_daemon_gives_the_same_tracks_as_a_run_over_the_file(
    site: dict[str, Any], tiny: Path, clip: Path, tmp_path: Path
) -> None:
    done = watchline("run", clip, "--model", tiny, "--out", tmp_path / "out", "--no-video")
    assert done.returncode == 0, done.stderr
    run = json_lines(tmp_path / "out" / "yard" / "tracks.jsonl")
    camera = {"id": "file", "url": str(clip), "fps": 0, "lossless": True, "frozen_after_s": 0}
    with DaemonProcess(tmp_path, {**site, "cameras": [camera]}) as daemon:
        daemon.wait(lambda: len(daemon.journal("file")) > len(run) + 5)
        daemon.stop()
    live = [line for line in daemon.journal("file") if line["type"] == "tracks"][: len(run)]
    assert [line["tracks"] for line in live] == [line["tracks"] for line in run]


def test_ids_go_on_over_a_restart_and_the_time_away_is_recorded(site: dict[str, Any], tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait(lambda: daemon.track_ids("east"))
        assert daemon.stop()[0] == 0
        daemon.start()
        before = len(daemon.journal("east"))
        daemon.wait(lambda: len(daemon.journal("east")) > before + 5)
        daemon.stop()
    assert daemon.track_ids("east") == [1]  # away for a few seconds: who stood there still does
    assert "restart" in [line["reason"] for line in daemon.journal("east") if line["type"] == "gap"]


def test_a_daemon_that_is_killed_leaves_whole_lines_and_gives_no_id_twice(site: dict[str, Any], tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, site) as daemon:
        for _ in range(2):
            known = len(daemon.journal("east"))
            daemon.wait(lambda known=known: len(daemon.journal("east")) > known + 3)  # type: ignore[misc]
            daemon.kill()
            daemon.start()
        known = len(daemon.journal("east"))
        daemon.wait(lambda: len(daemon.journal("east")) > known + 3)
        daemon.stop()
    ids = daemon.track_ids("east")
    assert ids == sorted(ids)
    assert [line["reason"] for line in daemon.journal("east") if line["type"] == "gap"] == ["restart"] * 2


class TestReload:
    def test_only_the_camera_that_changed_starts_anew(self, site: dict[str, Any], tmp_path: Path) -> None:
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.wait(lambda: all(camera["processed"] > 5 for camera in daemon.cameras().values()))
            site["cameras"][0]["fps"] = 10
            daemon.write(site)
            daemon.wait(lambda: daemon.said("camera east: its frame rate changed"))
            before = daemon.cameras()
            assert before["west"]["processed"] > 5  # its counts go on
            daemon.wait(lambda: daemon.cameras()["east"]["processed"] > 20)
            assert "watchline_config_reloads_total" in daemon.get("/metrics")[1].decode()
            daemon.stop()
        assert daemon.track_ids("east") == [1]

    def test_cameras_come_and_go(self, site: dict[str, Any], tmp_path: Path) -> None:
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.wait(lambda: len(daemon.cameras()) == 2)
            site["cameras"][1]["id"] = "north"
            daemon.write(site)
            daemon.wait(lambda: set(daemon.cameras()) == {"east", "north"})
            daemon.wait(lambda: daemon.cameras()["north"]["processed"] > 3)
            assert 'camera="west"' not in daemon.get("/metrics")[1].decode()

    def test_a_wrong_file_is_refused_with_its_line_and_the_old_one_runs_on(
        self, site: dict[str, Any], tmp_path: Path
    ) -> None:
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.wait(lambda: all(camera["processed"] > 3 for camera in daemon.cameras().values()))
            good = daemon.file.read_text()
            daemon.file.write_text(good.replace("frozen_after_s", "frozen_after", 1))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait(lambda: daemon.said("refused"))
            assert daemon.said('did you mean "frozen_after_s"?')
            before = daemon.cameras()["east"]["processed"]
            daemon.wait(lambda: daemon.cameras()["east"]["processed"] > before + 3)
            assert daemon.process.poll() is None

    def test_another_model_takes_over(self, site: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.onnx"
        other.write_bytes(tiny.read_bytes())
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.wait(lambda: daemon.cameras()["east"]["processed"] > 3)
            site["models"]["people"]["model"] = str(other)
            daemon.write(site)
            daemon.wait(lambda: daemon.said("model people: its model changed"))
            daemon.wait(lambda: daemon.cameras()["east"]["processed"] > 3)
            site["models"]["people"]["model"] = str(tmp_path / "none.onnx")
            daemon.write(site)
            daemon.wait(lambda: daemon.said("none.onnx"))
            before = daemon.cameras()["east"]["processed"]
            daemon.wait(lambda: daemon.cameras()["east"]["processed"] > before + 3)


class TestStart:
    def test_a_port_that_is_taken_is_told_and_nothing_runs(self, site: dict[str, Any], tmp_path: Path) -> None:

        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            file = tmp_path / "site.yaml"
            listen = {"http": {"listen": f"127.0.0.1:{port}"}, "storage": {"path": "storage"}}
            file.write_text(yaml.safe_dump({**site, **listen}))
            done = watchline("serve", "--config", file)
        assert done.returncode == 2
        assert str(port) in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_missing_file_is_one_line(self, tmp_path: Path) -> None:
        done = watchline("serve", "--config", tmp_path / "none.yaml")
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1

    def test_a_second_signal_ends_at_once(self, site: dict[str, Any], tmp_path: Path) -> None:
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.process.send_signal(signal.SIGTERM)
            daemon.process.send_signal(signal.SIGINT)
            begun_s = time.monotonic()
            code = daemon.process.wait(5)
        assert time.monotonic() - begun_s < 1.5
        assert code in (0, 130)

    def test_the_end_leaves_no_process(self, site: dict[str, Any], tmp_path: Path) -> None:
        with DaemonProcess(tmp_path, {**site, "ingest": {"group_size": 1}}) as daemon:
            daemon.wait(lambda: all(camera["processed"] > 3 for camera in daemon.cameras().values()))
            children = psutil.Process(daemon.process.pid).children(recursive=True)
            assert len(children) >= 2
            assert daemon.stop()[0] == 0
            psutil.wait_procs(children, timeout=2)
            assert not [child for child in children if child.is_running()]


def test_a_password_is_in_nothing_that_leaves_the_process(site: dict[str, Any], tmp_path: Path) -> None:
    canary = "canary-7d31f"
    site["cameras"].append({"id": "dock", "url": "rtsp://admin:${DOCK_PASSWORD}@127.0.0.1:9/h264"})
    with DaemonProcess(tmp_path, site, {"DOCK_PASSWORD": canary}) as daemon:
        daemon.wait(lambda: daemon.cameras()["dock"]["reason"])
        answers = [
            daemon.get(path)[1].decode(errors="replace") for path in ("/metrics", "/api/cameras", "/", "/readyz")
        ]
        daemon.stop()
    told = "\n".join([*answers, *daemon.lines])
    assert canary not in told
    files = [path for path in daemon.storage.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if canary.encode() in path.read_bytes()]


def test_the_service_manager_is_told_that_it_is_ready_alive_and_stopping(site: dict[str, Any], tmp_path: Path) -> None:
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000000"}
        with DaemonProcess(tmp_path, site, environment) as daemon:
            while "WATCHDOG=1" not in told:
                told.append(manager.recv(4096).decode())
            daemon.stop()
            while told[-1] != "STOPPING=1":
                told.append(manager.recv(4096).decode())
    assert told[0].startswith("READY=1\nSTATUS=")


class TestCheck:
    def test_a_site_that_can_run_is_told_so(self, site: dict[str, Any], tmp_path: Path) -> None:
        file = self.write(site, tmp_path)
        done = watchline("check", "--config", file)
        assert done.returncode == 0, done.stdout + done.stderr
        for what in ("model people", "storage", "memory", "http", "clock", "camera east", "camera west"):
            assert what in done.stdout

    def test_what_is_wrong_is_named_with_what_mends_it(self, site: dict[str, Any], tmp_path: Path) -> None:
        site["models"]["people"]["sha256"] = "0" * 64
        site["cameras"].append({"id": "gone", "url": "rtsp://127.0.0.1:9/h264"})
        done = watchline("check", "--config", self.write(site, tmp_path), "--json")
        assert done.returncode == 1
        found = {check["name"]: check for check in json.loads(done.stdout)}
        assert found["model people"]["health"] == "fail"
        assert "SHA-256" in found["model people"]["found"]
        assert "refused" in found["camera gone"]["found"]
        assert found["camera east"]["health"] == "ok"

    def write(self, site: dict[str, Any], folder: Path) -> Path:

        file = folder / "site.yaml"
        usual = {"storage": {"path": "storage"}, "http": {"listen": "127.0.0.1:0"}, "retention": {"free": "1MiB"}}
        file.write_text(yaml.safe_dump({**usual, **site}))
        return file


def test_help_tells_how_to_begin() -> None:
    done = watchline("serve", "--help")
    assert done.returncode == 0
    assert "watchline config init" in done.stdout


def test_a_site_with_a_token_asks_for_it_but_where_the_file_says_otherwise(
    site: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("0123456789abcdef0123\n")
    (tmp_path / "token").chmod(0o600)
    http = {"listen": "127.0.0.1:0", "token_file": "token"}
    with DaemonProcess(tmp_path, {**site, "http": http, "metrics": {"without_token": True}}) as daemon:
        assert daemon.get("/api/cameras")[0] == 401
        assert daemon.get("/metrics")[0] == 200
        daemon.stop()
        daemon.write({**site, "http": http, "metrics": {"enabled": False}})
        daemon.start()
        assert daemon.get("/healthz")[0] == 200
        assert daemon.get("/metrics")[0] == 401


@pytest.mark.usefixtures("require_gstreamer")
def test_a_pipeline_of_the_sites_own_runs_where_the_site_allows_it(site: dict[str, Any], tmp_path: Path) -> None:
    pipeline = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=64,height=48,framerate=10/1"
    camera = {"id": "own", "url": "rtsp://127.0.0.1:9/none", "pipeline": f"{pipeline} ! appsink name=out"}
    ingest = {"group_size": 1, "allow_custom_pipelines": True}
    with DaemonProcess(tmp_path, {**site, "cameras": [camera], "ingest": ingest}) as daemon:
        daemon.wait(lambda: daemon.cameras()["own"]["processed"] > 3)


class TestRefusals:
    def test_a_reload_that_is_refused_has_changed_nothing_and_the_next_good_one_is_taken(
        self, site: dict[str, Any], tmp_path: Path
    ) -> None:
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.wait(lambda: len(daemon.cameras()) == 2)
            wrong = {**site, "cameras": [{**site["cameras"][0], "classes": ["persn"]}]}
            daemon.write(wrong)
            daemon.wait(lambda: daemon.said('no class "persn", did you mean "person"?'))
            assert set(daemon.cameras()) == {"east", "west"}
            assert 'watchline_config_reloads_total{reason="refused"} 1' in daemon.get("/metrics")[1].decode()
            daemon.write({**site, "cameras": site["cameras"][:1]})
            daemon.wait(lambda: set(daemon.cameras()) == {"east"})

    def test_a_camera_that_cannot_be_added_is_told_and_the_site_is_not_ready(
        self, site: dict[str, Any], tmp_path: Path
    ) -> None:
        with DaemonProcess(tmp_path, {**site, "ingest": {"group_size": 1, "memory": "40MiB"}}) as daemon:
            daemon.wait(lambda: len(daemon.cameras()) == 2)
            more = [{"id": f"more-{n}", "url": site["cameras"][0]["url"], "frozen_after_s": 0} for n in range(8)]
            daemon.write({**site, "cameras": [*site["cameras"], *more]})
            daemon.wait(lambda: daemon.said("not read, tried again each 30 s"))
            daemon.wait(lambda: b"more-7" in daemon.get("/readyz")[1])
            assert daemon.get("/readyz")[0] == 503
            assert 'watchline_config_reloads_total{reason="refused"} 1' in daemon.get("/metrics")[1].decode()
            assert daemon.get("/healthz")[0] == 200
