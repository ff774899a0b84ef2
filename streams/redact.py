"""Keeps credentials out of everything that is written: logs, errors, metrics, files, process titles."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"

# user:password@ of an address; a password may hold anything but spaces, an @ too.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/<>@]*:[^\s<>]*@")
_USER_ALONE = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/'\"<>@]+@")
_PARAMETER = re.compile(
    r"(?P<name>[?&;](?:[a-z_]*(?:pass(?:word|wd)?|pwd|token|secret|key|auth|user(?:name)?|signature|credential)s?)=)"
    r"[^&;\s'\"<>]+",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(?P<name>(?:proxy-)?authorization\s*:\s*)[^\r\n'\"]+", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Returns `text` without credentials.

    Args:
        text: anything that is about to leave the process.
        secrets: known passwords, plain; they are hidden in the forms in which protocols carry them too.

    >>> redact("rtsp://admin:p@ss/1@cam-7:554/h264?token=abc refused")
    'rtsp://***@cam-7:554/h264?token=*** refused'
    """
    for secret in secrets:
        for form in _forms(secret):
            text = text.replace(form, HIDDEN)
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _USER_ALONE.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PARAMETER.sub(rf"\g<name>{HIDDEN}", text)
    return _HEADER.sub(rf"\g<name>{HIDDEN}", text)


def _forms(secret: str) -> list[str]:
    """Returns the secret as it stands in addresses and messages, longest first; none for an empty one."""
    if not secret:
        return []
    forms = {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1]}
    forms.add(base64.b64encode(secret.encode()).decode())
    return sorted(forms, key=len, reverse=True)


class RedactingFormatter(logging.Formatter):
    """Formats log records as another formatter does, without credentials; tracebacks included."""

    def __init__(self, inner: logging.Formatter | None = None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        return redact(self._inner.format(record))
