"""What tests of fetching ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.detectors.serving import Desk, Server
from watchline.detectors.runtime import load_openvino
from watchline.streams.errors import ModelError


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def desk() -> Desk:
    return Desk([], [])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to fetch into, not there yet."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # or a proxy of the site would answer in place of our servers
    return tmp_path / "cache" / "models"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip may see."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture(scope="session")
def openvino() -> ModuleType:
    try:
        return load_openvino()
    except ModelError as error:
        pytest.skip(str(error))
