"""Why a camera gives no picture: one word for metrics and alerts, one sentence for a person."""

from __future__ import annotations

from enum import StrEnum

from watchline.streams.errors import StreamError


class Reason(StrEnum):
    """The cause, as an operator would sort it."""

    AUTH = "auth"  # the user name or password is refused
    DNS = "dns"  # the host name has no address
    REFUSED = "refused"  # the host answers, but nothing listens on that port
    UNREACHABLE = "unreachable"  # no road to the host
    NOT_FOUND = "not_found"  # the server has no such stream, or there is no such file or device
    TLS = "tls"  # no trusted, encrypted connection
    TIMEOUT = "timeout"  # connected or not, nothing came in time
    NO_VIDEO = "no_video"  # a stream without moving pictures
    CODEC = "codec"  # pictures in a form that cannot be decoded here
    ENDED = "ended"  # the other side ended the stream
    FROZEN = "frozen"  # the same picture again and again
    CORRUPT = "corrupt"  # packets come, but no picture can be made of them
    PROTOCOL = "protocol"  # the other side answers with something else than asked
    MEMORY = "memory"  # no room for the pictures
    CRASHED = "crashed"  # the process that read the camera ended
    INTERNAL = "internal"  # a defect in watchline


class CameraError(StreamError):
    """A camera gives no picture.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
