"""What every connection must do, whichever library connects and decodes: one suite for all backends.

This file asks by RTSP; `test_connections_web.py` and `test_playlists.py` ask by HTTP and RTMP.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from tests.kit import barcode
from tests.kit.recordings import Codec, Record, Scene
from tests.kit.rtsp_server import RtspServer, wrapping_after
from tests.streams.connections import SILENT_S, failure, held, read, resident_bytes, settings, watch
from watchline.streams.camera_settings import Backend, Transport
from watchline.streams.connecting import open_connection
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import PixelFormat

pytestmark = pytest.mark.usefixtures("require_rtsp_server")

SMALL = Scene(frames=500)
PASSWORD = "canary/@:1 é"


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(life_s=60) as server:
        yield server


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_every_picture_comes_once_in_order_with_a_rising_time(
    server: RtspServer, record: Record, backend: Backend, codec: Codec, transport: Transport
) -> None:
    server.add("/gate", record(Scene(codec=codec)), shared=False)
    with closing(open_connection(settings(server.url("/gate"), backend, transport))) as connection:
        seen = read(connection, 40)
        assert (connection.info.width, connection.info.height, connection.info.fps) == (320, 240, 25.0)
        assert connection.info.codec == {"h265": "hevc"}.get(codec, codec)
        assert connection.backend.startswith(backend)
        assert "in software" in connection.backend
        assert connection.backend.endswith(f", {transport}")
        assert connection.undecodable == 0
    assert [one.number for one in seen] == list(range(40))
    times_s = [one.arrival.pts_s for one in seen if one.arrival.pts_s is not None]
    assert len(times_s) >= 39  # FFmpeg may not know the first one's
    assert np.diff(times_s) == pytest.approx(0.04, abs=0.002)
    assert not any(one.arrival.damaged for one in seen)


def test_keyframes_are_told_from_others(server: RtspServer, record: Record, backend: Backend) -> None:
    server.add("/gate", record(Scene(gop=10)), shared=False)
    keys = [one.number for one in watch(server.url("/gate"), backend, 31) if one.arrival.key]
    assert keys == [0, 10, 20, 30]


def test_the_wall_clock_of_the_camera_is_told_for_every_picture_once_it_is_known(
    server: RtspServer, record: Record, backend: Backend
) -> None:
    server.add("/gate", record(SMALL))
    with closing(open_connection(settings(server.url("/gate"), backend))) as connection:
        for _ in range(200):
            if connection.read().sent_at is not None:
                break
        told = [(connection.read().sent_at, time.time()) for _ in range(60)]  # two keyframes at least
    assert all(sent_at is not None and abs(sent_at - now) < 1 for sent_at, now in told)
    assert np.diff([sent_at or 0.0 for sent_at, _ in told]) == pytest.approx(0.04, abs=0.01)


def test_rtp_times_that_wrap_go_on_rising(server: RtspServer, record: Record, backend: Backend) -> None:
    server.add("/gate", record(SMALL), shared=False, timestamp_offset=wrapping_after(0.8), seqnum_offset=65530)
    seen = watch(server.url("/gate"), backend, 40)
    assert [one.number for one in seen] == list(range(40))
    times_s = {index: one.arrival.pts_s for index, one in enumerate(seen) if one.arrival.pts_s is not None}
    assert len(times_s) >= 38  # FFmpeg knows neither the first one's nor that of the one where it wraps
    assert [at_s - 0.04 * index for index, at_s in times_s.items()] == pytest.approx([0.0] * len(times_s), abs=0.002)


@pytest.mark.parametrize("jump_s", [100.0, -20.0])
def test_a_jump_of_the_cameras_time_loses_no_picture(
    server: RtspServer, record: Record, backend: Backend, jump_s: float
) -> None:
    server.add("/gate", record(SMALL), shared=False)
    with closing(open_connection(settings(server.url("/gate"), backend))) as connection:
        read(connection, 5)
        server.jump_pts("/gate", jump_s)
        numbers = [one.number for one in read(connection, 40)]
    assert numbers == list(range(5, 45))


def test_a_right_password_is_taken(record: Record, backend: Backend) -> None:
    with RtspServer(user="admin", password=PASSWORD, life_s=60) as server:
        server.add("/gate", record(SMALL), shared=False)
        seen = watch(server.url("/gate", user="admin", password=PASSWORD), backend, 3)
    assert [one.number for one in seen] == [0, 1, 2]


@pytest.mark.parametrize("auth", ["digest", "basic"])
def test_a_wrong_password_is_told_and_never_shown(record: Record, backend: Backend, auth: str) -> None:
    with RtspServer(user="admin", password=PASSWORD, auth=auth, life_s=60) as server:
        server.add("/gate", record(SMALL))
        url = server.url("/gate", user="admin", password="canary-that-is-wrong")
        error = failure(lambda: open_connection(settings(url, backend)))
    assert error.reason is Reason.AUTH
    assert "canary" not in str(error)
    assert "check the user name and the password" in str(error)


def test_what_is_not_there_is_told(server: RtspServer, backend: Backend) -> None:
    error = failure(lambda: open_connection(settings(server.url("/nothing"), backend)))
    assert error.reason is Reason.NOT_FOUND
    assert 'camera "gate"' in str(error)


def test_sound_alone_is_no_video(server: RtspServer, backend: Backend) -> None:
    server.add("/sound", None)
    error = failure(lambda: open_connection(settings(server.url("/sound"), backend)))
    assert error.reason is Reason.NO_VIDEO
    assert "audio" in str(error)


def test_sound_beside_the_pictures_does_not_disturb(server: RtspServer, record: Record, backend: Backend) -> None:
    server.add("/gate", record(SMALL), shared=False, sound=True)
    assert [one.number for one in watch(server.url("/gate"), backend, 10)] == list(range(10))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rtsp://127.0.0.1:1/gate", Reason.REFUSED),
        ("http://127.0.0.1:1/gate", Reason.REFUSED),
        ("rtsp://no-such-host.invalid/gate", Reason.DNS),
        ("http://no-such-host.invalid/gate", Reason.DNS),
        ("http://127.0.0.1:1/live.m3u8", Reason.REFUSED),
        ("http://no-such-host.invalid/live.m3u8", Reason.DNS),
        ("rtmp://127.0.0.1:1/live/gate", Reason.REFUSED),
        ("rtmp://no-such-host.invalid/live/gate", Reason.DNS),
        ("rtmps://127.0.0.1:1/live/gate", Reason.REFUSED),
        ("v4l2:///dev/video9999", Reason.NOT_FOUND),
    ],
)
def test_what_cannot_be_reached_is_told_apart(backend: Backend, url: str, reason: Reason) -> None:
    assert failure(lambda: open_connection(settings(url, backend))).reason is reason


def test_a_camera_that_refuses_tcp_is_read_by_udp(server: RtspServer, record: Record, backend: Backend) -> None:
    server.add("/gate", record(SMALL), shared=False, protocols="udp")
    seen = watch(server.url("/gate"), backend, 10, Transport.AUTO)
    assert [one.number for one in seen] == list(range(10))


def test_a_transport_that_was_asked_for_is_not_exchanged(server: RtspServer, record: Record, backend: Backend) -> None:
    server.add("/gate", record(SMALL), protocols="tcp")
    error = failure(lambda: open_connection(settings(server.url("/gate"), backend, Transport.UDP)))
    assert error.reason is Reason.PROTOCOL
    assert "transport" in str(error)


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_a_killed_server_ends_the_stream_at_once(
    server: RtspServer, record: Record, backend: Backend, transport: Transport
) -> None:
    server.add("/gate", record(SMALL), shared=False)
    with closing(open_connection(settings(server.url("/gate"), backend, transport))) as connection:
        read(connection, 5)
        server.kill()
        killed_s = time.monotonic()
        error = failure(lambda: connection)
        assert error.reason in (Reason.ENDED, Reason.TIMEOUT)
        assert time.monotonic() - killed_s < (1.0 if error.reason is Reason.ENDED else SILENT_S + 1)


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.UDP])
def test_a_server_that_stands_still_is_a_time_out_and_closes_at_once(
    server: RtspServer, record: Record, backend: Backend, transport: Transport
) -> None:
    server.add("/gate", record(SMALL), shared=False)
    connection = open_connection(settings(server.url("/gate"), backend, transport))
    try:
        read(connection, 5)
        server.stop()
        stopped_s = time.monotonic()
        with pytest.raises(CameraError) as caught:
            read(connection, 100)
        assert caught.value.reason is Reason.TIMEOUT
        assert SILENT_S * 0.9 < time.monotonic() - stopped_s < SILENT_S + 1
    finally:
        before_s = time.monotonic()
        connection.close()
        connection.close()
        server.cont()
    assert time.monotonic() - before_s < 1


def test_a_server_that_says_nothing_is_a_time_out(backend: Backend) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/gate"
        before_s = time.monotonic()
        error = failure(lambda: open_connection(settings(url, backend, open_timeout_s=1.0)))
        assert error.reason is Reason.TIMEOUT
        assert 0.9 < time.monotonic() - before_s < 2.5


def test_pictures_that_cannot_be_decoded_are_told(server: RtspServer, record: Record, backend: Backend) -> None:
    server.add("/gate", record(Scene(codec="h265", frames=500, gop=500)), shared=False)
    with closing(open_connection(settings(server.url("/gate"), backend))) as connection:
        read(connection, 5)
        server.corrupt("/gate", 1.0)
        seen = []
        try:
            seen = read(connection, 75)
        except CameraError as error:
            assert error.reason is Reason.CORRUPT
    assert len(seen) in (0, 75)  # a decoder that conceals the damage gives pictures


def test_a_change_of_size_is_followed(server: RtspServer, record: Record, backend: Backend) -> None:
    server.add("/gate", record(SMALL), shared=False)
    larger = record(Scene(width=480, height=360, frames=250))  # drawn before: the stream is read meanwhile
    with closing(open_connection(settings(server.url("/gate"), backend))) as connection:
        read(connection, 5)
        server.change("/gate", larger)
        seen = read(connection, 40)
        assert (connection.info.width, connection.info.height) == (480, 360)
    assert (seen[-1].picture.width, seen[-1].picture.height) == (480, 360)
    assert seen[-1].picture.planes[0].shape == (360, 480)
    changed = [one.number for one in seen if one.picture.width == 480]
    assert changed == list(range(len(changed)))


def test_pictures_stay_valid_when_the_connection_is_closed(
    server: RtspServer, record: Record, backend: Backend
) -> None:
    server.add("/gate", record(SMALL), shared=False)
    seen = watch(server.url("/gate"), backend, 30)
    assert [barcode.read(one.picture.planes[0]) for one in seen] == list(range(30))
    assert [barcode.read(one.picture.rgb()) for one in seen] == list(range(30))
    for plane in seen[0].picture.planes:
        assert not plane.flags.writeable


@pytest.mark.usefixtures("require_gstreamer")
@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
@pytest.mark.parametrize("size", [(320, 240), (322, 182), (1280, 720)])
def test_both_backends_give_the_same_planes_and_the_same_rgb(
    server: RtspServer, record: Record, codec: Codec, size: tuple[int, int]
) -> None:
    scene = Scene(codec=codec, width=size[0], height=size[1], frames=30)
    server.add("/gate", record(scene), shared=False)
    by_backend = [watch(server.url("/gate"), backend, 12) for backend in (Backend.PYAV, Backend.GSTREAMER)]
    for one, other in zip(*by_backend, strict=True):
        assert one.number == other.number
        assert one.picture.pixel_format is other.picture.pixel_format is PixelFormat.I420
        assert (one.picture.matrix, one.picture.full_range) == (other.picture.matrix, other.picture.full_range)
        for plane, same in zip(one.picture.planes, other.picture.planes, strict=True):
            np.testing.assert_array_equal(plane, same)
        np.testing.assert_array_equal(one.picture.rgb(), other.picture.rgb())


def test_thirty_connections_leave_nothing_behind(server: RtspServer, record: Record, backend: Backend) -> None:
    # A medium each: one that is shared ends with its last client, and a new one may meet its end.
    server.add("/gate", record(Scene(frames=50)), shared=False)

    for _ in range(5):
        watch(server.url("/gate"), backend, 1)
    before, resident = held(), resident_bytes()
    for _ in range(30):
        watch(server.url("/gate"), backend, 1)
    after = held()
    assert after[0] <= before[0] + 1  # a pool of GLib's may keep a thread for a while
    assert after[1] <= before[1]
    assert resident_bytes() - resident < 8_000_000
