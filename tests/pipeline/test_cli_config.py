"""`watchline config`, as a user runs it."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import COMMAND, watchline
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer
from watchline.pipeline.site.loading import load_site, parse_site


@pytest.fixture
def server(record: Record, require_rtsp_server: None) -> Iterator[RtspServer]:
    with RtspServer(life_s=120) as server:
        server.add("/cam", record(Scene(frames=1000)))
        yield server


def test_a_first_site_is_written_with_what_was_found(server: RtspServer, clip: Path, tmp_path: Path) -> None:
    url = server.url("/cam").replace("rtsp://", "rtsp://admin:hunter22@")
    done = watchline("config", "init", url, str(clip), "--seconds", "1", "--site", "yard", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "site.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert "hunter22" not in f"{done.stdout}{done.stderr}{text}"
    assert "# h264, 320x240, " in text
    assert "  CAMERA_1_PASSWORD=(the password that you gave for 127.0.0.1-cam)" in done.stdout
    site = load_site(path, {"CAMERA_1_PASSWORD": "hunter22"})
    assert (site.site, [camera.id for camera in site.cameras]) == ("yard", ["127.0.0.1-cam", "yard"])
    assert site.cameras[1].url == str(clip)


def test_cameras_that_do_not_answer_are_written_too(server: RtspServer, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    urls = server.url("/cam"), server.url("/none")
    done = watchline("config", "init", *urls, "--seconds", "1", "-o", path)
    assert done.returncode == 3, done.stderr
    assert "# gave no picture: not_found: " in path.read_text()
    assert len(load_site(path).cameras) == 2
    again = watchline("config", "init", urls[1], "-o", path)
    assert again.returncode == 2
    assert "is there already; add --overwrite" in again.stderr
    done = watchline("config", "init", urls[1], "-o", path, "--overwrite")
    assert done.returncode == 1, done.stderr
    assert len(load_site(path).cameras) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("init", "ftp://u:hunter22@cam"), "ftp:// is not allowed"),
        (("init", "rtsp://u:${NO_SUCH}@cam"), "${NO_SUCH}: no such environment variable"),
        (("init", "--site", "a b", "rtsp://cam"), "site: want 1 to 80 letters"),
        (("init",), "URL"),
        (("show",), "--config"),
        (("show", "-c", "none.yaml"), "none.yaml:1:1: cannot be read"),
    ],
)
def test_wrong_usage_is_told_and_writes_nothing(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = watchline("config", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "hunter22" not in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        command = [*COMMAND, "config", "init", url, "--timeout", "60"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_site_is_shown_whole_and_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("cameras: [{id: a, url: 'rtsp://u:hunter22@cam'}, {id: b, url: 'rtsp://u:${PW}@cam'}]\n")
    done = watchline("config", "show", "--config", path)
    assert done.returncode == 0, done.stderr
    assert "hunter22" not in done.stdout
    site = parse_site(done.stdout, "shown", tmp_path)
    assert [camera.url for camera in site.cameras] == ["rtsp://u:***@cam:554", "rtsp://u:${PW}@cam:554"]
    assert "tracks_size: 10GiB" in done.stdout


def test_all_problems_of_a_file_are_told_by_line(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "cameras:\n  - id: a\n    url: rtsp://u:hunter22@cam\n    fsp: 5\nretention: 7\n"
    )
    done = watchline("config", "show", "-c", "site.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        'watchline: site.yaml:4:5: cameras[0].fsp: unknown key; did you mean "fps"?',
        "site.yaml:5:1: retention: want a map: lines of KEY: VALUE below it",
    ]


def test_the_example_and_the_schema_are_printed(tmp_path: Path) -> None:
    example = watchline("config", "example")
    assert example.returncode == 0
    assert len(parse_site(example.stdout, "example", tmp_path).cameras) == 3
    schema = json.loads(watchline("config", "schema").stdout)
    assert schema["required"] == ["cameras"]
    assert set(schema["properties"]) >= {"site", "cameras", "models", "http"}
