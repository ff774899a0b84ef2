"""What must be on this machine for a site to run: secrets, tokens, certificates; and who else may read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from watchline.pipeline.site.document import Document
from watchline.pipeline.site.problems import Path as KeyPath
from watchline.pipeline.site.problems import Problem, written
from watchline.pipeline.site.references import hidden
from watchline.pipeline.site.settings import camera_settings
from watchline.pipeline.site.site import Site
from watchline.streams.errors import UsageError

LEAST_TOKEN_CHARACTERS = 16
_MOST_TOKEN_BYTES = 4096


def read_token(path: Path) -> str:
    """Returns the bearer token that a file holds, without the line end behind it.

    Raises:
        UsageError: it cannot be read, or is too short, too long, or no plain word; never shows what it holds.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe, say, would be waited for
            raise UsageError(f"{path}: is no file; name one that holds a token")
        with path.open("rb") as file:
            content = file.read(_MOST_TOKEN_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the name and permissions") from error
    token = content.rstrip(b"\r\n").decode("ascii", "replace")
    if len(token) < LEAST_TOKEN_CHARACTERS or len(content) > _MOST_TOKEN_BYTES:
        mend = f"`openssl rand -hex 32 > {path.name}` makes a good one"
        raise UsageError(f"{path}: want a token of {LEAST_TOKEN_CHARACTERS} characters or more, nothing else; {mend}")
    if not all("!" <= letter <= "~" for letter in token):
        raise UsageError(f"{path}: want one token of plain letters, digits and signs, without spaces")
    return token


def problems_on_this_machine(site: Site, document: Document, environment: Mapping[str, str]) -> Iterator[Problem]:
    """Yields what keeps a site, which is right by itself, from running here."""

    def problem(path: KeyPath, message: str) -> Problem:
        return Problem(document.place(path), written(path), message)

    for index, camera in enumerate(site.cameras):
        try:
            camera_settings(site, camera, environment)
        except UsageError as error:
            about_lossless = "lossless is for files" in str(error)
            yield problem(("cameras", index, "lossless" if about_lossless else "url"), str(error))
        if camera.tls_authorities is not None and not _readable(camera.tls_authorities):
            yield problem(("cameras", index, "tls_authorities"), f"{camera.tls_authorities}: no file that can be read")
    if site.http.token_file is not None:
        try:
            read_token(site.http.token_file)
        except UsageError as error:
            yield problem(("http", "token_file"), str(error))
    if site.http.tls is not None:
        for key in ("certificate", "key"):
            path: Path = getattr(site.http.tls, key)
            if not _readable(path):
                yield problem(("http", "tls", key), f"{path}: no file that can be read; check the name and permissions")


def warnings_of(site: Site, path: Path) -> tuple[str, ...]:
    """Returns sentences on what works and should not stay as it is; `path` is the site's file."""
    return tuple(_warnings(site, path))


def _warnings(site: Site, path: Path) -> Iterator[str]:
    with_secrets = [camera.id for camera in site.cameras if _holds_secrets(camera.url)]
    if with_secrets and _open_to_others(path):
        named = ", ".join(with_secrets[:5]) + (", ..." if len(with_secrets) > 5 else "")
        yield f"{path}: holds passwords ({named}) and others can read it; chmod 600 it, or name them: ${{NAME}}"
    secret_files = [("http.token_file", site.http.token_file)]
    if site.http.tls is not None:
        secret_files.append(("http.tls.key", site.http.tls.key))
    for key, file in secret_files:
        if file is not None and _open_to_others(file):
            yield f"{key}: {file}: others on this machine can read it; chmod 600 it"
    first: dict[str, str] = {}
    for camera in site.cameras:
        other = first.setdefault(camera.url, camera.id)
        if other != camera.id:
            yield f"cameras {other} and {camera.id} have the same address; each is read and analysed by itself"


def _holds_secrets(url: str) -> bool:
    try:
        return "***" in hidden(url) and "***" not in url
    except UsageError:
        return True


def _readable(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except OSError:  # a folder on the way that may not be entered, say
        return False


def _open_to_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH) and os.name == "posix"
    except OSError:
        return False
