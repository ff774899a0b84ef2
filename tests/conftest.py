"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import Clip, write_clip
from tests.command import write_tiny_model
from tests.kit.recordings import record  # noqa: F401 - fixtures for every test
from tests.kit.rtsp_server import require_rtsp_server  # noqa: F401

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that use ONNX Runtime themselves
# What tests expect is exact, and the same with the extra openvino and without it.
os.environ.setdefault("WATCHLINE_DEVICE", "cpu")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def own_site_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test makes or reads the key of whoever runs them: neither here nor in the programs that are started."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WATCHLINE_SITE_KEY", str(tmp_path_factory.mktemp("site") / "site.key"))
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real clips, models and reference outputs; not part of the project."""
    named = os.environ.get("WATCHLINE_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "clips").is_dir():
        message = f"no test data at {folder}; set WATCHLINE_TEST_DATA to the folder that holds clips/ and models/"
        if os.environ.get("WATCHLINE_REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def native() -> None:
    """Asks for the native build; where it is required, its absence is a failure."""
    from watchline.detectors.letterbox import pack_native
    from watchline.reid.top_k import top_k_native
    from watchline.trackers.native_byte_track import NATIVE

    if pack_native is None or top_k_native is None or not NATIVE:
        message = "a native module is not built; install a C++ compiler and run `make test` again"
        if os.environ.get("WATCHLINE_REQUIRE_NATIVE") == "1":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def require_gstreamer() -> None:
    """Asks for GStreamer in this Python; with WATCHLINE_REQUIRE_LIVE=1 its absence is a failure."""
    from watchline.streams.gstreamer_library import INSTALL, GStreamerMissingError, load

    try:
        load()
    except GStreamerMissingError as missing:
        message = f"{missing}; {INSTALL}"
        if os.environ.get("WATCHLINE_REQUIRE_LIVE") == "1":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX model that finds one person, in the same place, in every picture."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames at 25 frames a second."""
    return write_clip(tmp_path_factory.mktemp("clip") / "yard.mp4", Clip(frames=40))


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to be interrupted."""
    return write_clip(tmp_path_factory.mktemp("long") / "long.mp4", Clip(frames=2000))
