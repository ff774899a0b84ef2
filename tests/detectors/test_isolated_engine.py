"""An engine in a process of its own answers as the one inside does, and tells what that one is."""

from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.detectors import isolated_inner as inner
from tests.detectors.isolated_inner import isolated, picture
from tests.detectors.small_network import write_small_network
from watchline.detectors.engine import Fallback
from watchline.detectors.isolated_engine import IsolatedEngine, can_isolate
from watchline.detectors.opening import open_engine
from watchline.detectors.restarts import Restarts
from watchline.streams.errors import ModelError, UsageError

pytestmark = pytest.mark.skipif(not can_isolate(), reason="isolated engines are for Linux")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(inner.ROOT))


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_outputs_are_those_of_the_engine_inside_to_the_last_bit(tmp_path: Path, device: str) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    path = write_small_network(tmp_path / "small.onnx")
    plain = open_engine(path, device)
    pictures = np.random.default_rng(7)
    with IsolatedEngine(path, device) as engine:
        for shape in ((1, 3, 32, 32), (4, 3, 64, 32), (2, 3, 32, 32), (1, 3, 160, 96)):
            batch = pictures.random(shape, np.float32)
            for ours, theirs in zip(engine.run(batch), plain.run(batch), strict=True):
                assert ours.dtype == theirs.dtype
                assert ours.shape == theirs.shape
                assert ours.tobytes() == theirs.tobytes()


def test_it_says_of_itself_what_the_engine_inside_says(tmp_path: Path) -> None:
    path = write_small_network(tmp_path / "small.onnx")
    plain = open_engine(path, "cpu")
    with IsolatedEngine(path, "cpu") as engine:
        assert (engine.card, engine.fixed_size, engine.info) == (plain.card, plain.fixed_size, plain.info)
        assert (engine.state, engine.deaths, engine.sentence) == ("running", 0, "")


def test_a_batch_that_is_a_view_with_gaps_goes_through(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        wide = picture(side=16)
        (twice, *_) = engine.run(wide[:, :, ::2, ::2])
        assert (twice == wide[:, :, ::2, ::2] * 2).all()


def test_other_kinds_of_numbers_and_empty_outputs_come_through(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        _, whole, nothing = engine.run(picture(number=2))
        assert whole.dtype == np.int64
        assert whole[0] == picture(number=2)[:, :, 1:].sum()
        assert nothing.shape == (2, 0, 4)


def test_outputs_stay_as_they_are_while_they_are_held_and_their_memory_is_used_again(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        held = [engine.run(picture(number=i % 3 + 1) + i)[0] for i in range(12)]
        assert all((array == (picture(number=i % 3 + 1) + i) * 2).all() for i, array in enumerate(held))
        del held
        places = {engine.run(picture())[0].ctypes.data for _ in range(20)}
        assert len(places) == 1


def test_eight_callers_and_two_workers_each_get_their_own_answer(tmp_path: Path) -> None:
    with isolated(tmp_path, workers=2) as engine:

        def work(caller: int) -> bool:
            batches = [picture(number=i % 4 + 1) + (1000 * caller + i) for i in range(60)]
            return all((engine.run(batch)[0] == batch * 2).all() for batch in batches)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))


def test_as_many_calls_as_workers_run_at_once(tmp_path: Path) -> None:
    with isolated(tmp_path, workers=3) as engine:
        begun_s = time.monotonic()
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda _: engine.run(picture(inner.SLOW)), range(3)))
        assert time.monotonic() - begun_s < 1.4  # 0.5 s each


def test_errors_of_the_engine_inside_end_nothing(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        pid = engine.pid
        with pytest.raises(ModelError, match=r"^CPU failed on purpose$"):
            engine.run(picture(inner.REFUSE))
        with pytest.raises(ModelError, match="KeyError: 'a defect'"):
            engine.run(picture(inner.DEFECT))
        with pytest.raises(ModelError, match="float64"):
            engine.run(picture().astype(np.float64))
        engine.run(picture())
        assert (engine.pid, engine.deaths) == (pid, 0)


def test_a_fallback_inside_shows_in_its_info_at_once(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        before = engine.info
        assert before.fallbacks == ()
        engine.run(picture(inner.FALL))
        fallen = replace(before, note="it fell", fallbacks=(Fallback("cuda", "cpu", "on purpose"),))
        assert engine.info == fallen


@pytest.mark.parametrize("device", ["cpu", "cuda", "tensorrt", "gpu"])
@pytest.mark.parametrize("damaged", [True, False])
def test_errors_of_opening_are_the_same_as_without_a_process(tmp_path: Path, device: str, damaged: bool) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(b"no network") if damaged else write_small_network(path)
    if device == "cpu" and not damaged:
        return
    before = set(psutil.Process().children())
    with pytest.raises((ModelError, UsageError)) as plain:
        open_engine(path, device)
    with pytest.raises(type(plain.value)) as ours:
        IsolatedEngine(path, device)
    assert str(ours.value) == str(plain.value)
    assert not set(psutil.Process().children()) - before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx"):
        IsolatedEngine(tmp_path / "none.onnx", "cpu")


def test_a_card_with_very_many_labels_comes_through(tmp_path: Path) -> None:
    with isolated(tmp_path, labels=20_000) as engine:
        assert len(engine.card.labels) == 20_000


def test_its_process_has_a_name_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCK_PASSWORD", "NVIDIA_API_KEY", "WATCHLINE_TOKEN", "HTTPS_PROXY", "CUDA_SECRET"):
        monkeypatch.setenv(name, "canary-6f1d")
    with isolated(tmp_path) as engine:
        assert psutil.Process(engine.pid).cmdline()[0] == "watchline: detector people"
        engine.run(picture(inner.ENVIRONMENT))
    environment = json.loads((tmp_path / "inner.environment").read_text())
    assert "canary-6f1d" not in json.dumps(environment)
    assert "PATH" in environment


def test_log_lines_of_a_flood_arrive_in_part_and_hold_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "watchline"), isolated(tmp_path) as engine:
        engine.run(picture(inner.FLOOD))
        engine.run(picture())
    lines = [record.message for record in caplog.records if record.message.startswith("line")]
    assert lines == [f"line {i}" for i in range(20)]


def test_close_ends_the_process_and_calls_say_so(tmp_path: Path) -> None:
    engine = isolated(tmp_path, workers=2)
    process = psutil.Process(engine.pid)
    said: list[str] = []

    def call() -> None:
        with pytest.raises(ModelError) as error:
            engine.run(picture(inner.HANG))
        said.append(str(error.value))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    threading.Event().wait(0.2)
    engine.close()
    engine.close()
    for caller in callers:
        caller.join(2)
    assert said == ["people: its engine was closed"] * 3
    assert not process.is_running()
    with pytest.raises(ModelError, match="people: its engine is closed"):
        engine.run(picture())
    assert engine.deaths == 0


def test_after_the_most_restarts_it_waits_and_tries_once_in_a_while() -> None:
    now_s = 0.0
    restarts = Restarts(5, 60, 60, lambda: now_s)
    for _ in range(5):
        restarts.died()
        assert restarts.wait_s() == 0
        now_s += 10
    restarts.died()  # the sixth in 50 s
    assert (restarts.is_down, restarts.wait_s()) == (True, 60)
    now_s += 59
    assert restarts.wait_s() == 1
    now_s += 1
    assert restarts.wait_s() == 0
    restarts.died()
    assert (restarts.is_down, restarts.wait_s()) == (True, 60)
    now_s += 60
    restarts.works()
    assert not restarts.is_down
    restarts.died()
    assert restarts.wait_s() == 0


def test_deaths_that_lie_far_apart_never_mark_it_down() -> None:
    now_s = 0.0
    restarts = Restarts(5, 60, 60, lambda: now_s)
    for _ in range(100):
        restarts.died()
        assert not restarts.is_down
        now_s += 12.5
