"""What every test of cameras may ask for."""

from __future__ import annotations

import pytest

from tests.kit.web_server import Certificate, make_certificate
from tests.streams.web_cameras import Content
from watchline.streams.camera_settings import Backend


@pytest.fixture(params=["pyav", "gstreamer"])
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen = Backend(request.param)
    if chosen is Backend.GSTREAMER:
        request.getfixturevalue("require_gstreamer")
    return chosen


@pytest.fixture(scope="session")
def web_content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    return Content(tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))
