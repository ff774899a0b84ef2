"""Looks closer at an address where a library says too little of why it does not answer."""

from __future__ import annotations

import errno
import socket
import ssl
from types import MappingProxyType

from watchline.streams.address import Kind
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.failure import CameraError, Reason

_CHECK_S = 2.0
_ENCRYPTED = ("rtsps", "https", "rtmps")

BY_NUMBER = MappingProxyType(
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
"""What an error number of the system means for a camera, and what to say of it."""

MEND = MappingProxyType(
    {
        Reason.AUTH: "check the user name and the password",
        Reason.DNS: "check the host name, or write its number",
        Reason.REFUSED: "check the port, and that the camera's service is on",
        Reason.NOT_FOUND: "check the path; the camera's manual or its web page tells it",
        Reason.TLS: "name who signed its certificate with tls_authorities, or set tls_verify: false",
    }
)
"""The next step for an operator, where there is one that always fits."""


def camera_error(settings: CameraSettings, reason: Reason, text: str, mend: str = "") -> CameraError:
    """Returns the error that names the camera, what is wrong, where, and the next step; without credentials."""
    sentence = f'camera "{settings.camera}": {settings.address.redact(text)} ({settings.address})'
    mend = mend or MEND.get(reason, "")
    return CameraError(reason, f"{sentence}; {mend}" if mend else sentence)


def look_closer(settings: CameraSettings) -> tuple[Reason, str] | None:
    """Returns why nothing can be had from a camera, found by trying; None where host and port answer.

    Looks the name up, connects, and shakes hands where that is encrypted; waits two seconds at most for each of the
    latter.
    """
    address = settings.address
    if address.kind in (Kind.FILE, Kind.DEVICE):
        return None
    host = address.host.strip("[]")
    try:
        socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Reason.DNS, "its host name has no address"
    try:
        with socket.create_connection((host, address.port), _CHECK_S) as plain:
            if address.scheme in _ENCRYPTED:
                _trusting(settings).wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as failure:
        return Reason.TLS, f"its certificate is not trusted ({failure.verify_message})"
    except ssl.SSLError as failure:
        return Reason.TLS, f"makes no encrypted connection ({failure.reason})"
    except TimeoutError:
        return Reason.TIMEOUT, "did not answer in time"
    except OSError as failure:
        return BY_NUMBER.get(failure.errno or 0)
    return None


def _trusting(settings: CameraSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.tls_authorities or None)
    if not settings.tls_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
