"""Secrets named, not written: ${NAME} is an environment variable, ${file:PATH} what a file holds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from watchline.streams.errors import UsageError

_REFERENCE = re.compile(r"\$\{(file:)?([^}]*)\}")
_MOST_BYTES = 4096


def expand(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Returns an address with each reference replaced by its secret; that of a file ends before its last line break.

    A secret is taken as plain text. As a user name, as a password or in a query it is percent-encoded, so that it may
    hold any letter; as a host, in a path, or as the whole address it stands as it is.

    Raises:
        UsageError: a variable is not set, or a file cannot be read; names it, never what it holds.

    >>> expand("rtsp://admin:${DOCK}@cam/a", {"DOCK": "p@ss/1%"})
    'rtsp://admin:p%40ss%2F1%25@cam/a'
    """
    values = os.environ if environment is None else environment
    encodes = _encoded_at(text)

    def look_up(match: re.Match[str]) -> str:
        name = match[2]
        if match[1]:
            secret = _read(Path(name))
        elif name in values:
            secret = values[name]
        else:
            raise UsageError(f"${{{name}}}: no such environment variable; set it, or name a file: ${{file:PATH}}")
        return quote(secret, safe="") if encodes(match.start()) else secret

    return _REFERENCE.sub(look_up, text)


def _encoded_at(text: str) -> Callable[[int], bool]:
    """Returns what tells of an index into `text` whether it lies in the user name, password or query of an address."""
    masked = _REFERENCE.sub(lambda match: "$" * len(match[0]), text)  # the name of a file has slashes of its own
    authority = re.search(r"://[^/?#]*", masked)
    if authority is None:
        return lambda _: False
    start, at = authority.start(), authority[0].rfind("@")
    query = masked.find("?", authority.end())
    return lambda index: start < index < start + at or 0 <= query < index


def _read(path: Path) -> str:
    named = f"${{file:{path}}}"
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"${{file:{path}}}: cannot be read ({error.strerror}); check the name and permissions"
        ) from error
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{named}: has more than {_MOST_BYTES} bytes; name a file that holds the secret alone")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"{named}: is not text; name a file that holds the secret alone") from error
