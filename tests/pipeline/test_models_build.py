"""`watchline models build`: engines ahead of their use, and one line where there is no GPU."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command import watchline
from tests.detectors.small_network import CARD, write_small_network
from tests.detectors.test_engine_cache import KEY, PLATFORM, put
from tests.detectors.test_tensorrt import Builder
from watchline.detectors.engine_cache import EngineCache
from watchline.detectors.gpu import Platform, has_provider
from watchline.detectors.opening import engines_folder
from watchline.pipeline.cli.building import _size, build
from watchline.streams.errors import ModelError, OutputError, UsageError


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_small_network(tmp_path / "small.onnx")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    """A machine with a GPU, whose engines are built in no time."""
    builder = Builder()
    monkeypatch.setattr("watchline.detectors.gpu.find_platform", lambda: PLATFORM)
    monkeypatch.setattr("watchline.detectors.tensorrt.build_in_child", lambda _card: builder)
    return builder


def test_it_says_where_the_engine_lies_its_size_time_and_key(
    network: Path, tmp_path: Path, builder: Builder, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path, str(network), imgsz="64x96", batch="1,2,4", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert Path(said["path"]).is_dir()
    assert said["built_now"] is True
    assert said["size_bytes"] > 0
    assert said["key"]["gpu"] == "RTX 4090"
    assert (said["key"]["height"], said["key"]["width"], said["key"]["batch"]) == (64, 96, [1, 2, 4])
    build(tmp_path, str(network), imgsz="64x96", batch="1,2,4", as_json=True)
    assert json.loads(capsys.readouterr().out)["built_now"] is False
    assert len(builder.keys) == 1


def test_force_builds_anew_and_text_ends_with_the_path(
    network: Path, tmp_path: Path, builder: Builder, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        build(tmp_path, str(network), force=True)
    out, err = capsys.readouterr()
    assert Path(out.splitlines()[-1]).is_dir()
    assert "building for RTX 4090, 384x640, fp16, 1 to 8 frames" in err
    assert len(builder.keys) == 2


def test_a_failed_build_is_tried_again_when_it_is_asked_for(
    network: Path, tmp_path: Path, builder: Builder, capsys: pytest.CaptureFixture[str]
) -> None:
    builder.error = "out of memory"
    with pytest.raises(ModelError, match="out of memory"):
        build(tmp_path, str(network))
    builder.error = ""
    build(tmp_path, str(network))
    assert Path(capsys.readouterr().out.strip()).is_dir()


def test_an_engine_that_did_not_start_is_built_anew(network: Path, tmp_path: Path, builder: Builder) -> None:
    build(tmp_path, str(network))
    engines = EngineCache(engines_folder(tmp_path))
    engines.remember_failure(builder.keys[0], "refused")
    build(tmp_path, str(network))
    assert len(builder.keys) == 2
    assert engines.failure(builder.keys[0]) == ""


def test_the_size_is_what_a_run_would_feed_the_network() -> None:
    assert _size(None, None, CARD) == (384, 640)
    assert _size(None, None, replace(CARD, placement="stretch")) == (640, 640)
    assert _size(None, (300, 300), CARD) == (300, 300)  # its own, whatever its strides
    assert _size((300, 300), (300, 300), CARD) == (300, 300)
    with pytest.raises(UsageError, match=r"--imgsz 320x320: this network takes 300x300 alone"):
        _size((320, 320), (300, 300), CARD)


def test_what_cannot_be_built_is_refused_before_the_model_is_looked_for(
    tmp_path: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--batch 0"):
        build(tmp_path, "no-such-model", batch="0")

    def gone() -> Platform:
        raise ModelError("TensorRT cannot run here")

    monkeypatch.setattr("watchline.detectors.gpu.find_platform", gone)
    with pytest.raises(ModelError, match="cannot run here"):
        build(tmp_path, "no-such-model")


def test_an_engine_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = put(EngineCache(engines_folder(tmp_path)), KEY).folder.name
    monkeypatch.setattr(EngineCache, "remove", lambda *_: False)
    with pytest.raises(OutputError, match=f"cannot remove .*{name}"):
        build(tmp_path, remove=name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "openvino"}, "want tensorrt or tensorrt-f32"),
        ({"imgsz": "100x640"}, "want multiples of 32"),
        ({"imgsz": "8192x640"}, "at most 4096"),
        ({"batch": "8,4,1"}, "three rising numbers"),
        ({"batch": "1"}, "three rising numbers"),
        ({"batch": "1,2,500"}, "three rising numbers from 1 to 64"),
    ],
)
def test_wrong_usage_names_the_option(
    network: Path, tmp_path: Path, builder: Builder, options: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        build(tmp_path, str(network), **options)  # type: ignore[arg-type]


def test_engines_are_listed_and_removed(tmp_path: Path) -> None:
    name = put(EngineCache(tmp_path / "engines"), KEY).folder.name
    done = watchline("models", "build", "--list", "--cache", tmp_path)
    assert done.stdout.startswith(f"{name}  fp16, 1 to 8 frames")
    assert "driver 580.10, TensorRT 10.13.3" in done.stdout
    done = watchline("models", "build", "--list", "--json", "--cache", tmp_path)
    assert [entry["name"] for entry in json.loads(done.stdout)] == [name]
    assert watchline("models", "build", "--remove", name, "--cache", tmp_path).returncode == 0
    assert watchline("models", "build", "--list", "--cache", tmp_path).stdout == ""
    done = watchline("models", "build", "--remove", name, "--cache", tmp_path)
    assert done.returncode == 1
    assert "models build --list" in done.stderr


def test_without_a_gpu_it_is_one_line_that_says_what_is_missing(network: Path, tmp_path: Path) -> None:
    if shutil.which("nvidia-smi") or has_provider("tensorrt"):
        pytest.skip("this machine has some of it")
    done = watchline("models", "build", network, "--cache", tmp_path / "cache")
    assert done.returncode == 1
    assert done.stderr.startswith("watchline: TensorRT cannot run here: no NVIDIA driver")
    assert "onnxruntime-gpu" in done.stderr
    assert "--device" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert watchline("models", "build").returncode == 2


def test_doctor_says_how_it_is_with_the_gpu() -> None:
    checks = {check["name"]: check for check in json.loads(watchline("doctor", "--json").stdout)}
    assert checks["gpu"]["found"]
    if not shutil.which("nvidia-smi") and not has_provider("cuda"):
        assert checks["gpu"]["health"] == "ok"
        assert "no NVIDIA driver" in checks["gpu"]["found"]
