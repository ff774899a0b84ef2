"""What stands before every answer: who may read, how much may be sent, and the headers that keep browsers safe."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watchline.pipeline.web.access import COOKIE, Doorkeeper
from watchline.streams.redact import redact

_log = logging.getLogger(__name__)

MOST_BODY_BYTES: Final = 4096
_OPEN: Final = ("/login", "/logout", "/static/")  # forms and looks; they tell nothing of the site
_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets a request through to `app`, or answers it.

    Args:
        app: what answers.
        door: who may read.
    """

    def __init__(self, app: ASGIApp, door: Doorkeeper) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        out = _Answering(send, head=scope["method"] == "HEAD")
        refusal = self._refusal(scope)
        try:
            if refusal is not None:
                await out.refuse(*refusal)
            elif out.head:  # answered as GET, without what follows the headers
                await self._app({**scope, "method": "GET", "head": True}, receive, out)
            else:
                await self._app(scope, receive, out)
        except Exception as error:  # noqa: BLE001  # a defect: it must neither end the server nor tell a client of itself
            _log.error("%s: %s: %s", scope["path"], type(error).__name__, redact(str(error)))
            if not out.started:
                await out.refuse(500, "internal error; the log says more", {})

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        """Returns status, sentence and headers for a request that gets no other answer."""
        headers, path = Headers(scope=scope), scope["path"]
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length[:99]) > MOST_BODY_BYTES:
            return 413, f"want a body of at most {MOST_BODY_BYTES} bytes", {"connection": "close"}
        if path == "/healthz":
            return None
        if not self._door.knows_host(headers.get("host", "")):
            return 403, "this server is not known by that host name; call it as 127.0.0.1 or set a token", {}
        access = self._door.access
        if not access.token or path in access.untold or path.startswith(_OPEN) or self._is_known(headers):
            return None
        if path == "/":
            return 303, "log in first", {"location": "login"}
        return 401, "want the header: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._door.is_token(given.strip())
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return COOKIE in cookies and self._door.is_session(cookies[COOKIE].value)


class _Answering:
    """Sends an answer with the headers that all have; only the headers, where `head` says so."""

    def __init__(self, send: Send, *, head: bool) -> None:
        self._send = send
        self.head = head
        self.started = self._ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        elif self.head:
            if self._ended:
                return
            self._ended = True
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def refuse(self, status: int, sentence: str, more: Mapping[str, str]) -> None:
        """Sends a sentence as JSON."""
        body = json.dumps({"detail": sentence}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **more}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self({"type": "http.response.start", "status": status, "headers": raw})
        await self({"type": "http.response.body", "body": body})
