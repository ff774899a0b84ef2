"""Answers in pictures."""

from __future__ import annotations

import threading
from typing import Final

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException
from fastapi.responses import Response

from watchline.pipeline.web.health import standstill
from watchline.pipeline.web.live import LivePictures
from watchline.pipeline.web.readings import CameraId
from watchline.pipeline.web.sources import Sources
from watchline.streams.camera import CameraState
from watchline.streams.errors import UsageError

_AT_ONCE: Final = 16
_MOST_WAITING: Final = 64
_SNAPSHOT_S: Final = 5.0


class Showing:
    """Pictures of cameras. Who waits for one does so in threads of its own, and takes none of those of the numbers.

    Args:
        sources: where they come from.
        closing: set when the daemon ends, and live pictures with it.
    """

    def __init__(self, sources: Sources, closing: threading.Event) -> None:
        self._sources = sources
        self._closing = closing
        self._status = sources.status
        self._waiting = 0
        self._threads = CapacityLimiter(_AT_ONCE)

    async def live(self, camera: CameraId) -> Response:
        """Shows a camera for as long as the client looks: motion JPEG."""
        await to_thread.run_sync(self._want_live, camera)
        try:
            return LivePictures(self._sources.pictures, camera, lambda: not self._closing.is_set())
        except UsageError as error:
            raise HTTPException(503, str(error)) from None

    async def snapshot(self, camera: CameraId) -> Response:
        """Shows the newest picture of a camera."""
        if self._waiting >= _MOST_WAITING:
            raise HTTPException(503, "too many clients wait for a picture; ask later")
        self._waiting += 1
        try:
            picture = await to_thread.run_sync(self._picture, camera, limiter=self._threads)
        finally:
            self._waiting -= 1
        return Response(picture, media_type="image/jpeg")

    def _picture(self, camera: str) -> bytes:
        self._want_live(camera)
        try:
            picture = self._sources.pictures.snapshot(camera, _SNAPSHOT_S)
        except UsageError as error:
            raise HTTPException(503, str(error)) from None
        if picture is None:
            raise HTTPException(503, f'camera "{camera}": no picture within {_SNAPSHOT_S:g} s')
        return picture.data

    def _want_live(self, camera: str) -> None:
        """Raises HTTPException where there is no such camera, or it gives no picture."""
        status = self._status()
        if camera not in status.lanes:
            raise HTTPException(404, f'there is no camera "{camera}"')
        lane = status.lanes[camera]
        if lane.ingest.state is not CameraState.LIVE:
            raise HTTPException(503, f'camera "{camera}": {standstill(lane, status, self._sources.patience_s)}')
