"""What every connection over HTTP and RTMP must do, whichever library connects and decodes: motion JPEG, HLS, RTMP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Literal, get_args

import numpy as np
import pytest

from tests.clips import read_number
from tests.kit.rtmp_server import RtmpServer, make_sound_tags, make_tags
from tests.kit.web_server import Certificate, WebServer, write_jpegs
from tests.streams.connections import SILENT_S, failure, held, read, resident_bytes, settings
from tests.streams.web_cameras import FPS, Content, Kind, WebCamera, follow_on, numbers, web_camera
from watchline.streams.camera_settings import Backend
from watchline.streams.connecting import open_connection
from watchline.streams.connection import Connection
from watchline.streams.failure import CameraError, Reason

HTTP: tuple[Kind, ...] = ("mjpeg", "hls")
KINDS: tuple[Kind, ...] = (*HTTP, "rtmp")


@pytest.fixture
def camera(request: pytest.FixtureRequest, web_content: Content) -> Iterator[WebCamera]:
    with web_camera(request.param, web_content) as camera:
        yield camera


def of_kinds(*kinds: Kind) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("camera", kinds, indirect=True)


def connect(url: str, backend: Backend, **others: Any) -> Connection:
    return open_connection(settings(url, backend, **others))


def first_numbers(url: str, backend: Backend, count: int = 3, **others: Any) -> list[int]:
    with closing(connect(url, backend, **others)) as connection:
        return numbers(read(connection, count))


@of_kinds(*get_args(Kind))
def test_every_picture_comes_once_in_order_when_it_was_taken(camera: WebCamera, backend: Backend) -> None:
    seen, came_s = [], []
    with closing(connect(camera.url(), backend)) as connection:
        for _ in range(50):
            seen += read(connection, 1)
            came_s.append(time.monotonic())
        info, undecodable = connection.info, connection.undecodable
        assert connection.backend.startswith(backend)
    assert follow_on(numbers(seen))
    assert (info.width, info.height, info.codec) == (160, 120, "mjpeg" if camera.kind == "mjpeg" else "h264")
    assert undecodable == 0
    if camera.kind != "mjpeg":  # which tells no times
        assert np.diff([one.arrival.pts_s for one in seen]) == pytest.approx(1 / FPS, abs=0.002)
    assert seen[0].arrival.key
    assert came_s[-1] - came_s[0] > 1.2
    later_s = np.array(came_s[5:])  # what waits until a library is loaded comes at once
    assert (later_s[12:] - later_s[:-12]).min() > 0.2, "a burst of twelve"


@of_kinds(*KINDS)
@pytest.mark.parametrize("how", ["basic", "digest"])
def test_passwords(camera: WebCamera, backend: Backend, how: Literal["basic", "digest"]) -> None:
    camera.ask_for_password(how)
    assert follow_on(first_numbers(camera.url("operator:s3cret"), backend))
    for credentials in ("operator:c4nary", ""):
        error = failure(lambda given=credentials: connect(camera.url(given), backend))  # type: ignore[misc]
        assert error.reason is Reason.AUTH
        assert "c4nary" not in str(error)
        assert "canary" not in str(error)
        assert "check the user name and the password" in str(error)


@of_kinds(*KINDS)
def test_what_is_not_there_is_told(camera: WebCamera, backend: Backend) -> None:
    error = failure(lambda: connect(camera.elsewhere(), backend))
    assert error.reason is Reason.NOT_FOUND
    assert 'camera "gate"' in str(error)
    assert "canary" not in str(error)


@of_kinds(*HTTP)
def test_what_a_web_server_answers_is_told_apart(camera: WebCamera, backend: Backend) -> None:
    assert isinstance(camera.server, WebServer)
    for status, reason in ((401, Reason.AUTH), (403, Reason.AUTH), (404, Reason.NOT_FOUND), (500, Reason.PROTOCOL)):
        camera.server.status = status
        assert failure(lambda: connect(camera.url(), backend)).reason is reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_nobody_vouches_for_is_refused_unless_it_is_named(
    kind: Kind, web_content: Content, certificate: Certificate, backend: Backend
) -> None:
    with web_camera(kind, web_content, certificate) as camera:
        error = failure(lambda: connect(camera.url(), backend))
        assert error.reason is Reason.TLS
        assert "tls_verify: false" in str(error)
        assert follow_on(first_numbers(camera.url(), backend, tls_verify=False))
        assert follow_on(first_numbers(camera.url(), backend, tls_authorities=str(certificate.certificate)))


@of_kinds(*HTTP)
@pytest.mark.parametrize("body", [b"<html>please sign in</html>" * 200, bytes(range(256)) * 40, b"#EXTM3U\n", b""])
def test_what_is_no_video_is_told(camera: WebCamera, backend: Backend, body: bytes) -> None:
    assert isinstance(camera.server, WebServer)
    camera.server.body = body
    error = failure(lambda: connect(camera.url(), backend, open_timeout_s=1.0))
    assert error.reason in (Reason.PROTOCOL, Reason.NO_VIDEO, Reason.ENDED)


def test_a_server_that_does_not_speak_rtmp_is_told(web_content: Content, backend: Backend) -> None:
    with WebServer(web_content.jpegs) as server:
        error = failure(lambda: connect(f"rtmp://127.0.0.1:{server.port}/live/cam", backend))
    assert error.reason in (Reason.PROTOCOL, Reason.ENDED)


@of_kinds(*KINDS)
def test_a_server_that_says_nothing_is_a_time_out(camera: WebCamera, backend: Backend) -> None:
    camera.server.silent = True
    before_s = time.monotonic()
    error = failure(lambda: connect(camera.url(), backend, open_timeout_s=1.0))
    assert error.reason is Reason.TIMEOUT
    assert 0.9 < time.monotonic() - before_s < 2.5


@of_kinds(*KINDS)
def test_silence_after_the_first_pictures_is_a_time_out_and_closes_at_once(
    camera: WebCamera, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchline.streams.libav_live._SEGMENTS_S", 2.0)  # nobody waits half a minute here
    connection = connect(camera.url(), backend)
    try:
        read(connection, 5)
        camera.server.frozen = True
        frozen_s = time.monotonic()
        with pytest.raises(CameraError) as caught:
            read(connection, 200)
        assert caught.value.reason is Reason.TIMEOUT
        patience_s = 4.0 if camera.kind == "hls" else SILENT_S  # what was there of a playlist is played first
        assert SILENT_S * 0.9 < time.monotonic() - frozen_s < patience_s + 1
    finally:
        before_s = time.monotonic()
        connection.close()
        connection.close()
    assert time.monotonic() - before_s < 1


@of_kinds(*KINDS)
def test_a_stream_that_ends_is_told_at_once(camera: WebCamera, backend: Backend) -> None:
    with closing(connect(camera.url(), backend)) as connection:
        read(connection, 1)
        begun_s = time.monotonic()
        camera.end()
        error = failure(lambda: connection)
    assert error.reason is Reason.ENDED
    assert time.monotonic() - begun_s < 4


@of_kinds(*HTTP)
@pytest.mark.parametrize("target", ["file:///etc/hostname", "rtsp://127.0.0.1:9/x", "concat:/etc/hostname"])
def test_a_redirect_to_another_protocol_is_not_followed(camera: WebCamera, backend: Backend, target: str) -> None:
    assert isinstance(camera.server, WebServer)
    camera.server.redirect = target
    assert failure(lambda: connect(camera.url(), backend)).reason in (Reason.PROTOCOL, Reason.NOT_FOUND)


@of_kinds(*get_args(Kind))
def test_ten_connections_leave_nothing_behind(camera: WebCamera, backend: Backend) -> None:
    for _ in range(3):
        first_numbers(camera.url(), backend, 1)
    before, resident = held(), resident_bytes()
    for _ in range(10):
        first_numbers(camera.url(), backend, 1)
    wait_for_servers_threads(before[0])
    after = held()
    assert after[0] <= before[0] + 1  # a pool of GLib's may keep a thread for a while
    assert after[1] <= before[1] + 1  # of the server, which is in this process
    assert resident_bytes() - resident < 8_000_000


def wait_for_servers_threads(count: int) -> None:
    """Waits until the server, which is in this process, has let go of clients that are gone."""
    until_s = time.monotonic() + 2
    while held()[0] > count and time.monotonic() < until_s:
        time.sleep(0.05)


def test_a_change_of_size_of_motion_jpeg_is_followed(web_content: Content, backend: Backend) -> None:
    jpegs = web_content.jpegs[:10] + write_jpegs(40, (320, 240))
    with WebServer(jpegs, FPS) as server, closing(connect(server.url("/mjpeg"), backend)) as connection:
        seen = read(connection, 20)
        assert (connection.info.width, connection.info.height) == (320, 240)
    assert [one.picture.width for one in seen] == [160] * 10 + [320] * 10
    assert numbers(seen) == [*range(10), *range(10)]


def test_a_change_of_size_over_rtmp_is_followed(web_content: Content, backend: Backend) -> None:
    with RtmpServer(tags=web_content.tags) as server, closing(connect(server.url, backend)) as connection:
        read(connection, 5)
        server.change(make_tags(100, FPS, size=(320, 240)))
        changed = [one for one in read(connection, 60) if one.picture.width == 320]
        assert (connection.info.width, connection.info.height) == (320, 240)
    found = [read_number(one.picture.rgb()) for one in changed]
    assert len(found) > 10
    assert found == list(range(len(found)))


def test_pictures_over_rtmp_that_cannot_be_decoded_are_told(web_content: Content, backend: Backend) -> None:
    with RtmpServer(tags=web_content.tags) as server:
        with closing(connect(server.url, backend)) as connection:
            read(connection, 5)
            server.corrupt = True
            assert failure(lambda: connection).reason is Reason.CORRUPT
        error = failure(lambda: connect(server.url, backend, open_timeout_s=2.0))
    assert error.reason is Reason.CORRUPT
    assert "no picture for" in str(error)


def test_sound_alone_over_rtmp_is_no_video(backend: Backend) -> None:
    with RtmpServer(tags=make_sound_tags(10)) as server:
        error = failure(lambda: connect(server.url, backend, open_timeout_s=3.0))
    assert error.reason is Reason.NO_VIDEO
    assert "audio" in str(error)


def test_pictures_that_fall_silent_while_the_sound_goes_on_are_a_time_out(
    web_content: Content, backend: Backend
) -> None:
    sound = make_sound_tags(10)
    both = sorted([tag for tag in web_content.tags if tag.time_ms < 1500] + sound, key=lambda tag: tag.time_ms)
    with RtmpServer(tags=both) as server, closing(connect(server.url, backend)) as connection:
        assert follow_on(numbers(read(connection, 20)))
        begun_s = time.monotonic()
        assert failure(lambda: connection).reason is Reason.TIMEOUT
    assert time.monotonic() - begun_s < 4


@of_kinds("rtmp")
def test_the_key_of_an_rtmp_stream_reaches_the_server(camera: WebCamera, backend: Backend) -> None:
    assert isinstance(camera.server, RtmpServer)
    first_numbers(camera.url(), backend, 1)
    assert camera.server.asked == ("live", "cam?key=canary")
