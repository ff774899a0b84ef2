"""A file server with a will of its own, and files to fetch from it."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from watchline.detectors.catalog import Entry, Kind, UpstreamSource, UrlSource, WheelSource
from watchline.detectors.fetch import fetch
from watchline.detectors.sources import Limits
from watchline.streams.errors import ModelError

CONTENT = random.Random(7).randbytes(300_000)
QUICK = Limits(first_byte_s=0.5, stall_s=0.3, total_s=5, pip_s=60)


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's `answer` says."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range", "")))
        self.server.authorizations.append(self.headers.get("Authorization", ""))
        self.server.answer(self)

    def log_message(self, *_: object) -> None:
        """Keeps the test output clean."""

    def whole(self, content: bytes, stated: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if stated is None else stated))
        self.end_headers()
        self.wfile.write(content)

    def ranged(self, content: bytes = CONTENT) -> None:
        start = self.start()
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])
        return None

    def silence(self) -> None:
        self.server.released.wait()

    def start(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


class Server(ThreadingHTTPServer):
    """A server on a port of its own. `asked` holds each (path, Range header); `released` is set when the test ends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Callable[[Handler], None] = lambda handler: handler.whole(CONTENT)
        self.asked: list[tuple[str, str]] = []
        self.authorizations: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of these tests."""


@dataclass
class Desk:
    """What `fetch` showed."""

    progress: list[tuple[int, int]]
    said: list[str]

    def show(self, done: int, total: int) -> None:
        self.progress.append((done, total))


def entry(*sources: UpstreamSource, content: bytes = CONTENT) -> Entry:
    digest = hashlib.sha256(content).hexdigest()
    return Entry(
        name="tiny",
        kind=Kind.CLIP,
        description="random bytes",
        file="tiny.bin",
        size_bytes=len(content),
        sha256=digest,
        licence="CC0-1.0",
        licence_url="https://example.org/licence",
        notice="Free for all.",
        sources=sources,
    )


def at(server: Server, path: str = "/tiny.bin") -> Entry:
    return entry(UrlSource(server.url + path))


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dead() -> UrlSource:
    return UrlSource(f"http://127.0.0.1:{closed_port()}/tiny.bin")


def partly(cache: Path, content: bytes) -> Path:
    cache.mkdir(parents=True)
    part = cache / "tiny.bin.part"
    part.write_bytes(content)
    return part


def seconds_to_fail(source: Entry, cache: Path, reason: str, limits: Limits = QUICK) -> float:
    begun = time.monotonic()
    with pytest.raises(ModelError, match=reason):
        fetch(source, cache, limits=limits)
    return time.monotonic() - begun


def make_wheel(folder: Path, content: bytes = CONTENT) -> None:
    name = "watchline_tiny-1.0"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("watchline_tiny/tiny.bin", content)
        wheel.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: watchline-tiny\nVersion: 1.0\n")
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")


def in_wheel(version: str = "1.0", member: str = "watchline_tiny/tiny.bin") -> WheelSource:
    return WheelSource(f"watchline-tiny=={version}", member)
