"""Where a camera is: an address of an allowed kind, whose password is never shown."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, unquote

from watchline.streams.errors import UsageError
from watchline.streams.redact import HIDDEN, redact, redact_path

MAX_CHARACTERS = 2048
DEFAULT_PORTS = MappingProxyType(
    {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}  # IANA
)
MAX_NAME_CHARACTERS = 70  # a number may follow
_DEVICE = re.compile(r"/dev/video[0-9]{1,4}")
_LABEL = r"[0-9a-zA-Z_](?:[0-9a-zA-Z_-]{0,61}[0-9a-zA-Z_])?"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,15}")
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


@dataclass(frozen=True, slots=True, repr=False)
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
    user: str = ""
    password: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Returns the address that `text` writes out; a plain path is a file, /dev/videoN a device.

        Raises:
            UsageError: not an address of an allowed kind; the sentence holds no credentials.

        >>> str(Address.parse("rtsp://admin:secret@cam-7/h264"))
        'rtsp://***@cam-7:554/h264'
        """
        if not text or len(text) > MAX_CHARACTERS or any(ord(letter) < 33 and letter != " " for letter in text):
            # None of the text is shown: where it is cut or broken, credentials can no more be told from the rest.
            raise UsageError(f"a camera's address: want 1 to {MAX_CHARACTERS} characters, no control characters")
        scheme, found, rest = text.partition("://")
        scheme = scheme.lower()
        if not found:
            _refuse_half_an_address(text)
            return cls._local(text)
        if scheme not in _KINDS:
            allowed = ", ".join(f"{name}://" for name in _KINDS)
            if not _SCHEME.fullmatch(scheme):
                raise UsageError(f"a camera's address: it must begin with one of {allowed}")
            raise UsageError(f"camera address {scheme}://...: {scheme}:// is not allowed; use one of {allowed}")
        if scheme == "file":
            rest = unquote(rest)
            return cls._local(rest[len("localhost") :] if rest.lower().startswith("localhost/") else rest)
        return cls._local(rest) if scheme == "v4l2" else cls._remote(scheme, rest)

    @classmethod
    def _local(cls, path: str) -> Address:
        if _DEVICE.fullmatch(path):
            return cls(Kind.DEVICE, "v4l2", "", 0, path)
        if path.startswith("/dev/"):
            raise UsageError("camera address /dev/...: want a camera device, as /dev/video0")
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
        userinfo = ""
        if self.user or self.password:  # with a colon always: without one FFmpeg sends no user name at all
            userinfo = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return f"{self.scheme}://{userinfo}{self.host}:{self.port}{self.path}"

    def redact(self, text: str) -> str:
        """Returns `text` without credentials, those of this address above all."""
        if self.host and len(self.path) > 1:
            text = text.replace(self.path, self._hidden_path())
        return redact(text, (self.password,))

    def __str__(self) -> str:
        if not self.host:
            return self.path
        userinfo = f"{HIDDEN}@" if self.user or self.password else ""
        return f"{self.scheme}://{userinfo}{self.host}:{self.port}{self._hidden_path()}"

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def _hidden_path(self) -> str:
        """Returns the path without credentials; the last part of an RTMP one is the key to the stream."""
        if self.kind is not Kind.RTMP:
            return redact_path(self.path)
        before, found, key = self.path.partition("?")[0].rstrip("/").rpartition("/")
        return f"{redact_path(before)}/{HIDDEN}" if found and key else redact_path(self.path)

    def default_name(self) -> str:
        """Returns a camera name made of the host and path, or of the file's name, and of nothing that is secret.

        >>> Address.parse("rtsp://cam-7/stream/1").default_name(), Address.parse("my yard.mp4").default_name()
        ('cam-7-stream-1', 'my-yard')
        """
        if self.host:
            shown = re.sub(rf"[\w.-]*=?{re.escape(HIDDEN)}", "", self._hidden_path())
            text = f"{self.host}{shown.partition('?')[0].partition('#')[0]}"
        else:
            text = Path(self.path).stem
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        name = re.sub(r"[._-]*-[._-]*", "-", re.sub(r"[^0-9a-zA-Z._-]+", "-", plain))
        return name.lstrip("._-")[:MAX_NAME_CHARACTERS].rstrip("._-") or "camera"


def _refuse_half_an_address(text: str) -> None:
    """Raises UsageError where `text`, which has no ://, is no path but an address that was mistyped."""
    scheme, colon, _ = text.partition(":")
    if colon and scheme.lower() in _KINDS:
        raise UsageError(f"camera address {scheme.lower()}:...: two slashes must follow; write {scheme.lower()}://")
    if ":" in text.rpartition("@")[0] and not text.startswith(("/", "./", "../", "~")):
        raise UsageError(
            "a camera's address: a user name and password without rtsp:// before them; write that, or ./NAME for a "
            "file whose name is so"
        )


def _host_and_port(scheme: str, text: str) -> tuple[str, int]:
    host, found, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not found:
        host, port = text, str(DEFAULT_PORTS[scheme])
    if not _HOST.fullmatch(host):
        raise UsageError(f"camera address {scheme}://...: holds no host name; write {scheme}://HOST:PORT/PATH")
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        # They may be a user name and a part of a password that holds a slash, so neither is shown.
        raise UsageError(f"camera address {scheme}://...: the port after the colon is no number from 1 to 65535")
    return host, int(port)
