"""Keeps credentials out of everything that is written: logs, errors, metrics, files, process titles."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

HIDDEN = "***"

_SHORT = 4  # a known secret of fewer letters is a part of common words

# user:password@ of an address; a password may hold anything but spaces, an @ too.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/<>@]*:[^\s<>]*@")
_USER_ALONE = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/'\"<>@]+@")
_NAMES = (
    r"[a-z0-9_.-]*(?:pass(?:word|wd|wort|phrase|code)?|pas|pwd|psw|psk|pw|token|secret|key|auth|user(?:[_-]?name)?|usr"
    r"|loginuse|login|signature|sig|credential|session(?:[_-]?id)?)s?"
)
# Many recorders take user, password and channel in the path, joined by _: the harmless ones end a secret there.
_NEXT = r"_(?:channel|chn?|stream|subtype|sub|profile|onvif|real_stream|proto)="
_AGAIN = r"\*\*\*(?=[\s&;,.:_)'\"<>]|$)"  # is hidden already: what follows stays
_PARAMETER = re.compile(rf"(?P<name>[?&;/,]{_NAMES}=)(?:{_AGAIN}|(?:(?!{_NEXT})[^&;\s'\"<>])+)", re.IGNORECASE)
_PARAMETER_OF_PATH = re.compile(rf"(?P<name>[?&;/,]{_NAMES}=)(?:(?!{_NEXT})[^&;])+", re.IGNORECASE)
_IN_PROSE = re.compile(
    rf"(?P<name>\b(?:password|passwd|passphrase|pwd)\s*=\s*)(?:{_AGAIN}|[^&;,\s'\"<>)]+)", re.IGNORECASE
)
# The last part of an RTMP path is the key to the stream.
_STREAM_KEY = re.compile(
    r"(?P<before>rtmps?://[^\s/'\"<>]+/(?:[^\s/?'\"<>]+/)*)[^\s'\"<>)]*[^\s'\"<>),.;:]", re.IGNORECASE
)
_HEADER = re.compile(r"(?P<name>(?:proxy-)?authorization['\"]?\s*:\s*)[^\r\n]+", re.IGNORECASE)
_ARGUMENT = re.compile(r"^(?P<before>(?:--?[\w-]+=)?(?:[a-zA-Z][a-zA-Z0-9+.-]*:/{1,3}|(?=.*:.*@))).*@", re.DOTALL)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Returns `text` without credentials.

    Args:
        text: anything that is about to leave the process.
        secrets: known passwords, plain; they are hidden in the forms in which protocols carry them too. Those of less
            than four letters are hidden where they stand alone, not within words.

    >>> redact("rtsp://admin:p@ss/1@cam-7:554/h264?token=abc refused")
    'rtsp://***@cam-7:554/h264?token=*** refused'
    """
    for secret in secrets:
        for form in _forms(secret):
            if len(form) < _SHORT:
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
            else:
                text = text.replace(form, HIDDEN)
    text = _USERINFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _USER_ALONE.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PARAMETER.sub(rf"\g<name>{HIDDEN}", text)
    text = _IN_PROSE.sub(rf"\g<name>{HIDDEN}", text)
    text = _STREAM_KEY.sub(rf"\g<before>{HIDDEN}", text)
    return _HEADER.sub(rf"\g<name>{HIDDEN}", text)


def redact_path(path: str) -> str:
    """Returns the path and query of one address without credentials; no letter ends one there but & and ;.

    >>> redact_path("/user=admin_password=it's me_channel=1.sdp")
    '/user=***_channel=1.sdp'
    """
    return redact(_PARAMETER_OF_PATH.sub(rf"\g<name>{HIDDEN}", path))


def redact_argument(text: str) -> str:
    """Returns one argument of a command line without credentials, also where it is no proper address.

    >>> redact_argument("admin:se cret@cam/a")
    '***@cam/a'
    """
    return redact(_ARGUMENT.sub(rf"\g<before>{HIDDEN}@", text))


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
