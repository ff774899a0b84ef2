"""The pages for people."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader

from watchline.pipeline.web.access import COOKIE, SESSION_S, Doorkeeper
from watchline.pipeline.web.guard import MOST_BODY_BYTES
from watchline.pipeline.web.sources import Sources

_TEMPLATES: Final = Path(__file__).parent / "templates"
_BODY_S: Final = 5.0  # within which a form has to be sent


class Pages:
    """The status page and the form before it.

    Args:
        sources: what the page tells of.
        door: who may see it.
    """

    def __init__(self, sources: Sources, door: Doorkeeper) -> None:
        self._sources = sources
        self._door = door
        environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
        self._page = environment.get_template("page.html.j2")
        self._form = environment.get_template("login.html.j2")

    async def overview(self) -> Response:
        """Shows all cameras; the numbers come by /api/cameras."""
        text = self._page.render(
            site=self._sources.site, version=self._sources.version, locked=bool(self._door.access.token)
        )
        return HTMLResponse(text)

    async def login_form(self) -> Response:
        """Asks for the token."""
        return self._ask("")

    async def login(self, request: Request) -> Response:
        """Lets one in who knows the token."""
        wait_s = self._door.wait_s()
        if wait_s:
            wait = math.ceil(wait_s)
            return self._ask(f"Too many wrong tokens. Try again in {wait} s.", 429, {"retry-after": str(wait)})
        try:
            async with asyncio.timeout(_BODY_S):
                body = await _body(request)
        except TimeoutError:
            return self._ask("The token did not come in time.", 408, {"connection": "close"})
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not self._door.login(given):
            return self._ask("That is not the token.", 401)
        answer = RedirectResponse("./", 303)
        answer.set_cookie(
            COOKIE,
            self._door.session(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=self._door.access.secure,
        )
        return answer

    async def logout(self) -> Response:
        """Forgets who was let in."""
        answer = RedirectResponse("login", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=self._door.access.secure)
        return answer

    def _ask(self, wrong: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        return HTMLResponse(self._form.render(site=self._sources.site, wrong=wrong), status, headers)


async def _body(request: Request) -> bytes:
    """Returns the body of a form, or the beginning of one that is too long to be ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            break
    return body[:MOST_BODY_BYTES]
