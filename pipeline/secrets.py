"""Secrets named, not written: ${NAME} is an environment variable, ${file:PATH} what a file holds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from watchline.streams.errors import UsageError

_REFERENCE = re.compile(r"\$\{(file:)?([^}]*)\}")
_MOST_BYTES = 4096


def expand(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Returns `text` with each reference replaced by its secret; that of a file ends before its last line break.

    Raises:
        UsageError: a variable is not set, or a file cannot be read; names it, never what it holds.

    >>> expand("rtsp://admin:${DOCK}@cam/a", {"DOCK": "s3cret"})
    'rtsp://admin:s3cret@cam/a'
    """
    values = os.environ if environment is None else environment

    def look_up(match: re.Match[str]) -> str:
        name = match[2]
        if match[1]:
            return _read(Path(name))
        if name not in values:
            raise UsageError(f"${{{name}}}: no such environment variable; set it, or name a file: ${{file:PATH}}")
        return values[name]

    return _REFERENCE.sub(look_up, text)


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
