from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.command import watchline
from watchline.detectors.gpu import Gpu
from watchline.pipeline.cli.doctor import _gpu, _gstreamer


def checks(cache: Path) -> tuple[int, dict[str, dict[str, str]]]:
    done = watchline("doctor", "--json", XDG_CACHE_HOME=str(cache))
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)}


def test_a_fit_machine_is_told_so_with_what_was_found(tmp_path: Path) -> None:
    code, found = checks(tmp_path)
    assert code == 0
    assert set(found) == {
        *("python", "packages", "native code", "inference", "gpu", "video", "gstreamer", "models", "disk", "memory")
    }
    assert "CPUExecutionProvider" in found["inference"]["found"]
    assert "libx264" in found["video"]["found"]
    assert "fail" not in {check["health"] for check in found.values()}


def test_a_missing_model_is_a_hint_and_not_a_failure(tmp_path: Path) -> None:
    _, found = checks(tmp_path)
    assert found["models"]["health"] == "warn"
    assert "watchline models pull" in found["models"]["mend"]


def test_a_damaged_model_fails_with_the_command_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "watchline" / "models").mkdir(parents=True)
    (tmp_path / "watchline" / "models" / "yolov8n.pt").write_bytes(b"half a model")
    code, found = checks(tmp_path)
    assert code == 1
    assert found["models"] == {
        "name": "models",
        "health": "fail",
        "found": found["models"]["found"],
        "mend": "watchline models pull yolov8n",
    }


def test_the_table_names_every_check(tmp_path: Path) -> None:
    done = watchline("doctor", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0
    for name in ("python", "native code", "inference", "gpu", "video", "gstreamer", "models", "disk", "memory"):
        assert name in done.stdout


@pytest.mark.parametrize(("memory", "said"), [(24 << 30, "(12.1, 25.8 GB)"), (0, "(12.1)")])
def test_the_memory_of_a_gpu_is_told_where_it_has_its_own(
    monkeypatch: pytest.MonkeyPatch, memory: int, said: str
) -> None:
    monkeypatch.setattr("watchline.detectors.gpu.find_gpu", lambda: Gpu("GB10", "12.1", "580", memory))
    assert _gpu().found.startswith(f"GB10 {said}, driver 580")


def test_gstreamer_is_told_with_its_decoders(require_gstreamer: None) -> None:
    found = _gstreamer()
    assert found.found.startswith("GStreamer 1.")
    assert "decoders: avdec_h264, avdec_h265" in found.found
    assert "on a chip: " in found.found
    assert found.health == "ok"


def test_without_gstreamer_nothing_is_wrong_and_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    found = _gstreamer()
    assert found.health == "ok"
    assert "PyGObject is not installed" in found.found
    assert "PyAV reads cameras; for hardware decoding pip install" in found.found


def test_a_plugin_that_gstreamer_lacks_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = SimpleNamespace(
        version="1.22.0", has=lambda element: element not in ("h264parse", "avdec_h264", "openh264dec")
    )
    monkeypatch.setattr("watchline.streams.gstreamer_library.load", lambda: bare)
    found = _gstreamer()
    assert found.health == "warn"
    assert found.found.endswith("lacks h264parse, a decoder for h264")
    assert "gstreamer1.0-libav gstreamer1.0-plugins-bad" in found.mend
