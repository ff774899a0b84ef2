"""A camera that speaks HTTP: motion JPEG, live HLS, passwords, TLS, and what servers do wrong.

One thread per client, on loopback. Faults are attributes of `WebServer`; they hold from the next request or picture on.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import av
import cv2

from tests.clips import draw
from tests.kit.require import skip_or_fail

MAX_CLIENTS = 64
MAX_REMEMBERED = 1000
STOP_S = 3.0
WIDTH, HEIGHT = 160, 120
REALM = "camera"
TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".m4s": "video/mp4", ".mp4": "video/mp4"}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate and its key, as PEM files."""

    certificate: Path
    key: Path


def make_certificate(folder: Path, address: str = "127.0.0.1") -> Certificate:
    """Makes a certificate for `address` that nobody vouches for; skips (or fails) the test without `openssl`."""
    if shutil.which("openssl") is None:
        skip_or_fail("no command 'openssl' here; install openssl")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}"]
    command += ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return made


def write_hls(
    folder: Path,
    frames: int = 250,
    fps: int = 25,
    segment_s: int = 1,
    fmp4: bool = False,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    codec: str = "libx264",
    b_frames: int = 0,
) -> Path:
    """Writes `live.m3u8` and segments, in MPEG-TS or fMP4, of pictures that carry their number; returns `folder`.

    Write as many frames as the test will watch: at the seam where they begin anew, FFmpeg's client loses some of fMP4.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = {"hls_time": str(segment_s), "hls_list_size": "0", "hls_playlist_type": "vod"}
    options["hls_segment_type"] = "fmp4" if fmp4 else "mpegts"
    options["hls_segment_filename"] = str(folder / f"part%03d.{'m4s' if fmp4 else 'ts'}")
    with av.open(str(folder / "live.m3u8"), "w", format="hls", options=options) as container:
        how = {"preset": "ultrafast", "crf": "20", "bf": str(b_frames)}
        how |= {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = cast("av.VideoStream", container.add_stream(codec, rate=fps, options=how))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = fps * segment_s, 1
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")))
        container.mux(stream.encode(None))
    return folder


def append_hls(folder: Path, others: Path) -> None:
    """Puts the segments of the folder `others`, in MPEG-TS, behind those of `folder`, with a discontinuity between."""
    lines = (folder / "live.m3u8").read_text().replace("#EXT-X-ENDLIST\n", "").splitlines()
    lines.append("#EXT-X-DISCONTINUITY")
    for line in (others / "live.m3u8").read_text().splitlines():
        if line.startswith("#EXTINF"):
            lines.append(line)
        elif line and not line.startswith("#"):
            shutil.copy(others / line, folder / f"other-{line}")
            lines.append(f"other-{line}")
    (folder / "live.m3u8").write_text("\n".join(lines) + "\n")


def write_jpegs(count: int = 25, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[bytes]:
    """Returns JPEGs of pictures that carry the numbers from 0."""
    encoded = (cv2.imencode(".jpg", draw(number, *size)[..., ::-1])[1] for number in range(count))
    return [picture.tobytes() for picture in encoded]


class WebServer:
    """Serves `/mjpeg` and, from a folder that `write_hls` filled, `/hls/live.m3u8` and what else is in it.

    Args:
        jpegs: the pictures of `/mjpeg`, shown in turn, over and over.
        fps: pictures a second.
        hls: a folder with `live.m3u8` and its segments; None serves none.
        certificate: makes it HTTPS.

    Attributes:
        auth: what it asks for; the answer must be `user` and `password`.
        status: answers every request with this status, 404 or 500 say; None answers properly.
        redirect: sends every client to this address, of any scheme.
        silent: sends the head of an answer and never a body, without an end.
        frozen: sends no more pictures, and the playlist grows no more; connections stay.
        end_after: ends each motion JPEG answer after so many pictures; None goes on for ever.
        ended: the playlist says that it has come to its end.
        body: answers every request with these bytes, whatever they are; None answers properly.
        boundary: of the parts of motion JPEG, as the head of the answer names it.
        requests: the last paths that were asked for, with the status of each answer.
    """

    def __init__(
        self,
        jpegs: Sequence[bytes] = (),
        fps: float = 25.0,
        hls: Path | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        self.jpegs, self.fps = tuple(jpegs), fps
        self.auth: Literal["none", "basic", "digest"] = "none"
        self.user, self.password = "operator", "s3cret"
        self.status: int | None = None
        self.redirect: str | None = None
        self.silent = False
        self.frozen = False
        self.end_after: int | None = None
        self.ended = False
        self.body: bytes | None = None
        self.boundary = "frame"
        self.requests: deque[tuple[str, int]] = deque(maxlen=MAX_REMEMBERED)
        self.playlist = None if hls is None else LivePlaylist(hls)
        self._last_playlist = ""
        self._hls = hls
        self._scheme = "http" if certificate is None else "https"
        self._nonce = secrets.token_hex(16)
        self._stopping = threading.Event()
        self._server = _Server(self, certificate)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="web-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join(STOP_S)
        self._server.server_close()
        self._server.end_clients()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def clients(self) -> int:
        """How many connections there are at this moment."""
        return len(self._server.open)

    def url(self, path: str, credentials: str = "") -> str:
        """Returns the address of `path`; `credentials` is `user:password`, or empty."""
        return f"{self._scheme}://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}{path}"

    def challenge(self) -> str:
        """Returns the header that asks for a password."""
        if self.auth == "basic":
            return f'Basic realm="{REALM}"'
        return f'Digest realm="{REALM}", nonce="{self._nonce}", algorithm=MD5, qop="auth"'

    def lets_in(self, method: str, header: str) -> bool:
        """Tells whether the request's Authorization header holds the right answer."""
        if self.auth == "none":
            return True
        if self.auth == "basic":
            right = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return header == f"Basic {right}"
        said = {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header)}
        if not header.startswith("Digest ") or said.get("nonce") != self._nonce:
            return False
        who, what = _md5(f"{self.user}:{REALM}:{self.password}"), _md5(f"{method}:{said.get('uri')}")
        middle = ":".join(said.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return said.get("username") == self.user and said.get("response") == _md5(f"{who}:{middle}:{what}")

    def wait(self, seconds: float) -> bool:
        """Waits, less long when the server ends; tells whether it goes on."""
        return not self._stopping.wait(max(0.0, seconds))

    def playlist_text(self) -> str:
        """Returns the playlist of this moment, or of the one in which it froze."""
        if self.playlist is None:
            return ""
        if not (self.frozen or self.ended) or not self._last_playlist:
            self._last_playlist = self.playlist.text(time.monotonic())
        return self._last_playlist + ("#EXT-X-ENDLIST\n" if self.ended else "")

    def file(self, name: str) -> Path | None:
        """Returns the segment of that name, if there is one."""
        known = {path.name: path for path in self._hls.iterdir()} if self._hls is not None else {}
        return known.get(name)


class LivePlaylist:
    """Makes a live playlist of a finished one: segments appear as time goes by, and old ones go.

    After the last one the first comes again behind a discontinuity, as from a camera that began anew.

    Args:
        folder: holds `live.m3u8`, as FFmpeg writes it with all segments in it.
        window: how many segments are listed at once.
    """

    def __init__(self, folder: Path, window: int = 4) -> None:
        lines = (folder / "live.m3u8").read_text().splitlines()
        self._map = next((line for line in lines if line.startswith("#EXT-X-MAP")), None)
        self._durations = [float(line[8:].split(",")[0]) for line in lines if line.startswith("#EXTINF:")]
        self._names = [line for line in lines if line and not line.startswith("#")]
        self._cuts = _cuts(lines)
        self._window = window
        self._start = time.monotonic() - sum(self._durations[:window])

    def text(self, now: float) -> str:
        """Returns the playlist as it is at `now`, a monotonic time."""
        count, first = len(self._names), max(0, self._finished(now - self._start) - self._window)
        lines = ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{int(max(self._durations) + 1)}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{first}", f"#EXT-X-DISCONTINUITY-SEQUENCE:{self._cuts_before(first)}"]
        lines += [self._map] if self._map else []
        for number in range(first, self._finished(now - self._start)):
            if number and (number % count == 0 or number % count in self._cuts):
                lines.append("#EXT-X-DISCONTINUITY")
            lines += [f"#EXTINF:{self._durations[number % count]:.6f},", self._names[number % count]]
        return "\n".join(lines) + "\n"

    def _cuts_before(self, first: int) -> int:
        """Returns how many discontinuities stood before segments that are gone."""
        rounds, rest = divmod(max(0, first - 1), len(self._names))
        return rounds * (1 + len(self._cuts)) + sum(cut <= rest for cut in self._cuts)

    def newest(self, now: float) -> int:
        """Returns the number of the newest segment at `now`, a monotonic time; the first one ever is 0."""
        return self._finished(now - self._start) - 1

    def _finished(self, elapsed_s: float) -> int:
        """Returns how many segments are finished after `elapsed_s`."""
        rounds, rest = divmod(elapsed_s, sum(self._durations))
        finished = 0
        for duration in self._durations:
            rest -= duration
            if rest < 0:
                break
            finished += 1
        return int(rounds) * len(self._durations) + finished


def _cuts(lines: list[str]) -> frozenset[int]:
    """Returns the numbers of the segments behind a discontinuity."""
    segments = 0
    cuts = set()
    for line in lines:
        if line.startswith("#EXT-X-DISCONTINUITY"):
            cuts.add(segments)
        segments += bool(line) and not line.startswith("#")
    return frozenset(cuts)


class _Server(HTTPServer):
    """Accepts, and gives each client a thread; a TLS handshake happens there, not in the way of the others."""

    def __init__(self, web: WebServer, certificate: Certificate | None) -> None:
        self.web = web
        self.open: dict[threading.Thread, socket.socket] = {}
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate.certificate, certificate.key)
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = super().get_request()
        if self._tls is not None:
            client = self._tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        return client, address

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self.open) >= MAX_CLIENTS:
            request.close()
            return
        thread = threading.Thread(target=self._serve, args=(request, client_address), name="web-client", daemon=True)
        self.open[thread] = request
        thread.start()

    def _serve(self, client: socket.socket, address: Any) -> None:
        try:
            with suppress(OSError):  # the client is gone
                self.finish_request(client, address)
        finally:
            self.shutdown_request(client)
            self.open.pop(threading.current_thread(), None)

    def end_clients(self) -> None:
        """Ends every connection and its thread."""
        threads = dict(self.open)
        for client in threads.values():
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(STOP_S)


class _Handler(BaseHTTPRequestHandler):
    """Answers one client's requests."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        web = cast(_Server, self.server).web
        if not web.lets_in("GET", self.headers.get("Authorization", "")):
            self._brief(401, {"WWW-Authenticate": web.challenge()})
        elif web.redirect is not None:
            self._brief(302, {"Location": web.redirect})
        elif web.status is not None:
            self._brief(web.status)
        elif web.silent:
            self._head(200, {"Content-Type": "video/mp2t"})
            while web.wait(0.05) and web.silent:
                pass
        elif web.body is not None:
            self._head(200, {"Content-Type": "text/html", "Content-Length": str(len(web.body))}, stays=True)
            self.wfile.write(web.body)
        elif self.path.partition("?")[0] == "/mjpeg" and web.jpegs:
            self._pictures(web)
        elif self.path.startswith("/hls/"):
            self._hls(web, self.path.removeprefix("/hls/").split("?")[0])
        else:
            self._brief(404)

    def log_message(self, *arguments: object) -> None:
        """Keeps quiet: `WebServer.requests` tells what was asked for."""

    def _pictures(self, web: WebServer) -> None:
        self._head(200, {"Content-Type": f"multipart/x-mixed-replace; boundary={web.boundary}"})
        start, number = time.monotonic(), 0
        while web.wait(start + number / web.fps - time.monotonic()) and number != web.end_after:
            if not web.frozen:
                jpeg = web.jpegs[number % len(web.jpegs)]
                head = f"--{web.boundary}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            number += 1

    def _hls(self, web: WebServer, name: str) -> None:
        found = web.file(name)
        if found is None or web.playlist is None:
            self._brief(404)
            return
        body = web.playlist_text().encode() if found.name == "live.m3u8" else found.read_bytes()
        suffix = ".m3u8" if body.startswith(b"#EXTM3U") else found.suffix
        kind = TYPES.get(suffix, "application/octet-stream")
        self._head(200, {"Content-Type": kind, "Content-Length": str(len(body))}, stays=True)
        self.wfile.write(body)

    def _brief(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._head(status, {"Content-Length": "0", **(headers or {})}, stays=True)

    def _head(self, status: int, headers: dict[str, str], stays: bool = False) -> None:
        cast(_Server, self.server).web.requests.append((self.path, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not stays:
            self.send_header("Connection", "close")
        self.end_headers()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
