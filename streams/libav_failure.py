"""Sorts what FFmpeg says of a connection into reasons that an operator knows."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from watchline.streams.address import Kind
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.diagnosis import BY_NUMBER, look_closer
from watchline.streams.failure import Reason

if TYPE_CHECKING:
    from av.error import FFmpegError


def why(error: FFmpegError, settings: CameraSettings) -> tuple[Reason, str]:
    """Returns the reason for `error` and what to say of it; the text names no address and no credentials."""
    import av.error as kinds

    by_kind: tuple[tuple[type[FFmpegError], Reason, str], ...] = (
        (kinds.HTTPUnauthorizedError, Reason.AUTH, "refuses the user name or password (401)"),
        (kinds.HTTPForbiddenError, Reason.AUTH, "forbids this stream to this user (403)"),
        (kinds.HTTPNotFoundError, Reason.NOT_FOUND, "has no such stream (404)"),
        (kinds.HTTPServerError, Reason.PROTOCOL, "answers that its server failed (5xx); look at its log"),
        (kinds.ExitError, Reason.TIMEOUT, "did not answer in time"),
        (kinds.EOFError, Reason.ENDED, "ended the stream"),
        (kinds.DecoderNotFoundError, Reason.CODEC, "sends a codec that is not known here"),
        (kinds.ProtocolNotFoundError, Reason.PROTOCOL, "leads to a protocol that is not allowed"),
        (kinds.InvalidDataError, Reason.PROTOCOL, "sends what is no video stream"),
    )
    for kind, reason, text in by_kind:
        if isinstance(error, kind):
            return reason, text
    if settings.address.kind is Kind.RTMP and isinstance(error, kinds.UnknownError):
        return Reason.AUTH, "refuses the user name or password"
    if settings.address.kind is Kind.RTMP and error.errno == errno.EPERM:  # all that FFmpeg says of a server's refusal
        return Reason.NOT_FOUND, "refuses to play this stream"
    if (found := BY_NUMBER.get(error.errno or 0)) is not None:
        return found
    # FFmpeg says "input/output error" of unknown hosts and of untrusted certificates alike.
    return look_closer(settings) or (Reason.PROTOCOL, f"failed: {str(error.strerror).lower()}")
