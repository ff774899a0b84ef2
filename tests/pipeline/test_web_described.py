"""The HTTP interface does what its description says, whatever it is asked: requests made up by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

from tests.pipeline.live_app import TOKEN, ScriptedDaemon
from watchline.pipeline.web.access import Access
from watchline.pipeline.web.server import WebServer

KEY = {"authorization": f"Bearer {TOKEN}"}
PATHS = (
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/cameras",
    "/api/cameras/{camera}",
    "/cameras/{camera}/live.mjpg",
    "/cameras/{camera}/snapshot.jpg",
)


@pytest.fixture(scope="module")
def described() -> Iterator[Any]:
    daemon = ScriptedDaemon("dock-1", "gate")
    daemon.site.advance(5.0)
    with WebServer(daemon.app(Access(TOKEN, hosts=None))) as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=KEY)


def test_all_that_is_described_is_tried(described: Any) -> None:
    assert sorted(operation.ok().path for operation in described.get_all_operations()) == sorted(PATHS)


@pytest.mark.parametrize(
    ("path", "mode"),
    [(path, mode) for path in PATHS for mode in GenerationMode if mode is GenerationMode.POSITIVE or "{" in path],
)
def test_every_answer_is_as_described(described: Any, path: str, mode: GenerationMode) -> None:
    operation = described[path]["GET"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def holds(case: Any) -> None:
        assert case.call_and_validate(headers=KEY, timeout=10).status_code != 401

    holds()


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/healthz"])
def test_a_missing_token_is_described_and_refused(described: Any, path: str) -> None:
    operation = described[path]["GET"]
    case = operation.Case(path_parameters={"camera": "gate"} if "{" in path else {})
    answer = case.call(headers={"authorization": "Bearer wrong"}, timeout=10)
    assert answer.status_code == 401
    case.validate_response(answer)
