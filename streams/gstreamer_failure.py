"""Sorts GStreamer's error messages into reasons that an operator knows."""

from __future__ import annotations

import errno
import re
from types import MappingProxyType
from typing import Any

from watchline.streams.address import Kind
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.diagnosis import BY_NUMBER, look_closer
from watchline.streams.failure import Reason

_RESOURCE, _STREAM, _CORE = "gst-resource-error-quark", "gst-stream-error-quark", "gst-core-error-quark"
_NO_STREAM = (_STREAM, 6)  # "No supported stream was found": none of the streams took the transport
_UNSUPPORTED_TRANSPORT = 461
# By GStreamer's GError domain and code.
_KINDS = MappingProxyType(
    {
        (_RESOURCE, 3): (Reason.NOT_FOUND, "has no such stream (404)"),
        (_RESOURCE, 4): (Reason.REFUSED, "is in use by another program"),
        (_RESOURCE, 14): (Reason.MEMORY, "there is no memory left for its pictures"),
        (_RESOURCE, 15): (Reason.AUTH, "refuses the user name or password (401)"),
        (_STREAM, 4): (Reason.PROTOCOL, "sends what is no video stream"),
        (_STREAM, 5): (Reason.PROTOCOL, "sends what is no video stream"),
        (_STREAM, 6): (Reason.CODEC, "sends a codec that is not known here"),
        (_STREAM, 7): (Reason.CORRUPT, "sends pictures that cannot be decoded"),
        (_CORE, 12): (Reason.CODEC, "sends a codec that is not known here"),
    }
)
_ELSEWHERE = (Reason.PROTOCOL, "redirects to another address, which is not followed; write that address")
_STATUS = MappingProxyType(
    {
        **dict.fromkeys((301, 302, 303, 307, 308), _ELSEWHERE),
        401: (Reason.AUTH, "refuses the user name or password (401)"),
        403: (Reason.AUTH, "forbids this stream to this user (403)"),
        404: (Reason.NOT_FOUND, "has no such stream (404)"),
        454: (Reason.ENDED, "ended the stream"),
        _UNSUPPORTED_TRANSPORT: (Reason.PROTOCOL, "refuses this transport; set transport to auto, tcp or udp"),
        503: (Reason.PROTOCOL, "has no room for one more viewer (503)"),
    }
)
_NUMBER = re.compile(r"\(([0-9]{3})\)|\bresponse ([0-9]{3})\b")
# What RTMP's element says in words alone, in lower case.
_RTMP_WORDS = MappingProxyType(
    {
        "stream not found": (Reason.NOT_FOUND, "has no such stream"),
        "not authorized": (Reason.AUTH, "refuses the user name or password"),
        "short read": (Reason.PROTOCOL, "does not speak RTMP"),
        "timed out": (Reason.TIMEOUT, "did not answer in time"),
    }
)
_DEVICE_WORDS = MappingProxyType(
    {
        "no such file": errno.ENOENT,
        "cannot identify": errno.ENOENT,
        "no such device": errno.ENODEV,
        "permission denied": errno.EACCES,
        "busy": errno.EBUSY,
    }
)


def why(domain: str, code: int, text: str, settings: CameraSettings) -> tuple[Reason, str]:
    """Returns the reason for an error and what to say of it; the text holds no credentials.

    Args:
        domain: of the GError.
        code: of the GError.
        text: its message, and what GStreamer says beside it for developers.
        settings: of the camera that was read.
    """
    address = settings.address
    if address.kind is Kind.RTSP and refuses_transport(domain, code, text):
        return _STATUS[_UNSUPPORTED_TRANSPORT]
    if (status := _status_of(text)) in _STATUS:
        return _STATUS[status]
    if status // 100 == 5:
        return Reason.PROTOCOL, "answers that its server failed (5xx); look at its log"
    if address.kind is Kind.DEVICE and domain == _RESOURCE:
        return _device(code, text)
    if (domain, code) in _KINDS:
        return _KINDS[domain, code]
    if address.kind is Kind.RTMP:
        known = next((known for words, known in _RTMP_WORDS.items() if words in text.lower()), None)
        if known is not None:
            return known
    # Hosts that are unknown, refuse, or are not trusted all look alike.
    said = address.redact(text.splitlines()[0] if text else "GStreamer gives no reason").rstrip(".")
    return look_closer(settings) or (Reason.PROTOCOL, f"failed: {said}")


def is_about_reading(domain: str) -> bool:
    """Returns whether an error is about getting the stream, not about what is in it."""
    return domain == _RESOURCE


def refuses_transport(domain: str, code: int, text: str) -> bool:
    """Returns whether a camera that speaks RTSP will not send its pictures this way (TCP or UDP)."""
    return (domain, code) == _NO_STREAM or _status_of(text) == _UNSUPPORTED_TRANSPORT


def _status_of(text: str) -> int:
    """Returns the RTSP or HTTP status that an error text tells of; 0 where it tells none.

    >>> _status_of("Not Found (404), URL: ..."), _status_of("Could not read from resource.")
    (404, 0)
    """
    found = _NUMBER.search(text)
    return int(found[1] or found[2]) if found else 0


def _device(code: int, text: str) -> tuple[Reason, str]:
    number = next((number for words, number in _DEVICE_WORDS.items() if words in text.lower()), 0)
    default = (Reason.NOT_FOUND, "there is no such device") if code == 3 else (Reason.PROTOCOL, "cannot be opened")
    return BY_NUMBER.get(number, default)


def parts_of(message: Any) -> tuple[str, int, str]:
    """Returns domain, code and text of an ERROR or WARNING message of GStreamer's bus."""
    is_error = message.type.first_value_nick == "error"
    error, detail = message.parse_error() if is_error else message.parse_warning()
    return error.domain, error.code, f"{error.message}\n{detail or ''}"
