"""Who may read: those who know the token, or programs of this machine where there is none."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

COOKIE: Final = "watchline_session"
SESSION_S: Final = 12 * 3600
OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MOST_WRONG, _WRONG_OVER_S = 10, 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read.

    Attributes:
        token: what a client must know; "" for nothing.
        hosts: names under which this server may be called, lower case; None for any. Where no token is asked for, a
            foreign page could otherwise reach it by a name of its own that leads here.
        secure: clients reach it by TLS, here or at a proxy, so that cookies may demand it.
        untold: paths that ask for no token.
    """

    token: str = field(default="", repr=False)
    hosts: frozenset[str] | None = OWN_NAMES
    secure: bool = False
    untold: frozenset[str] = frozenset()


class Doorkeeper:
    """Knows who may come in. Safe to share between threads.

    A session is a time and our signature under it, so that nothing is kept and nothing grows; the key lives as long as
    the process.
    """

    def __init__(self, access: Access) -> None:
        self.access = access
        self._token = _digest(access.token)
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._wrong: deque[float] = deque(maxlen=_MOST_WRONG)

    def is_token(self, given: str) -> bool:
        """Returns whether `given` is the token, in the same time whatever it is."""
        return bool(self.access.token) & hmac.compare_digest(_digest(given), self._token)

    def login(self, given: str) -> bool:
        """Returns whether `given` is the token, and takes note where it is not."""
        if self.is_token(given):
            return True
        with self._lock:
            self._wrong.append(time.monotonic())
        return False

    def wait_s(self) -> float:
        """Returns for how long nobody may try to log in, for too many tries were wrong; seconds."""
        with self._lock:
            if len(self._wrong) < _MOST_WRONG:
                return 0.0
            return max(0.0, self._wrong[0] + _WRONG_OVER_S - time.monotonic())

    def session(self) -> str:
        """Returns the cookie of one who knew the token."""
        until = str(int(time.time()) + SESSION_S)
        return f"{until}.{self._signature(until)}"

    def is_session(self, cookie: str) -> bool:
        """Returns whether `cookie` is one of ours, and still good."""
        until, _, signature = cookie.partition(".")
        if not hmac.compare_digest(_digest(signature), _digest(self._signature(until))):
            return False
        return until.isdecimal() and int(until) > time.time()

    def knows_host(self, host: str) -> bool:
        """Returns whether this server may be called by the name in a Host header."""
        hosts = self.access.hosts
        return hosts is None or _without_port(host).lower() in hosts

    def _signature(self, until: str) -> str:
        return hmac.new(self._key, until.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
