"""TensorRT without a GPU: a scripted builder, and a second engine on the processor as what it builds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.detectors.small_network import write_small_network
from tests.detectors.test_engine_cache import KEY, PLATFORM
from tests.detectors.test_swapping import until
from watchline.detectors import opening, tensorrt
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo, OnnxEngine, start_session
from watchline.detectors.engine_cache import EngineCache, EngineKey, Entry
from watchline.detectors.gpu import Platform, has_provider
from watchline.detectors.importer.description import hash_file
from watchline.detectors.opening import open_engine
from watchline.detectors.swapping import SwappingEngine
from watchline.detectors.tensorrt import NETWORK, TensorRtWorkshop, provider_options, run_child
from watchline.streams.errors import ModelError

BATCH = np.full((2, 3, 32, 32), 0.5, np.float32)


class Builder:
    """Builds an "engine" in no time, or fails."""

    def __init__(self, error: str = "") -> None:
        self.error, self.keys = error, list[EngineKey]()

    def __call__(self, key: EngineKey, folder: Path) -> None:
        self.keys.append(key)
        assert (folder / NETWORK).is_file()
        if self.error:
            raise ModelError(self.error)
        (folder / "made.engine").write_text("an engine")


def on_cpu(entry: Entry, card: ModelCard) -> Engine:
    """Opens the network of an entry on the processor, under another name."""

    def start(path: Path) -> tuple[Any, EngineInfo]:
        return start_session(path, [("CPUExecutionProvider", {})]), EngineInfo("scripted", "cuda", "Scripted TensorRT")

    most = entry.key.batch[2]
    return OnnxEngine(entry.folder / NETWORK, card=card, start=start, most=most)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_small_network(tmp_path / "small.onnx")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def workshop(network: Path, cache: EngineCache, builder: Builder, device: str = "tensorrt") -> TensorRtWorkshop:
    card = OnnxEngine(network, "cpu").card
    return TensorRtWorkshop((network, hash_file(network)), card, device, PLATFORM, cache, builder, on_cpu)


def test_an_engine_is_built_once_and_found_from_then_on(network: Path, cache: EngineCache) -> None:
    builder = Builder()
    first = SwappingEngine(OnnxEngine(network, "cpu"), "cuda", workshop(network, cache, builder), may_build=True)
    expected = first.run(BATCH)[0]
    until(lambda: first.info.provider == "Scripted TensorRT")
    np.testing.assert_array_equal(first.run(BATCH)[0], expected)
    second = SwappingEngine(OnnxEngine(network, "cpu"), "cuda", workshop(network, cache, builder), may_build=False)
    np.testing.assert_array_equal(second.run(BATCH)[0], expected)
    assert second.info.provider == "Scripted TensorRT"
    assert second.info.note == ""
    assert [(key.precision, key.height, key.width, key.batch) for key in builder.keys] == [("fp16", 32, 32, (1, 8, 8))]


def test_each_precision_has_its_own_engine(network: Path, cache: EngineCache) -> None:
    builder = Builder()
    workshop(network, cache, builder).build((32, 32))
    exact = workshop(network, cache, builder, "tensorrt-f32")
    assert exact.find((32, 32)) is None
    exact.build((32, 32))
    assert [key.precision for key in builder.keys] == ["fp16", "fp32"]


def test_more_pictures_than_the_engine_takes_are_run_in_parts(network: Path, cache: EngineCache) -> None:
    shop = workshop(network, cache, Builder())
    batch = np.random.default_rng(0).random((19, 3, 32, 32), np.float32)
    np.testing.assert_allclose(
        shop.build((32, 32)).run(batch)[0], OnnxEngine(network, "cpu").run(batch)[0], rtol=1e-5, atol=1e-5
    )


def test_a_build_that_failed_is_not_tried_at_the_next_start(network: Path, cache: EngineCache) -> None:
    builder = Builder("out of memory")
    for _ in range(3):
        engine = SwappingEngine(OnnxEngine(network, "cpu"), "cuda", workshop(network, cache, builder), may_build=True)
        engine.run(BATCH)
        until(lambda engine=engine: engine.info.fallbacks)
        assert "out of memory" in engine.info.note
    assert len(builder.keys) == 1
    assert cache.entries() == []
    builder.error = ""
    workshop(network, cache, builder).build((32, 32))  # asked anew
    assert workshop(network, cache, builder).find((32, 32)) is not None


def test_a_network_that_changes_under_our_hands_is_refused(network: Path, cache: EngineCache) -> None:
    shop = workshop(network, cache, Builder())
    network.write_bytes(network.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="changed while it was in use"):
        shop.build((32, 32))


def refused(entry: Entry, card: ModelCard) -> Engine:
    raise ModelError("refused")


def test_an_engine_that_does_not_open_when_it_was_just_built_is_remembered_as_failed(
    network: Path, cache: EngineCache
) -> None:
    shop = workshop(network, cache, Builder())
    shop._open = refused
    with pytest.raises(ModelError, match="refused"):
        shop.build((32, 32))
    with pytest.raises(ModelError, match=r"refused .*models build"):
        workshop(network, cache, Builder()).find((32, 32))


def test_an_engine_that_does_not_open_once_costs_one_start_alone(network: Path, cache: EngineCache) -> None:
    shop = workshop(network, cache, Builder())
    shop.make((32, 32))
    shop._open = refused  # the GPU is full
    with pytest.raises(ModelError, match=r"^refused .*models build --force"):
        shop.find((32, 32))
    assert workshop(network, cache, Builder()).find((32, 32)) is not None


def test_a_failed_build_does_not_hide_an_engine_for_other_batches(network: Path, cache: EngineCache) -> None:
    shop = workshop(network, cache, Builder())
    key = shop.key((32, 32))
    cache.remember_failure(key, "out of memory")
    other = replace(key, batch=(1, 4, 4))
    with cache.building(other) as (folder, keep):
        (folder / NETWORK).write_bytes(network.read_bytes())
        keep(1.0)
    assert shop.find((32, 32)) is not None
    cache.remember_failure(other, "does not start")
    with pytest.raises(ModelError, match="out of memory"):
        shop.find((32, 32))


def test_the_options_name_the_input_and_its_range(tmp_path: Path) -> None:
    options = provider_options(tmp_path, KEY, "images")
    assert options["trt_profile_min_shapes"] == "images:1x3x384x640"
    assert options["trt_profile_max_shapes"] == "images:8x3x384x640"
    assert options["trt_fp16_enable"] == "True"  # it takes no other word: "1" is an error
    assert provider_options(tmp_path, replace(KEY, precision="fp32"), "x")["trt_fp16_enable"] == "False"
    assert all(isinstance(value, str) for value in options.values())


def test_onnx_runtime_knows_every_option_by_that_name(tmp_path: Path) -> None:
    """It checks them on a GPU alone; the names stand in its library."""
    if not has_provider("tensorrt"):
        pytest.skip("this ONNX Runtime is built without TensorRT; onnxruntime-gpu is")
    from watchline.detectors.engine import CUDA_OPTIONS
    from watchline.detectors.gpu import _provider

    for provider, options in (("tensorrt", provider_options(tmp_path, KEY, "x")), ("cuda", CUDA_OPTIONS)):
        library = _provider(provider)
        assert library is not None
        data = library.read_bytes()
        assert [name for name in options if b"\0" + name.encode() + b"\0" not in data] == []


# --- the process that builds ---


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_builder_that_succeeds_is_heard_past_what_libraries_print() -> None:
    run_child(python("print('a library says hello'); print('{\"ok\": 1.5}')"), 30)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ('print(\'{"error": "no memory"}\'); raise SystemExit(1)', "^no memory$"),
        ("import os; os.kill(os.getpid(), 11)", "ended with SIGSEGV"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("print('[1]')", "ended with status 0"),
        ("import time; time.sleep(60)", r"not built within 0\.5 s"),
    ],
)
def test_a_builder_that_fails_crashes_or_hangs_is_one_line(code: str, says: str) -> None:
    started = time.monotonic()
    with pytest.raises(ModelError, match=says):
        run_child(python(code), 0.5 if "sleep" in code else 30)
    assert time.monotonic() - started < 20


def test_the_real_builder_says_what_is_missing(network: Path, cache: EngineCache) -> None:
    card = OnnxEngine(network, "cpu").card
    if has_provider("tensorrt"):
        pytest.skip("this ONNX Runtime has TensorRT")
    with (
        cache.building(KEY) as (folder, _),
        pytest.raises(ModelError, match="this ONNX Runtime is built without TensorRT"),
    ):
        tensorrt.build_in_child(card, 60)(KEY, folder)


def test_the_real_builder_ends_when_its_parent_does(tmp_path: Path) -> None:
    job = json.dumps({"key": asdict(KEY), "folder": str(tmp_path), "card": {}})
    code = (  # a builder that would take for ever, with the real one's watch over its parent
        "import sys, threading, time; from watchline.detectors import tensorrt_build as b; "
        "b.build = lambda *_: time.sleep(600); b.ModelCard.from_metadata = staticmethod(lambda _m: None); "
        f"b.main({job!r})"
    )
    child = subprocess.Popen(python(code), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        assert child.stdin is not None
        time.sleep(0.5)
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(timeout=30) == 1
    finally:
        child.kill()


# --- choosing the device ---


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Builder:
    """A machine with a GPU that OpenVINO is not on, whose CUDA is the processor under that name."""
    builder = Builder()
    monkeypatch.setattr(opening, "find_platform", lambda: PLATFORM)
    monkeypatch.setattr(opening, "has_provider", lambda _name: True)
    monkeypatch.setattr(opening, "_has_openvino", lambda: False)
    monkeypatch.setattr(tensorrt, "build_in_child", lambda _card: builder)
    monkeypatch.setattr(tensorrt, "TensorRtWorkshop", partial(TensorRtWorkshop, open_built=on_cpu))
    return builder


def test_tensorrt_is_built_while_the_next_device_serves(network: Path, tmp_path: Path, gpu: Builder) -> None:
    engine = open_engine(network, "tensorrt,cpu", engines=tmp_path / "engines")
    assert engine.info.provider == "CPUExecutionProvider"
    engine.run(BATCH)
    until(lambda: engine.info.provider == "Scripted TensorRT")
    assert engine.info.note == ""
    assert engine.info.fallbacks == ()


def test_auto_takes_tensorrt_only_where_its_engine_was_built(network: Path, tmp_path: Path, gpu: Builder) -> None:
    engines = tmp_path / "engines"
    engine = open_engine(network, "auto", engines=engines)
    engine.run(BATCH)
    assert engine.info.provider == "CPUExecutionProvider"
    assert engine.info.note.startswith("cuda did not start")
    assert gpu.keys == []
    workshop(network, EngineCache(engines), gpu).build((32, 32))
    engine = open_engine(network, "auto", engines=engines)
    engine.run(BATCH)
    assert engine.info.provider == "Scripted TensorRT"
    engine.run(np.zeros((1, 3, 32, 64), np.float32))  # a size that it was not built for
    assert len(gpu.keys) == 1
    assert {(fallback.left, fallback.taken) for fallback in engine.info.fallbacks} == {("cuda", "cpu")}


def test_an_engine_of_another_machine_is_left_alone(
    network: Path, tmp_path: Path, gpu: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = tmp_path / "engines"
    workshop(network, EngineCache(engines), gpu).build((32, 32))
    other = replace(PLATFORM, gpu=replace(PLATFORM.gpu, driver="581.1"))
    monkeypatch.setattr(opening, "find_platform", lambda: other)
    engine = open_engine(network, "auto", engines=engines)
    engine.run(BATCH)
    assert engine.info.provider == "CPUExecutionProvider"
    assert len(gpu.keys) == 1


def test_where_the_gpu_has_gone_auto_goes_on_without_it(
    network: Path, tmp_path: Path, gpu: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Platform:
        raise ModelError("the NVIDIA driver finds no GPU: GPU is lost")

    engines = tmp_path / "engines"
    workshop(network, EngineCache(engines), gpu).build((32, 32))
    monkeypatch.setattr(opening, "find_platform", gone)
    engine = open_engine(network, "auto", engines=engines)
    engine.run(BATCH)
    assert [(fallback.left, fallback.taken) for fallback in engine.info.fallbacks] == [
        ("tensorrt", "cpu"),
        ("cuda", "cpu"),
    ]


def test_without_a_gpu_tensorrt_gives_way_to_the_next_and_says_why(network: Path, tmp_path: Path) -> None:
    engine = open_engine(network, "tensorrt,cpu", engines=tmp_path)
    if engine.info.device != "cpu":
        pytest.skip("this machine has a GPU")
    assert engine.info.note.startswith("tensorrt did not start: TensorRT cannot run here: ")
    assert [(fallback.left, fallback.taken) for fallback in engine.info.fallbacks] == [("tensorrt", "cpu")]
    with pytest.raises(ModelError, match=r"TensorRT cannot run here.*--device cpu"):
        open_engine(network, "tensorrt", engines=tmp_path)
