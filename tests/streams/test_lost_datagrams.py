"""What a camera over UDP gives when datagrams are lost: no picture that is damaged and not marked."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.kit import barcode
from tests.kit.namespaces import Namespace, require_namespaces
from tests.kit.recordings import Codec, Record, Scene, Unit, read_recording
from tests.kit.rtsp_server import RtspServer
from watchline.streams.address import Address
from watchline.streams.camera_settings import Backend, CameraSettings, Transport
from watchline.streams.connecting import open_connection
from watchline.streams.connection import FIRST_KEY_S, Connection
from watchline.streams.failure import CameraError, Reason
from watchline.streams.lost_datagrams import Doubt, is_key

FFMPEG = {"h264": "h264", "h265": "hevc", "mjpeg": "mjpeg"}


@pytest.fixture(params=["pyav", "gstreamer"])
def backend(request: pytest.FixtureRequest, require_rtsp_server: None) -> Backend:
    chosen = Backend(request.param)
    if chosen is Backend.GSTREAMER:
        request.getfixturevalue("require_gstreamer")
    return chosen


@pytest.fixture
def far() -> Iterator[tuple[Namespace, RtspServer]]:
    require_namespaces()
    with Namespace() as space, RtspServer(host=space.address, namespace=space.name, life_s=60) as server:
        yield space, server


def connect(server: RtspServer, backend: Backend, transport: Transport = Transport.UDP) -> Connection:
    return open_connection(CameraSettings("gate", Address.parse(server.url("/gate")), backend, transport))


def as_sent(path: Path) -> list[bytes]:
    """The luma of each picture of a recording, decoded without any loss, as a hash."""
    from av import Packet, VideoCodecContext

    scene, units = read_recording(path)
    decoder = VideoCodecContext.create(FFMPEG[scene.codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    frames = [frame for unit in units for frame in decoder.decode(Packet(unit.content))]
    frames += decoder.decode(None)
    return [hashlib.sha256(barcode.luma(frame).tobytes()).digest() for frame in frames]


@pytest.mark.parametrize(
    ("codec", "slices", "percent", "least"),
    [("h264", 1, 5, 25), ("h264", 1, 20, 0), ("h264", 4, 5, 1), ("h265", 1, 5, 10), ("mjpeg", 1, 5, 50)],
)
def test_a_picture_that_is_not_marked_is_to_the_bit_the_one_that_was_sent(
    far: tuple[Namespace, RtspServer],
    record: Record,
    backend: Backend,
    codec: Codec,
    slices: int,
    percent: int,
    least: int,
) -> None:
    space, server = far
    recording = record(Scene(codec=codec, frames=500, gop=5, slices=slices))
    sent = as_sent(recording)
    server.add("/gate", recording)
    marked = whole = 0
    with closing(connect(server, backend)) as connection:
        for _ in range(10):
            connection.read()
        space.loss(percent)
        begun = time.monotonic()
        while time.monotonic() - begun < 8:
            arrival = connection.read()
            if arrival.damaged:
                marked += 1
                continue
            luma = arrival.picture().planes[0]
            number = barcode.read(luma)
            assert number is not None, (whole, marked)
            assert hashlib.sha256(luma.tobytes()).digest() == sent[number], (number, whole, marked)
            whole += 1
    assert marked > 0
    assert whole >= least


def test_without_a_loss_no_picture_is_marked(record: Record, backend: Backend) -> None:
    with RtspServer(life_s=60) as server:
        server.add("/gate", record(Scene(frames=500, fps=50)), shared=False)
        with closing(connect(server, backend)) as connection:
            seen = []
            for _ in range(350):
                arrival = connection.read()
                seen.append((arrival.damaged, barcode.read(arrival.picture().planes[0])))
    first = seen[0][1] or 0  # a server need not wait for a client that loads its library
    assert seen == [(False, number) for number in range(first, first + 350)]


def test_ffmpegs_log_is_on_only_while_a_camera_is_read_over_udp(
    record: Record, require_rtsp_server: None, caplog: pytest.LogCaptureFixture
) -> None:
    from av.logging import ERROR, WARNING, get_level, get_skip_repeated, log

    def state() -> tuple[int | None, bool, int]:
        return get_level(), get_skip_repeated(), logging.getLogger("libav").level

    before = state()
    with RtspServer(life_s=60) as server:
        server.add("/gate", record(Scene(frames=500)))
        with closing(connect(server, Backend.PYAV, Transport.TCP)):
            assert state() == before
        first, second = (connect(server, Backend.PYAV) for _ in range(2))
        assert get_level() == WARNING
        log(ERROR, "rtsp", "words about an address that nobody is to read")
        first.close()
        first.close()
        assert get_level() == WARNING
        second.close()
    assert state() == before
    assert not caplog.records


def test_sound_alone_is_no_video_over_udp_either(backend: Backend) -> None:
    with RtspServer(life_s=60) as server:
        server.add("/gate", None)
        with pytest.raises(CameraError) as caught:
            connect(server, backend)
    assert caught.value.reason is Reason.NO_VIDEO
    assert "audio" in str(caught.value)


class TestDoubt:
    def test_lasts_from_a_loss_to_the_next_key_frame_that_came_whole(self) -> None:
        doubt = Doubt()
        packets = [(False, True), (False, False), (True, False), (False, False), (True, True), (False, False)]
        packets += [(False, True), (False, False)]
        assert [doubt.take(lost, partial(bool, key)) for lost, key in packets] == [
            False, False, True, True, True, True, False, False,
        ]  # fmt: skip

    def test_ends_where_no_key_frame_ever_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: now_s)
        doubt = Doubt()
        assert doubt.take(True, bool)
        now_s = FIRST_KEY_S - 1
        assert doubt.take(False, bool)
        now_s = FIRST_KEY_S
        assert not doubt.take(False, bool)

    def test_lasts_while_key_frames_come_though_none_comes_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now_s = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: now_s)
        doubt = Doubt()
        for _ in range(15):
            now_s += 20
            assert doubt.take(True, lambda: True)
            assert doubt.take(False, bool)


def with_lengths(content: bytes) -> bytes:
    """The same units, each with its length before it in place of a start code."""
    units = [unit.rstrip(b"\0") for unit in content.split(b"\0\0\1")[1:]]
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_only_a_packet_with_the_beginning_of_a_key_frame_is_one(record: Record, codec: Codec) -> None:
    units: list[Unit] = read_recording(record(Scene(codec=codec, frames=20, gop=5)))[1]
    name = FFMPEG[codec]
    keys = [unit.keyframe for unit in units]
    assert [is_key(name, unit.content) for unit in units] == keys
    assert [is_key(name, with_lengths(unit.content), start_codes=False) for unit in units] == keys
    begin = units[0].content.rfind(b"\0\0\1")
    key = bytearray(units[0].content[begin:])
    assert is_key(name, bytes(key))
    key[4 if codec == "h264" else 5] &= 127  # a later slice of the picture
    assert not is_key(name, bytes(key))
    for size in range(begin + 4):
        assert not is_key(name, units[0].content[:size])
    assert is_key("mjpeg", b"")
