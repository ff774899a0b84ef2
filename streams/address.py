"""Where a camera is: an address of an allowed kind, whose password is never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, unquote

from watchline.streams.errors import UsageError
from watchline.streams.redact import HIDDEN, redact

MAX_CHARACTERS = 2048
DEFAULT_PORTS = MappingProxyType(
    {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}  # IANA
)
_DEVICE = re.compile(r"/dev/video[0-9]{1,4}")
_LABEL = r"[0-9a-zA-Z_](?:[0-9a-zA-Z_-]{0,61}[0-9a-zA-Z_])?"
_HOST = re.compile(rf"\[[0-9a-fA-F:.%a-z]+\]|{_LABEL}(?:\.{_LABEL})*\.?")


class Kind(StrEnum):
    """What stands behind an address."""

    RTSP = "rtsp"
    HTTP = "http"  # MJPEG, HLS, or any stream that FFmpeg knows
    RTMP = "rtmp"
    DEVICE = "device"  # a camera on this machine, by Video4Linux
    FILE = "file"  # a recording or a folder of images, played as if it were live


_KINDS = MappingProxyType(
    {
        "rtsp": Kind.RTSP,
        "rtsps": Kind.RTSP,
        "http": Kind.HTTP,
        "https": Kind.HTTP,
        "rtmp": Kind.RTMP,
        "rtmps": Kind.RTMP,
        "v4l2": Kind.DEVICE,
        "file": Kind.FILE,
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    """One camera's address, taken apart. `str()` and `repr()` of it hide user, password and tokens.

    Attributes:
        kind: what stands behind it.
        scheme: "rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "v4l2" or "file".
        host: name or number, an IPv6 one in brackets; empty for files and devices.
        port: TCP port; 0 for files and devices.
        path: what follows the host, with its query; for files and devices the path on this machine.
        user: plain; empty where there is none.
        password: plain; empty where there is none.
    """

    kind: Kind
    scheme: str
    host: str
    port: int
    path: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Returns the address that `text` writes out; a plain path is a file, /dev/videoN a device.

        Raises:
            UsageError: not an address of an allowed kind; the sentence holds no credentials.

        >>> str(Address.parse("rtsp://admin:secret@cam-7/h264"))
        'rtsp://***@cam-7:554/h264'
        """
        if not text or len(text) > MAX_CHARACTERS or any(ord(letter) < 33 and letter != " " for letter in text):
            raise UsageError(
                f"camera address {redact(text[:60])!r}: want 1 to {MAX_CHARACTERS} characters, no control characters"
            )
        scheme, found, rest = text.partition("://")
        scheme = scheme.lower()
        if not found:
            return cls._local(text)
        if scheme not in _KINDS:
            allowed = ", ".join(f"{name}://" for name in _KINDS)
            raise UsageError(f"camera address {scheme}://...: {scheme}:// is not allowed; use one of {allowed}")
        if _KINDS[scheme] in (Kind.FILE, Kind.DEVICE):
            return cls._local(unquote(rest) if scheme == "file" else rest)
        return cls._remote(scheme, rest)

    @classmethod
    def _local(cls, path: str) -> Address:
        if _DEVICE.fullmatch(path):
            return cls(Kind.DEVICE, "v4l2", "", 0, path)
        if path.startswith("/dev/"):
            raise UsageError(f"camera address {path!r}: want a camera device, as /dev/video0")
        return cls(Kind.FILE, "file", "", 0, path)

    @classmethod
    def _remote(cls, scheme: str, rest: str) -> Address:
        end = next((index for index, letter in enumerate(rest) if letter in "/?#"), len(rest))
        authority, path = rest[:end], rest[end:]
        userinfo, found, host_port = authority.rpartition("@")
        if not found and "@" in path:
            raise UsageError(
                f"camera address {scheme}://{HIDDEN}: / ? # in a user name or password are written %2F %3F %23"
            )
        user, _, password = userinfo.partition(":")
        host, port = _host_and_port(scheme, host_port)
        return cls(_KINDS[scheme], scheme, host, port, path, unquote(user), unquote(password))

    @property
    def url(self) -> str:
        """The whole address, with user and password: for the library that connects, and for nobody else."""
        if not self.host:
            return self.path
        userinfo = quote(self.user, safe="")
        if self.password:
            userinfo += ":" + quote(self.password, safe="")
        return f"{self.scheme}://{userinfo + '@' if userinfo else ''}{self.host}:{self.port}{self.path}"

    def redact(self, text: str) -> str:
        """Returns `text` without credentials, those of this address above all."""
        return redact(text, (self.password,))

    def __str__(self) -> str:
        return redact(self.url) if self.host else self.path

    def default_name(self) -> str:
        """Returns a camera name made of the host and path, or of the file's name.

        >>> Address.parse("rtsp://cam-7/stream/1").default_name(), Address.parse("yard.mp4").default_name()
        ('cam-7-stream-1', 'yard')
        """
        if not self.host:
            return Path(self.path).stem or "camera"
        bare = self.path.partition("?")[0].partition("#")[0]
        return re.sub(r"[^0-9a-zA-Z._]+", "-", f"{self.host.strip('[]')}{bare}").strip("-")[:80]


def _host_and_port(scheme: str, text: str) -> tuple[str, int]:
    host, found, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not found:
        host, port = text, str(DEFAULT_PORTS[scheme])
    if not _HOST.fullmatch(host):
        raise UsageError(f"camera address {scheme}://...: holds no host name; write {scheme}://HOST:PORT/PATH")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        # It may be a part of a password that holds a slash, so it is not shown.
        raise UsageError(f"camera address {scheme}://{host}: the port after the colon is no number from 1 to 65535")
    return host, int(port)
