"""A camera that speaks RTMP: plays pictures that carry their number, in real time, over and over, to several clients.

PyAV cannot be such a server itself: it does not hand FFmpeg's option `listen` on when it writes. So PyAV makes the
FLV tags, and this file puts them into RTMP messages: the plain handshake, `connect`, `createStream`, `play`. A password
is asked for in the way of Adobe's servers, which both FFmpeg and GStreamer know.
"""

from __future__ import annotations

import base64
import hashlib
import io
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote

import av
import numpy as np

from tests.clips import draw
from tests.kit.web_server import Certificate

WIDTH, HEIGHT = 160, 120
HANDSHAKE_BYTES = 1536
CLIENT_CHUNK_BYTES = 128  # until the client says otherwise
OUR_CHUNK_BYTES = 1_000_000  # no message of ours is longer, so each is one chunk
MAX_MESSAGE_BYTES = 65_536
MAX_CLIENTS = 16
STOP_S = 3.0
SET_CHUNK_SIZE, USER_CONTROL, WINDOW, BANDWIDTH, DATA, COMMAND = 1, 4, 5, 6, 18, 20
STREAM_ID = 1
PICTURES = 9
SALT, CHALLENGE = "pepper", "c0ffee"
HEADER_BYTES = (11, 7, 3, 0)  # of a chunk, by its format
AmfObject = dict[str, str | float]


@dataclass(frozen=True, slots=True)
class Tag:
    """One message of an FLV file: its kind (8 sound, 9 pictures, 18 data), its time and its bytes."""

    kind: int
    time_ms: int
    body: bytes


def make_tags(frames: int, fps: int, gop: int = 25, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Tag]:
    """Returns `frames` numbered pictures as H.264 in FLV tags; the first of them describe the stream."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv", options={"flvflags": "no_duration_filesize"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = gop, 1
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")))
        container.mux(stream.encode(None))
    tags = _tags_of(file.getvalue())
    return [tag for tag in tags if tag.kind != PICTURES or tag.body[1] != 2]  # 2: the end, which never comes


def make_sound_tags(seconds: int) -> list[Tag]:
    """Returns silence as AAC in FLV tags, and no pictures."""
    file = io.BytesIO()
    with av.open(file, "w", format="flv", options={"flvflags": "no_duration_filesize"}) as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        for number in range(seconds * 44_100 // 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44_100, number * 1024
            container.mux(stream.encode(frame))
    return _tags_of(file.getvalue())


def _tags_of(data: bytes) -> list[Tag]:
    """Returns the tags of an FLV file."""
    at, tags = 13, []  # behind the file's head and the size of a tag that is not there
    while at + 11 <= len(data):
        size, low = int.from_bytes(data[at + 1 : at + 4]), int.from_bytes(data[at + 4 : at + 7])
        tags.append(Tag(data[at], data[at + 7] << 24 | low, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return tags


class RtmpServer:
    """Plays `rtmp://127.0.0.1:PORT/live/cam`; each client begins at picture 0.

    Args:
        frames: how many pictures come before the first one comes again.
        fps: pictures a second.
        certificate: makes it RTMPS.
        tags: what it plays instead of numbered pictures.

    Attributes:
        silent: takes connections, and says nothing.
        frozen: sends nothing more; connections stay.
        corrupt: sends pictures of which nothing can be made.
        end_after_s: closes each connection when it has played so long; None plays for ever.
        password: is asked for, with `user`; empty asks for none.
        refused: how many asked for another stream than `live/cam`.
        asked: the application and the stream that the last client named.
    """

    def __init__(
        self,
        frames: int = 250,
        fps: int = 25,
        certificate: Certificate | None = None,
        tags: list[Tag] | None = None,
    ) -> None:
        self.silent = self.frozen = self.corrupt = False
        self.end_after_s: float | None = None
        self.user, self.password = "operator", ""
        self.refused = 0
        self.asked = ("", "")
        self._tags = tags or make_tags(frames, fps)
        self._round_ms = round(frames * 1000 / fps)
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate.certificate, certificate.key)
        self._stopping = threading.Event()
        self._clients: dict[threading.Thread, socket.socket] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, name="rtmp-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        clients = dict(self._clients)
        for end in (self._listener, *clients.values()):
            with suppress(OSError):  # over already
                end.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *clients):
            thread.join(STOP_S)
        self._listener.close()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """The address of the stream."""
        return self.url_with()

    def url_with(self, credentials: str = "", stream: str = "cam") -> str:
        """Returns the address of `stream`; `credentials` is `user:password`, or empty."""
        scheme = "rtmp" if self._tls is None else "rtmps"
        return f"{scheme}://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}/live/{stream}"

    def change(self, tags: list[Tag]) -> None:
        """Plays other pictures from the next one on, as a camera does whose settings are changed."""
        self._tags = tags

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it was closed: the end
            if len(self._clients) >= MAX_CLIENTS:
                client.close()
                continue
            thread = threading.Thread(target=self._serve, args=(client,), name="rtmp-client", daemon=True)
            self._clients[thread] = client
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with plain, suppress(OSError, EOFError, ValueError, struct.error):  # the client is gone, or talks nonsense
                client = plain if self._tls is None else self._tls.wrap_socket(plain, server_side=True)
                with client:
                    self._talk(client)
        finally:
            self._clients.pop(threading.current_thread(), None)

    def _talk(self, client: socket.socket) -> None:
        while self.silent:
            if self._stopping.wait(0.02):
                return
        talk = _Talk(client)
        talk.shake_hands()
        self.asked = talk.agree(self._refusal)
        if tuple(name.partition("?")[0] for name in self.asked) == ("live", "cam"):
            talk.begin()
            self._play(talk)
        else:
            self.refused += 1
            talk.not_found()

    def _refusal(self, application: str) -> str:
        """Returns why the client must call again, with what stands behind its application; empty where it need not."""
        if not self.password:
            return ""
        said = dict(parse_qsl(application.partition("?")[2].replace("+", "%2B")))
        if not said:
            return "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : "
        once = _digest(self.user + SALT + self.password)
        if said.get("response") == _digest(once + CHALLENGE + said.get("challenge", "")):
            return ""
        reason = "authfailed" if "response" in said else "needauth"
        named = f"user={quote(said.get('user', ''))}&salt={SALT}&challenge={CHALLENGE}&opaque={CHALLENGE}"
        return f"[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason={reason}&{named}"

    def _play(self, talk: _Talk) -> None:
        start_s, begun_ms, at_ms, known = time.monotonic(), 0, 0, False
        while not self._stopping.is_set():
            playing = self._tags
            for tag in playing:
                if playing is not self._tags:
                    begun_ms, known = at_ms + 1000 // 25, False
                    break
                if known and (tag.kind == DATA or (tag.kind == PICTURES and tag.body[1] == 0)):
                    continue  # the description of the stream is sent once
                at_ms = begun_ms + tag.time_ms
                if self._stopping.wait(max(0.0, start_s + at_ms / 1000 - time.monotonic())):
                    return
                if self.end_after_s is not None and at_ms / 1000 >= self.end_after_s:
                    return
                if not self.frozen:
                    talk.send(tag.kind, self._body(tag), at_ms, STREAM_ID)
            else:
                begun_ms, known = begun_ms + self._round_ms, True

    def _body(self, tag: Tag) -> bytes:
        if not self.corrupt or tag.kind != PICTURES or tag.body[1] != 1:
            return tag.body
        body, at = bytearray(tag.body), 5
        while at + 5 < len(body):  # parts, each behind its length; their first byte says what they are
            end = at + 4 + int.from_bytes(body[at : at + 4])
            body[at + 5 : end] = bytes(end - at - 5)
            at = end
        return bytes(body)


class _Talk:
    """One client's side of the protocol."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._chunk_bytes = CLIENT_CHUNK_BYTES
        self._heads: dict[int, tuple[int, int]] = {}  # the length and kind of the message of each chunk stream
        self._parts: dict[int, bytes] = {}

    def shake_hands(self) -> None:
        """Answers the client's greeting; version 0 says that nothing is signed."""
        greeting = self._take(1 + HANDSHAKE_BYTES)
        self._client.sendall(b"\x03" + bytes(HANDSHAKE_BYTES) + greeting[1:])
        self._take(HANDSHAKE_BYTES)

    def agree(self, refusal: Callable[[str], str]) -> tuple[str, str]:
        """Answers until the client asks to play; returns the application and the stream that it asks for.

        Args:
            refusal: says of an application why it is refused; empty where it is not.
        """
        application = ""
        while True:
            kind, body = self._message()
            if kind == SET_CHUNK_SIZE:
                self._chunk_bytes = max(1, int.from_bytes(body[:4]))
            if kind != COMMAND:
                continue
            name, number, rest = _read_command(body)
            if name == "connect":
                application = _text_after(rest, b"\x00\x03app")
                if why := refusal(application):
                    said: AmfObject = {"level": "error", "code": "NetConnection.Connect.Rejected", "description": why}
                    self.send(SET_CHUNK_SIZE, struct.pack(">I", OUR_CHUNK_BYTES))
                    self.send(COMMAND, _amf("_error", number, None, said))
                    self._client.shutdown(socket.SHUT_WR)
                    while self._client.recv(4096):  # until the client has read it, and goes
                        pass
                    raise EOFError("refused")
                self._welcome(number)
            elif name == "createStream":
                self.send(COMMAND, _amf("_result", number, None, float(STREAM_ID)))
            elif name == "play":
                return application, _text_after(rest, b"\x05")

    def _welcome(self, number: float) -> None:
        self.send(WINDOW, struct.pack(">I", 2_500_000))
        self.send(BANDWIDTH, struct.pack(">IB", 2_500_000, 2))
        self.send(SET_CHUNK_SIZE, struct.pack(">I", OUR_CHUNK_BYTES))
        server: AmfObject = {"fmsVer": "FMS/3,5,7,7009", "capabilities": 31.0}
        said: AmfObject = {"level": "status", "code": "NetConnection.Connect.Success", "description": "welcome"}
        self.send(COMMAND, _amf("_result", number, server, said))

    def begin(self) -> None:
        """Says that the stream begins."""
        self.send(USER_CONTROL, struct.pack(">HI", 0, STREAM_ID))
        self._status("status", "NetStream.Play.Start")

    def not_found(self) -> None:
        """Says that there is no such stream."""
        self._status("error", "NetStream.Play.StreamNotFound")

    def _status(self, level: str, code: str) -> None:
        said: AmfObject = {"level": level, "code": code, "description": code}
        self.send(COMMAND, _amf("onStatus", 0.0, None, said), stream=STREAM_ID)

    def send(self, kind: int, body: bytes, at_ms: int = 0, stream: int = 0) -> None:
        """Sends one message, as one chunk with a full head."""
        head = bytes([4 if stream else 3]) + min(at_ms, 0xFFFFFF).to_bytes(3) + len(body).to_bytes(3)
        head += bytes([kind]) + stream.to_bytes(4, "little")
        head += at_ms.to_bytes(4) if at_ms >= 0xFFFFFF else b""
        self._client.sendall(head + body)

    def _message(self) -> tuple[int, bytes]:
        """Returns the kind and the bytes of the client's next message, put together from its chunks."""
        while True:
            first = self._take(1)[0]
            channel, form = first & 63, first >> 6
            if channel < 2:
                channel = 64 + int.from_bytes(self._take(channel + 1), "little")
            head = self._take(HEADER_BYTES[form])
            if form < 2:
                self._heads[channel] = int.from_bytes(head[3:6]), head[6]
            if form < 3 and head[:3] == b"\xff\xff\xff":
                self._take(4)
            size, kind = self._heads.get(channel, (MAX_MESSAGE_BYTES + 1, 0))
            if size > MAX_MESSAGE_BYTES or len(self._heads) > 64:
                raise EOFError("not the RTMP of a player")
            part = self._parts.pop(channel, b"")
            part += self._take(min(self._chunk_bytes, size - len(part)))
            if len(part) == size:
                return kind, part
            self._parts[channel] = part

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._client.recv(size - len(data))
            if not more:
                raise EOFError("the client is gone")
            data += more
        return data


def _amf(*values: str | float | AmfObject | None) -> bytes:
    """Returns the values in the Action Message Format, version 0."""
    out = b""
    for value in values:
        if value is None:
            out += b"\x05"
        elif isinstance(value, str):
            out += b"\x02" + _text(value)
        elif isinstance(value, dict):
            out += b"\x03" + b"".join(_text(key) + _amf(item) for key, item in value.items()) + b"\x00\x00\x09"
        else:
            out += b"\x00" + struct.pack(">d", value)
    return out


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


def _read_command(body: bytes) -> tuple[str, float, bytes]:
    """Returns a command's name, its number, and what follows."""
    size = int.from_bytes(body[1:3])
    number = struct.unpack(">d", body[4 + size : 12 + size])[0]
    return body[3 : 3 + size].decode(), number, body[12 + size :]


def _text_after(body: bytes, mark: bytes) -> str:
    """Returns the string value that stands behind `mark`; empty where there is none."""
    at = body.find(mark + b"\x02")
    if at < 0:
        return ""
    at += len(mark) + 1
    return body[at + 2 : at + 2 + int.from_bytes(body[at : at + 2])].decode(errors="replace")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.md5(text.encode(), usedforsecurity=False).digest()).decode()
