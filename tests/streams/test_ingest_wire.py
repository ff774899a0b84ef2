from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from watchline.streams.address import Address
from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.camera_settings import Backend, CameraSettings, Transport
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource, Frame, Picture, PixelFormat
from watchline.streams.ingest_wire import (
    MAX_BYTES,
    Channel,
    FrameNote,
    Message,
    event_in,
    event_out,
    settings_in,
    settings_out,
)
from watchline.streams.shared_pictures import Shape, shape_of, shareable
from watchline.streams.source import SourceInfo

pytestmark = pytest.mark.skipif(not shareable(), reason="ingest processes are for Linux")


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channels = Channel(first), Channel(second)
    channels[1].limit(0.1)
    yield channels
    for channel in channels:
        channel.close()


def heard_by(channel: Channel) -> Message:
    received = channel.receive()
    assert received is not None
    assert isinstance(received[0], dict)
    return received[0]


def test_settings_arrive_as_they_were_password_included(ends: tuple[Channel, Channel]) -> None:
    address = Address.parse("rtsp://admin:p%40ss%2Fw%C3%B6rd@[::1]:8554/h264?x=1")
    settings = CameraSettings(
        "gate", address, Backend.GSTREAMER, Transport.UDP, fps=7.5, tls_verify=False, pipeline='videotestsrc ! "x"'
    )
    ends[0].send("add", settings=settings_out(settings))
    assert settings_in(heard_by(ends[1])["settings"]) == settings


@pytest.mark.parametrize(
    "event",
    [
        CameraEvent("gate", CameraState.CONNECTING, 1.5),
        CameraEvent("gate", CameraState.OFFLINE, 2.5, Reason.AUTH, "refuses", 4.0),
        CameraEvent("gate", CameraState.LIVE, 3.5, info=SourceInfo("live", 64, 48, 25.0, None, None, "h264")),
    ],
)
def test_events_arrive_as_they_were(ends: tuple[Channel, Channel], event: CameraEvent) -> None:
    ends[0].send("event", event=event_out(event))
    assert event_in(heard_by(ends[1])["event"]) == event


@pytest.mark.parametrize("clock", list(ClockSource))
@pytest.mark.parametrize("pixel_format", [PixelFormat.I420, PixelFormat.NV12, PixelFormat.RGB24])
def test_a_frame_arrives_with_all_its_times(
    ends: tuple[Channel, Channel], clock: ClockSource, pixel_format: PixelFormat
) -> None:
    picture = Picture.from_rgb(np.zeros((48, 64, 3), np.uint8))
    frame = Frame("gate", 1 << 40, 0.1 + 0.2, 1.7e9 + 1 / 3, clock, picture, 0.0123)
    shape = Shape(48, 64, pixel_format, 9, True)
    ends[0].send_frame(5, 3, frame, shape)
    note, fds = ends[1].receive() or (None, [])
    assert isinstance(note, FrameNote)
    assert (note.key, note.slot, note.shape, fds) == (5, 3, shape, [])
    there = note.frame("gate", picture)
    names = ("camera", "sequence", "pts_s", "captured_at", "clock", "clock_error_s")
    assert [getattr(there, name) for name in names] == [getattr(frame, name) for name in names]
    assert there.picture is picture


def test_a_descriptor_travels_with_its_message(ends: tuple[Channel, Channel]) -> None:
    there, here = os.pipe()
    ends[0].send("memory", here, slots=3)
    message, fds = ends[1].receive() or ({}, [])
    assert message == {"do": "memory", "slots": 3}
    (fd,) = fds
    os.write(fd, b"x")
    assert os.read(there, 2) == b"x"
    for each in (there, here, fd):
        os.close(each)


def test_neither_a_silent_other_side_nor_one_that_does_not_listen_is_waited_for(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(TimeoutError):
        ends[1].receive()
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            for _ in range(10_000):
                ends[1].send("unread", text="x" * 1000)


@pytest.mark.parametrize("place", [45, 54], ids=["clock", "pixel format"])
def test_a_frame_with_a_clock_or_a_format_that_is_none_is_refused(place: int) -> None:
    picture = Picture.from_rgb(np.zeros((48, 64, 3), np.uint8))
    frame = Frame("gate", 0, 0.0, 0.0, ClockSource.FILE, picture)
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with first, second:
        Channel(first).send_frame(0, 0, frame, shape_of(picture))
        content = bytearray(second.recv(MAX_BYTES))
        content[place] = 200
        first.send(content)
        with pytest.raises(ValueError, match=r"200.*none of that number"):
            Channel(second).receive()


def test_what_was_said_before_the_end_is_heard_even_if_something_stayed_unread(ends: tuple[Channel, Channel]) -> None:
    child, parent = ends
    parent.send("unread")
    for number in range(3):
        child.send("frame", number=number)
    child.close()
    assert [heard_by(parent)["number"] for _ in range(3)] == [0, 1, 2]
    assert parent.receive() is None


@pytest.mark.parametrize("content", [b"no json", b"[1]", b"\xff\xfe"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with first, second:
        first.send(content)
        with pytest.raises(ValueError):
            Channel(second).receive()
