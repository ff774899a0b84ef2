"""Answers in numbers and words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from anyio import to_thread
from fastapi import HTTPException
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, Response

from watchline.pipeline.metrics.page import CONTENT_TYPE
from watchline.pipeline.web import answers
from watchline.pipeline.web.large import LargeAnswer, Places
from watchline.pipeline.web.sources import Sources

CameraId = Annotated[
    str,
    InPath(description="Its name in the site.", min_length=1, max_length=80, pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$"),
]


class Readings:
    """What programs ask for.

    Args:
        sources: where the answers come from.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._status = sources.status
        self._places = Places()

    @property
    def has_metrics(self) -> bool:
        """Whether Prometheus is answered."""
        return self._sources.metrics is not None

    async def metrics(self) -> Response:
        """Answers Prometheus."""
        if self._sources.metrics is None:
            raise HTTPException(404, "this site shows no metrics")
        return await self._large(self._sources.metrics, CONTENT_TYPE)

    async def alive(self) -> Response:
        """Says whether the daemon is alive; it needs no thread, of which there might be none left."""
        wrong = self._sources.ailing()
        told = answers.Alive(alive=not wrong, detail=wrong)
        return JSONResponse(told.model_dump(), 503 if wrong else 200)

    def ready(self) -> Response:
        """Says whether each camera advanced lately, and which did not and why."""
        told = answers.readiness(self._status(), self._sources.patience_s, self._sources.absent())
        return JSONResponse(told.model_dump(), 200 if told.ready else 503)

    async def cameras(self) -> Response:
        """Tells of all cameras and detectors."""
        return await self._large(self._cameras, "application/json")

    def camera(self, camera: CameraId) -> Response:
        """Tells of one camera."""
        status = self._status()
        if camera not in status.lanes:
            raise HTTPException(404, f'there is no camera "{camera}"')
        told = answers.camera(status.lanes[camera], status, self._sources.patience_s)
        return Response(told.model_dump_json(), media_type="application/json")

    def _cameras(self) -> bytes:
        status, patience_s = self._status(), self._sources.patience_s
        sightings = self._sources.sightings()
        told = answers.Cameras(
            site=self._sources.site,
            version=self._sources.version,
            cameras=[answers.camera(lane, status, patience_s) for lane in status.lanes.values()],
            detectors=[answers.detector(pool) for pool in status.pools.values()],
            sightings=answers.sightings(sightings) if sightings is not None else None,
        )
        return told.model_dump_json().encode()

    async def _large(self, made: Callable[[], bytes], media_type: str) -> Response:
        self._places.take()
        try:
            return LargeAnswer(self._places, await to_thread.run_sync(made), media_type)
        except BaseException:
            self._places.give_back()
            raise
