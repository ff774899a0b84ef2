"""Sorts what FFmpeg says of a connection into reasons that an operator knows."""

from __future__ import annotations

import errno
import socket
import ssl
from types import MappingProxyType
from typing import TYPE_CHECKING

from watchline.streams.address import Address, Kind
from watchline.streams.failure import Reason

if TYPE_CHECKING:
    from av.error import FFmpegError

_CHECK_S = 2.0
_BY_NUMBER = MappingProxyType(
    {
        errno.ECONNREFUSED: (Reason.REFUSED, "refused the connection"),
        errno.EHOSTUNREACH: (Reason.UNREACHABLE, "cannot be reached"),
        errno.ENETUNREACH: (Reason.UNREACHABLE, "cannot be reached: no network leads there"),
        errno.ETIMEDOUT: (Reason.TIMEOUT, "did not answer in time"),
        errno.ECONNRESET: (Reason.ENDED, "cut the connection"),
        errno.ECONNABORTED: (Reason.ENDED, "cut the connection"),
        errno.EPIPE: (Reason.ENDED, "cut the connection"),
        errno.ENOENT: (Reason.NOT_FOUND, "there is no such file or device"),
        errno.ENODEV: (Reason.NOT_FOUND, "the device is gone"),
        errno.ENXIO: (Reason.NOT_FOUND, "the device is gone"),
        errno.EACCES: (Reason.AUTH, "may not be opened by this user"),
        errno.EPERM: (Reason.AUTH, "may not be opened by this user"),
        errno.EBUSY: (Reason.REFUSED, "is in use by another program"),
        errno.ENOMEM: (Reason.MEMORY, "there is no memory left for its pictures"),
        errno.EPROTONOSUPPORT: (Reason.PROTOCOL, "refuses this transport; set transport to auto, tcp or udp"),
    }
)


def why(error: FFmpegError, address: Address) -> tuple[Reason, str]:
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
    if (found := _BY_NUMBER.get(error.errno or 0)) is not None:
        return found
    # FFmpeg says "input/output error" of unknown hosts and of untrusted certificates alike.
    return _look_closer(address) or (Reason.PROTOCOL, f"failed: {str(error.strerror).lower()}")


def _look_closer(address: Address) -> tuple[Reason, str] | None:
    if address.kind in (Kind.FILE, Kind.DEVICE):
        return None
    host = address.host.strip("[]")
    try:
        socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return Reason.DNS, "its host name has no address"
    if address.scheme not in ("rtsps", "https", "rtmps"):
        return None
    try:
        with socket.create_connection((host, address.port), _CHECK_S) as plain:
            ssl.create_default_context().wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as failure:
        return Reason.TLS, f"its certificate is not trusted ({failure.verify_message})"
    except ssl.SSLError as failure:
        return Reason.TLS, f"makes no encrypted connection ({failure.reason})"
    except OSError:
        return None
    return None
