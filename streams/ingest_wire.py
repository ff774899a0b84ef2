"""What an ingest process and its parent say to each other: JSON messages, never pixels or pickles.

Frames, which are most of it, are records of a fixed size: a process that wakes for one frame finds little in the
processor's caches, so that each further function that it runs costs many times what it costs in a loop.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple, TypeAlias
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
# Mark; key, slot, sequence; pts_s, captured_at, clock_error_s; clock; height, width, pixel format, matrix, full range.
_FRAME = struct.Struct("<BqIqdddBIIBi?")
_FRAME_MARK = 0  # no JSON begins with it
_CLOCKS, _FORMATS = tuple(ClockSource), tuple(PixelFormat)
_ROOM = socket.CMSG_SPACE(struct.calcsize("i")) if hasattr(socket, "CMSG_SPACE") else 0  # for one descriptor


class FrameNote(NamedTuple):
    """A frame without its pixels, which lie in a slot of shared memory; see `Frame`."""

    key: int
    slot: int
    shape: Shape
    sequence: int
    pts_s: float
    captured_at: float
    clock: ClockSource
    clock_error_s: float

    def frame(self, camera: str, picture: Picture) -> Frame:
        """Returns the frame."""
        return Frame(camera, self.sequence, self.pts_s, self.captured_at, self.clock, picture, self.clock_error_s)


class Channel:
    """One end of the pair; any thread may send, one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._content = bytearray(MAX_BYTES)
        self._contents = [self._content]

    def limit(self, wait_s: float) -> None:
        """Bounds how long `send` and `receive` wait from now on, by the system's own time-outs.

        Python's would ask the system before each message whether there is one.
        """
        wait = struct.pack("ll", *divmod(round(wait_s * 1e6), 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._end.setsockopt(socket.SOL_SOCKET, option, wait)

    def send(self, do: str, fd: int | None = None, **content: Any) -> None:
        """Sends one message, with a descriptor where one is given.

        Raises:
            OSError: the other side is gone, or takes nothing within the time of `limit`.
        """
        content["do"] = do
        socket.send_fds(self._end, [json.dumps(content).encode()], [] if fd is None else [fd])

    def send_frame(self, key: int, slot: int, frame: Frame, shape: Shape) -> None:
        """Sends what is known of a frame that lies in shared memory.

        Raises:
            OSError: see `send`.
        """
        height, width, pixel_format, matrix, full_range = shape
        times = frame.pts_s, frame.captured_at, frame.clock_error_s, _CLOCKS.index(frame.clock)
        looks = height, width, _FORMATS.index(pixel_format), matrix, full_range
        self._end.send(_FRAME.pack(_FRAME_MARK, key, slot, frame.sequence, *times, *looks))

    def receive(self) -> tuple[Message | FrameNote, list[int]] | None:
        """Returns the next message with its descriptors, or None once the other side is gone and all was read.

        Raises:
            TimeoutError: there was none within the time of `limit`.
            ValueError: it is no message.
        """
        try:
            size, ancillary, _, _ = self._end.recvmsg_into(self._contents, _ROOM)
        except ConnectionResetError:
            # A process that ends with unread messages makes this fail once, before what it sent itself is read.
            try:
                size, ancillary, _, _ = self._end.recvmsg_into(self._contents, _ROOM)
            except ConnectionResetError:
                return None
        except BlockingIOError:
            raise TimeoutError from None
        if not size:
            return None
        return self._message(size), _descriptors(ancillary) if ancillary else []

    def _message(self, size: int) -> Message | FrameNote:
        if size == _FRAME.size and self._content[0] == _FRAME_MARK:
            return _note(self._content)
        message = json.loads(self._content[:size])
        if not isinstance(message, dict):
            raise ValueError("not a message")
        return message

    def close(self) -> None:
        """Closes this end."""
        self._end.close()


def _note(content: bytearray) -> FrameNote:
    _, key, slot, sequence, pts_s, captured_at, error_s, clock, *looks = _FRAME.unpack_from(content)
    height, width, pixel_format, matrix, full_range = looks
    if clock >= len(_CLOCKS) or pixel_format >= len(_FORMATS):
        raise ValueError(f"clock {clock}, pixel format {pixel_format}: there is none of that number")
    shape = Shape(height, width, _FORMATS[pixel_format], matrix, full_range)
    return FrameNote(key, slot, shape, sequence, pts_s, captured_at, _CLOCKS[clock], error_s)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    rights = (data for level, kind, data in ancillary if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS))
    return [fd for data in rights for (fd,) in struct.iter_unpack("i", data)]


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
