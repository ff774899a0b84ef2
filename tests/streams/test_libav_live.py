"""Cameras over HTTP, HLS, RTMP and TLS, and what is refused of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.kit.rtmp_server import RtmpServer
from tests.kit.web_server import WebServer, make_certificate, write_hls, write_jpegs
from watchline.streams.address import Address
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.connection import Connection
from watchline.streams.failure import CameraError, Reason


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    return write_jpegs(50)


@pytest.fixture
def server(jpegs: list[bytes]) -> Iterator[WebServer]:
    with WebServer(jpegs, fps=25) as server:
        yield server


def connect(url: str, **settings: Any) -> Connection:
    wanted = {"open_timeout_s": 3.0, "silent_after_s": 1.0, **settings}
    return open_connection(CameraSettings("cam", Address.parse(url), **wanted))


def why(url: str, **settings: Any) -> tuple[Reason, str]:
    """Why there is no second picture."""
    with pytest.raises(CameraError) as caught, closing(connect(url, **settings)) as connection:
        for _ in range(200):
            connection.read()
    return caught.value.reason, str(caught.value)


def pictures(url: str, count: int, **settings: Any) -> Connection:
    with closing(connect(url, **settings)) as connection:
        for _ in range(count):
            picture = connection.read().picture()
            assert picture.rgb().shape == (picture.height, picture.width, 3)
    return connection


def test_motion_jpeg_over_http(server: WebServer) -> None:
    assert pictures(server.url("/mjpeg"), 30).info.codec == "mjpeg"


@pytest.mark.parametrize("fmp4", [False, True])
def test_live_hls(tmp_path: Path, fmp4: bool) -> None:
    with WebServer([], hls=write_hls(tmp_path, fmp4=fmp4)) as server:
        assert pictures(server.url("/hls/live.m3u8"), 60).info.codec == "h264"


def test_rtmp() -> None:
    with RtmpServer(frames=100, fps=25) as server:
        assert pictures(server.url, 40).info.codec == "h264"


def test_rtmp_that_ends_or_falls_silent_is_named() -> None:
    with RtmpServer(frames=100, fps=25) as server:
        server.end_after_s = 0.6
        assert why(server.url)[0] is Reason.ENDED


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_passwords_over_http(server: WebServer, auth: Any) -> None:
    server.auth = auth
    pictures(server.url("/mjpeg", "operator:s3cret"), 3)
    reason, sentence = why(server.url("/mjpeg", "operator:c4nary"))
    assert reason is Reason.AUTH
    assert "c4nary" not in sentence


def test_what_a_server_answers_is_named(server: WebServer) -> None:
    for status, reason in ((404, Reason.NOT_FOUND), (403, Reason.AUTH), (500, Reason.PROTOCOL)):
        server.status = status
        assert why(server.url("/mjpeg"))[0] is reason


def test_silence_before_and_after_the_first_picture_is_a_time_out(server: WebServer) -> None:
    server.silent = True
    begun = time.monotonic()
    assert why(server.url("/mjpeg"), open_timeout_s=1.0)[0] is Reason.TIMEOUT
    server.silent = False
    with closing(connect(server.url("/mjpeg"))) as connection:
        connection.read()
        server.frozen = True
        with pytest.raises(CameraError) as caught:
            for _ in range(50):
                connection.read()
    assert caught.value.reason is Reason.TIMEOUT
    assert time.monotonic() - begun < 6


def test_an_answer_that_ends_is_an_ended_stream(server: WebServer) -> None:
    server.end_after = 5
    assert why(server.url("/mjpeg"))[0] is Reason.ENDED


@pytest.mark.parametrize("target", ["file:///etc/hostname", "rtsp://127.0.0.1:9/x", "concat:/etc/hostname"])
def test_a_redirect_to_another_protocol_is_not_followed(server: WebServer, target: str) -> None:
    server.redirect = target
    assert why(server.url("/mjpeg"))[0] in (Reason.PROTOCOL, Reason.NOT_FOUND)


def test_a_playlist_cannot_name_files_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(b"x" * 1000)
    folder = tmp_path / "hls"
    folder.mkdir()
    (folder / "live.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfile://{secret}\n")
    with WebServer([], hls=folder) as server:
        assert why(server.url("/hls/live.m3u8"))[0] in (Reason.PROTOCOL, Reason.TIMEOUT, Reason.ENDED)


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_it_is_named(
    jpegs: list[bytes], tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    with WebServer(jpegs, certificate=certificate) as server:
        url = server.url("/mjpeg")
        reason, sentence = why(url)
        assert reason is Reason.TLS
        assert "tls_verify: false" in sentence
        pictures(url, 3, tls_verify=False)
        pictures(url, 3, tls_authorities=str(certificate.certificate))


def test_a_port_on_which_nothing_listens_and_a_name_without_an_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for scheme in ("rtsp", "http", "rtmp"):
        assert why(f"{scheme}://127.0.0.1:{port}/x")[0] is Reason.REFUSED
    assert why("rtsp://no-such-host.invalid/x")[0] is Reason.DNS


def test_a_missing_device_is_named() -> None:
    reason, sentence = why("/dev/video77")
    assert reason is Reason.NOT_FOUND
    assert "/dev/video77" in sentence


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html>please sign in</html>" * 200)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert why(f"http://127.0.0.1:{server.server_port}/index.html")[0] is Reason.PROTOCOL
        server.shutdown()
