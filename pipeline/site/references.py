"""What in an address is secret, and what only names a secret: ${NAME} and ${file:PATH}."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from watchline.streams.address import Address
from watchline.streams.errors import UsageError
from watchline.streams.redact import HIDDEN

_REFERENCE = re.compile(r"\$\{[^}]*\}")
_OF_FILE = re.compile(r"\$\{file:([^}]*)\}")
_STEM = "wlref"  # begins what takes the place of a reference while an address is taken apart


def has_reference(text: str) -> bool:
    """Does `text` name a secret?"""
    return _REFERENCE.search(text) is not None


def names_in(text: str) -> tuple[str, ...]:
    """Returns the environment variables that `text` names.

    >>> names_in("rtsp://${USER_1}:${file:/run/secret}@cam/a")
    ('USER_1',)
    """
    return tuple(found[2:-1] for found in _REFERENCE.findall(text) if not found.startswith("${file:"))


def absolute(text: str, folder: Path) -> str:
    """Returns an address whose files, and whose ${file:PATH}, do not depend on where a program was started.

    >>> absolute("yard.mp4", Path("/etc/site")), absolute("rtsp://a:${file:pw}@cam", Path("/etc/site"))
    ('/etc/site/yard.mp4', 'rtsp://a:${file:/etc/site/pw}@cam')
    """
    text = _OF_FILE.sub(lambda found: f"${{file:{folder / found[1]}}}", text)
    if has_reference(text) or "://" in text:
        return text
    try:
        local = not Address.parse(text).host
    except UsageError:
        return text
    return str(folder / text) if local else text


def hidden(text: str) -> str:
    """Returns an address without secrets; what only names one stays.

    >>> hidden("rtsp://admin:${DOCK}@cam/a?token=abc"), hidden("rtsp://admin:secret@cam/a")
    ('rtsp://admin:${DOCK}@cam:554/a?token=***', 'rtsp://admin:***@cam:554/a')
    """
    return replace_secrets(text, lambda _secret, _is_password: HIDDEN)


def replace_secrets(text: str, replace: Callable[[str, bool], str]) -> str:
    """Returns an address with each secret that stands in it replaced; references, and a plain user name, stay.

    Args:
        text: the address.
        replace: gives what takes a secret's place; is told the secret, and whether it is the password.

    Raises:
        UsageError: `text` is no address; nothing of it is shown.
    """
    references = _REFERENCE.findall(text)
    stem = _STEM
    while stem in text:
        stem += _STEM[-1]
    stand_in, numbers = re.compile(rf"{stem}([0-9]+)x"), iter(range(len(references)))
    masked = _REFERENCE.sub(lambda _: f"{stem}{next(numbers)}x", text)
    address = Address.parse(masked)
    if not address.host:
        return text
    parts = [re.escape(part) for part in str(address).split(HIDDEN)]
    found = re.fullmatch("(.*?)".join(parts), address.url, re.DOTALL)
    if found is None:  # nothing is known of where the secrets are
        raise UsageError("a camera's address: it holds credentials in a form that is not known; name it whole: ${NAME}")
    result, end = "", 0
    for group in range(1, found.re.groups + 1):
        start, stop = found.span(group)
        result += address.url[end:start]
        in_front = group == 1 and bool(address.user or address.password)
        before, secret = _apart(found[group]) if in_front else ("", found[group])
        plain = stand_in.sub("", secret) != ""  # else it is a reference, or there is none
        result += before + (replace(secret, in_front) if plain else secret)
        end = stop
    result += address.url[end:]
    return stand_in.sub(lambda part: references[int(part[1])], result)


def _apart(userinfo: str) -> tuple[str, str]:
    """Returns the user name with its colon, and the password."""
    user, colon, password = userinfo.rstrip("@").partition(":")
    return f"{user}{colon}", password
