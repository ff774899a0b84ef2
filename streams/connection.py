"""The seam to everything that connects to a live camera: one method, `read`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from watchline.streams.camera_settings import CameraSettings
from watchline.streams.frame import Picture
from watchline.streams.source import SourceInfo

FIRST_KEY_S = 60.0
"""Within which a stream that was joined in its middle must send a key frame; until then packets are no damage."""


@dataclass(slots=True)
class Arrival:
    """One picture as a connection decoded it.

    Attributes:
        pts_s: the stream's own time, seconds, as it stands there; None where there is none.
        sent_at: the camera's wall clock when the picture was taken, UTC seconds; None where it does not tell.
        key: it needs no other picture to be decoded.
        damaged: the decoder says that parts of it are wrong, or datagrams of it or of one that it needs were lost.
        picture: makes the pixels; cheap, but not free, so it is called only for pictures that somebody looks at, in
            the thread that reads, before the next `read`.
    """

    pts_s: float | None
    sent_at: float | None
    key: bool
    damaged: bool
    picture: Callable[[], Picture]


class Connection(Protocol):
    """One connection to a camera. Used by one thread.

    `info` may change while it is read: size, codec and rate of a live stream do. `undecodable` counts packets of which
    no picture could be made. `backend` says what decodes, as "pyav 18.1 (FFmpeg 8.1), h264 in software, tcp".
    """

    @property
    def info(self) -> SourceInfo:
        """What the stream says of itself; known once the connection is open."""

    @property
    def backend(self) -> str:
        """What connects and decodes, for the log."""

    @property
    def undecodable(self) -> int:
        """Packets so far of which no picture could be made."""

    def read(self) -> Arrival:
        """Waits for the next picture.

        Raises:
            CameraError: there will be none: the stream ended, was silent for `silent_after_s`, sent packets of which no
                picture could be made for so long, or cannot be decoded. Always within that time, plus a second; a first
                key frame is waited for up to `FIRST_KEY_S`, a playlist's next segment as long as such may take.
        """

    def close(self) -> None:
        """Ends the connection, within a second. Safe to call twice."""


Connect: TypeAlias = Callable[[CameraSettings], Connection]
"""Opens a connection within `open_timeout_s`, first packet included, or raises CameraError."""
