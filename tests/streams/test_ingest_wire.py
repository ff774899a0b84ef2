from __future__ import annotations

import socket
from collections.abc import Iterator

import numpy as np
import pytest

from watchline.streams.address import Address
from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.camera_settings import Backend, CameraSettings, Transport
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource, Frame, Picture
from watchline.streams.ingest_wire import (
    Channel,
    event_in,
    event_out,
    frame_in,
    frame_out,
    settings_in,
    settings_out,
    shape_in,
)
from watchline.streams.shared_pictures import shape_of, shareable
from watchline.streams.source import SourceInfo

pytestmark = pytest.mark.skipif(not shareable(), reason="ingest processes are for Linux")


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    second.settimeout(0.1)
    channels = Channel(first), Channel(second)
    yield channels
    for channel in channels:
        channel.close()


def test_settings_arrive_as_they_were_password_included(ends: tuple[Channel, Channel]) -> None:
    address = Address.parse("rtsp://admin:p%40ss%2Fw%C3%B6rd@[::1]:8554/h264?x=1")
    settings = CameraSettings(
        "gate", address, Backend.GSTREAMER, Transport.UDP, fps=7.5, tls_verify=False, pipeline='videotestsrc ! "x"'
    )
    ends[0].send("add", settings=settings_out(settings))
    received = ends[1].receive()
    assert received is not None
    assert settings_in(received[0]["settings"]) == settings


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
    received = ends[1].receive()
    assert received is not None
    assert event_in(received[0]["event"]) == event


def test_a_frame_arrives_with_all_its_times(ends: tuple[Channel, Channel]) -> None:
    picture = Picture.from_rgb(np.zeros((48, 64, 3), np.uint8))
    frame = Frame("gate", 7, 0.1 + 0.2, 1.7e9 + 1 / 3, ClockSource.RTCP, picture, 0.0123)
    ends[0].send("frame", **frame_out(frame, shape_of(picture)))
    received = ends[1].receive()
    assert received is not None
    there = frame_in(received[0], "gate", picture)
    names = ("sequence", "pts_s", "captured_at", "clock", "clock_error_s")
    assert [getattr(there, name) for name in names] == [getattr(frame, name) for name in names]
    assert shape_in(received[0]) == shape_of(picture)


def test_what_was_said_before_the_end_is_heard_even_if_something_stayed_unread(ends: tuple[Channel, Channel]) -> None:
    child, parent = ends
    parent.send("unread")
    for number in range(3):
        child.send("frame", number=number)
    child.close()
    heard = [message["number"] for message, _ in iter(parent.receive, None) if message]
    assert heard == [0, 1, 2]


@pytest.mark.parametrize("content", [b"no json", b"[1]", b"\xff\xfe"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with first, second:
        first.send(content)
        with pytest.raises(ValueError):
            Channel(second).receive()
