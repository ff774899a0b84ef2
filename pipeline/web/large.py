"""Answers of megabytes: sent in parts, and only so many at once."""

from __future__ import annotations

from typing import Final

from fastapi import HTTPException
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

MOST_AT_ONCE: Final = 16
_PART_BYTES: Final = 64 * 1024


class Places:
    """How many large answers are on their way. Used in the event loop alone.

    Args:
        most: of them at once; a client that reads nothing holds one until it is cut off.
    """

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._free = self._most = most

    def take(self) -> None:
        """Takes a place.

        Raises:
            HTTPException: there is none.
        """
        if not self._free:
            raise HTTPException(503, f"{self._most} clients have not read their answers yet; ask later")
        self._free -= 1

    def give_back(self) -> None:
        """Gives it back."""
        self._free += 1


class LargeAnswer(Response):
    """Sends a body part by part, as fast as the client reads, so that it is not copied; then gives its place back.

    Args:
        places: where one was taken.
        body: all of it.
        media_type: what it is.
    """

    def __init__(self, places: Places, body: bytes, media_type: str) -> None:
        super().__init__(media_type=media_type)
        self.headers["content-length"] = str(len(body))
        self._places, self._whole = places, memoryview(body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI
        """Sends it."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for start in range(0, len(self._whole), _PART_BYTES):
                part = bytes(self._whole[start : start + _PART_BYTES])
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._places.give_back()
