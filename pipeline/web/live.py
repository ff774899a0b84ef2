"""Live pictures as motion JPEG: one answer that does not end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from watchline.pipeline.web.sources import Pictures, Watch

_BOUNDARY: Final = "picture"
MJPEG: Final = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
_HEED_S: Final = 0.5  # within which the end of the daemon is noticed


class LivePictures(Response):
    """Sends each new picture of a camera for as long as the client takes them.

    The next one is fetched once the one before is on its way, so that a slow client gets fewer of them, and one that
    reads nothing holds one picture. No thread waits for it.

    Args:
        pictures: where they come from.
        camera: whose they are.
        wanted: whether to go on; asked now and then.

    Raises:
        UsageError: too many look already, or there is no such camera.
    """

    def __init__(self, pictures: Pictures, camera: str, wanted: Callable[[], bool]) -> None:
        super().__init__(media_type=MJPEG)
        del self.headers["content-length"]
        self._wanted = wanted
        self._turn = asyncio.Event()  # a picture came, or the camera or the client went
        loop = asyncio.get_running_loop()

        def notify() -> None:
            loop.call_soon_threadsafe(self._turn.set)

        self._watch: Watch = pictures.watch(camera, notify)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends them."""
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: self._turn.set())
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if not scope.get("head"):
                await self._send_pictures(send, gone)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self._watch.close()

    async def _send_pictures(self, send: Send, gone: asyncio.Task[None]) -> None:
        # The line that parts two pictures is sent behind the first of them: a browser shows a picture when it sees it.
        parting, number = f"--{_BOUNDARY}\r\n".encode(), 0
        await send({"type": "http.response.body", "body": parting, "more_body": True})
        while self._wanted() and not gone.done() and not self._watch.ended:
            self._turn.clear()
            picture = self._watch.next(number, 0)
            if picture is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._turn.wait(), _HEED_S)
                continue
            number = picture.number
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.data)}\r\n\r\n".encode()
            body = b"".join((head, picture.data, b"\r\n", parting))
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Returns once the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
