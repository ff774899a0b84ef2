"""What an ingest process and its parent say to each other: JSON messages, never pixels or pickles."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from watchline.streams.address import Address, Kind
from watchline.streams.camera import CameraEvent, CameraState
from watchline.streams.camera_settings import Backend, CameraSettings, Hardware, Transport
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource, Frame, Picture, PixelFormat
from watchline.streams.shared_pictures import Shape
from watchline.streams.source import SourceInfo

Message: TypeAlias = dict[str, Any]
MAX_BYTES = 1 << 16
_TOKEN_CHARACTERS = 8  # of a query's value that may be a token; shorter ones are words like "main"


class Channel:
    """One end of the pair; any thread may send, one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, do: str, fd: int | None = None, **content: Any) -> None:
        """Sends one message, with a descriptor where one is given.

        Raises:
            OSError: the other side is gone, or takes nothing within the socket's time-out.
        """
        content["do"] = do
        socket.send_fds(self._end, [json.dumps(content).encode()], [] if fd is None else [fd])

    def receive(self) -> tuple[Message, list[int]] | None:
        """Returns the next message with its descriptors, or None once the other side is gone and all was read.

        Raises:
            TimeoutError: there was none within the socket's time-out.
            ValueError: it is no message.
        """
        for _ in range(2):
            # A process that ends with unread messages makes this fail once, before what it sent itself is read.
            with suppress(ConnectionResetError):
                content, fds, _, _ = socket.recv_fds(self._end, MAX_BYTES, 1)
                return (_message(content), fds) if content else None
        return None

    def close(self) -> None:
        """Closes this end."""
        self._end.close()


def _message(content: bytes) -> Message:
    message = json.loads(content)
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


def settings_out(settings: CameraSettings) -> Message:
    """Returns settings as a message holds them, credentials included."""
    return asdict(settings)


def settings_in(message: Message) -> CameraSettings:
    """Returns the settings that a message holds."""
    address = Address(**{**message["address"], "kind": Kind(message["address"]["kind"])})
    enums = {
        "backend": Backend(message["backend"]),
        "transport": Transport(message["transport"]),
        "hardware": Hardware(message["hardware"]),
    }
    return CameraSettings(**{**message, "address": address, **enums})


def event_out(event: CameraEvent) -> Message:
    """Returns a change of state as a message holds it."""
    return asdict(event)


def event_in(message: Message) -> CameraEvent:
    """Returns the change of state that a message holds."""
    return CameraEvent(
        message["camera"],
        CameraState(message["state"]),
        float(message["at_s"]),
        Reason(message["reason"]) if message["reason"] else None,
        str(message["sentence"]),
        float(message["retry_s"]),
        SourceInfo(**message["info"]) if message["info"] else None,
    )


def frame_out(frame: Frame, shape: Shape) -> Message:
    """Returns a frame as a message holds it: everything but the pixels."""
    return {
        "sequence": frame.sequence,
        "pts_s": frame.pts_s,
        "captured_at": frame.captured_at,
        "clock": frame.clock,
        "clock_error_s": frame.clock_error_s,
        "shape": asdict(shape),
    }


def shape_in(message: Message) -> Shape:
    """Returns the shape of the frame that a message holds."""
    shape = message["shape"]
    return Shape(
        int(shape["height"]),
        int(shape["width"]),
        PixelFormat(shape["pixel_format"]),
        int(shape["matrix"]),
        bool(shape["full_range"]),
    )


def frame_in(message: Message, camera: str, picture: Picture) -> Frame:
    """Returns the frame that a message holds."""
    return Frame(
        camera,
        int(message["sequence"]),
        float(message["pts_s"]),
        float(message["captured_at"]),
        ClockSource(message["clock"]),
        picture,
        float(message["clock_error_s"]),
    )


def secrets_of(cameras: Iterable[CameraSettings]) -> list[str]:
    """Returns what no line may show, longest first: passwords, alone and as they log in, and values of queries."""
    found: set[str] = set()
    for settings in cameras:
        address = settings.address
        if address.password:
            found |= {address.password, f"{address.user}:{address.password}"}
        values = (value for _, value in parse_qsl(address.path.partition("?")[2]))
        found |= {value for value in values if len(value) >= _TOKEN_CHARACTERS}
    return sorted(found, key=len, reverse=True)
