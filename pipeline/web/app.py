"""The HTTP interface: metrics, health, cameras, live pictures, and a page for people."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.staticfiles import StaticFiles

from watchline.pipeline.web import answers
from watchline.pipeline.web.access import Access, Doorkeeper
from watchline.pipeline.web.guard import Guard
from watchline.pipeline.web.live import MJPEG
from watchline.pipeline.web.pages import Pages
from watchline.pipeline.web.readings import Readings
from watchline.pipeline.web.showing import Showing
from watchline.pipeline.web.sources import RecentStatus, Sources

_Answers: TypeAlias = dict[int | str, dict[str, Any]]

_STATIC: Final = Path(__file__).parent / "static"
_EVERYONE: Final = Access()


def build_app(sources: Sources, access: Access = _EVERYONE) -> FastAPI:
    """Returns the application.

    Its `state.closing`, an event, ends all live pictures once it is set.

    Args:
        sources: what it reads.
        access: who may read it; by default who calls it by a name of this machine's own.
    """
    app = FastAPI(
        title="watchline",
        version=sources.version,
        description="A running site. Everything here only reads.",
        docs_url=None,  # these pages would load their scripts from elsewhere
        redoc_url=None,
    )
    app.state.closing = threading.Event()
    door = Doorkeeper(access)
    sources = replace(sources, status=RecentStatus(sources.status))
    refusals = _sentences({403: "Called by a foreign host name.", 413: "The body is too long."})
    if access.token:
        refusals |= _sentences({401: "The token is missing or wrong."})
    _add_readings(app, Readings(sources), refusals)
    _add_pictures(app, Showing(sources, app.state.closing), refusals)
    _add_pages(app, Pages(sources, door))
    app.add_middleware(Guard, door=door)
    return app


def _sentences(texts: dict[int, str]) -> _Answers:
    return {status: {"model": answers.Problem, "description": text} for status, text in texts.items()}


def _add_readings(app: FastAPI, readings: Readings, refusals: _Answers) -> None:
    large = refusals | _sentences({503: "Too many clients have not read their answers yet."})
    page: _Answers = {200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}}
    app.add_api_route(
        "/metrics", readings.metrics, response_class=Response, responses=large | page, summary="All metrics"
    )
    ailing: _Answers = {503: {"model": answers.Alive, "description": "It answers, but is not well."}}
    app.add_api_route(
        "/healthz",
        readings.alive,
        response_model=answers.Alive,
        responses=ailing | {413: refusals[413]},
        summary="Whether the daemon is alive",
    )
    waiting: _Answers = {503: {"model": answers.Readiness, "description": "Some camera did not advance."}}
    app.add_api_route(
        "/readyz",
        readings.ready,
        response_model=answers.Readiness,
        responses=refusals | waiting,
        summary="Whether each camera advanced lately",
    )
    app.add_api_route(
        "/api/cameras",
        readings.cameras,
        response_model=answers.Cameras,
        responses=large,
        summary="All cameras and detectors",
    )
    app.add_api_route(
        "/api/cameras/{camera}",
        readings.camera,
        response_model=answers.Camera,
        responses=refusals | _sentences({404: "There is no such camera."}),
        summary="One camera",
    )


def _add_pictures(app: FastAPI, showing: Showing, refusals: _Answers) -> None:
    faults = refusals | _sentences({404: "There is no such camera.", 503: "There is no picture now, and why."})
    for path, answer, media, summary in (
        ("/cameras/{camera}/live.mjpg", showing.live, MJPEG.partition(";")[0], "Live pictures"),
        ("/cameras/{camera}/snapshot.jpg", showing.snapshot, "image/jpeg", "The newest picture"),
    ):
        good: _Answers = {200: {"content": {media: {}}, "description": "With boxes."}}
        app.add_api_route(path, answer, response_class=Response, responses=faults | good, summary=summary)


def _add_pages(app: FastAPI, pages: Pages) -> None:
    app.add_api_route("/", pages.overview, include_in_schema=False)
    app.add_api_route("/login", pages.login_form, include_in_schema=False)
    app.add_api_route("/login", pages.login, methods=["POST"], include_in_schema=False)
    app.add_api_route("/logout", pages.logout, methods=["POST"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_STATIC))
