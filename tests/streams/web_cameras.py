"""Cameras that speak HTTP or RTMP, one of each kind, for tests that ask the same of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.clips import read_number
from tests.kit.rtmp_server import RtmpServer, make_tags
from tests.kit.web_server import Certificate, WebServer, write_hls, write_jpegs
from tests.streams.connections import Seen

FPS = 25
FRAMES = 250
Kind = Literal["mjpeg", "hls", "fmp4", "rtmp"]


class Content:
    """What the cameras show, made once for all tests."""

    def __init__(self, folder: Path) -> None:
        self.jpegs = write_jpegs(100)
        self.tags = make_tags(FRAMES, FPS)
        self.hls = write_hls(folder / "ts", FRAMES, FPS)
        self.fmp4 = write_hls(folder / "fmp4", FRAMES, FPS, fmp4=True)


@dataclass(frozen=True)
class WebCamera:
    """One camera, its faults, and how to ask for it."""

    kind: Kind
    server: WebServer | RtmpServer

    def url(self, credentials: str = "") -> str:
        """Returns its address; `credentials` is `user:password`, or empty."""
        if isinstance(self.server, RtmpServer):
            return self.server.url_with(credentials, "cam?key=canary")
        return self.server.url(f"{'/mjpeg' if self.kind == 'mjpeg' else '/hls/live.m3u8'}?key=canary", credentials)

    def elsewhere(self) -> str:
        """Returns an address at which it shows nothing."""
        return self.url().replace("/mjpeg", "/none").replace("live.m3u8", "none.m3u8").replace("cam?", "none?")

    def ask_for_password(self, how: Literal["basic", "digest"]) -> None:
        """Lets in `operator` with `s3cret` only; RTMP knows one way only."""
        if isinstance(self.server, RtmpServer):
            self.server.password = "s3cret"
        else:
            self.server.auth = how

    def end(self) -> None:
        """Ends the stream soon, as the camera would."""
        if isinstance(self.server, RtmpServer):
            self.server.end_after_s = 0.5
        else:
            self.server.ended, self.server.end_after = True, 15


@contextmanager
def web_camera(kind: Kind, content: Content, certificate: Certificate | None = None) -> Iterator[WebCamera]:
    """Runs a camera of `kind`; with a certificate it encrypts."""
    if kind == "rtmp":
        with RtmpServer(FRAMES, FPS, certificate, content.tags) as rtmp:
            yield WebCamera(kind, rtmp)
    else:
        hls = None if kind == "mjpeg" else content.fmp4 if kind == "fmp4" else content.hls
        with WebServer(content.jpegs, FPS, hls, certificate) as web:
            yield WebCamera(kind, web)


def numbers(seen: list[Seen]) -> list[int]:
    """Returns the numbers in the pictures of these cameras."""
    return [read_number(one.picture.rgb()) for one in seen]


def follow_on(found: list[int]) -> bool:
    """Returns whether each number is one more than the one before."""
    return found == list(range(found[0], found[0] + len(found)))
