"""Which engine runs a network: the one that was asked for, the best that is there, or the next in turn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.detectors.test_engine import DYNAMIC, write_model
from watchline.detectors.boxes import F32
from watchline.detectors.card import ModelCard
from watchline.detectors.engine import Engine, EngineInfo, Fallback, OnnxEngine
from watchline.detectors.fallback import FallbackEngine
from watchline.detectors.opening import devices_of, open_engine
from watchline.streams.errors import ModelError, UsageError

CARD = ModelCard("yolov8", "detect", ("person",), (8, 16, 32))
BATCH = np.ones((2, 3, 8, 16), np.float32)


class Scripted:
    """An engine that answers with a number of its own, and fails from call number `fails_at` on."""

    def __init__(self, number: float, fails_at: int = 1000, note: str = "") -> None:
        self.number = number
        self.calls = 0
        self.fails_at = fails_at
        self.info = EngineInfo("runtime", "cpu", f"Provider{number:.0f}", note)
        self.card = CARD
        self.fixed_size = None

    def run(self, batch: F32) -> tuple[F32, ...]:
        self.calls += 1
        if self.calls >= self.fails_at:
            raise ModelError("out of memory")
        return (np.full((len(batch), 1), self.number, np.float32),)


def starts(engine: Engine) -> Callable[[], Engine]:
    return lambda: engine


def does_not_start() -> Engine:
    raise ModelError("no driver")


def test_the_first_that_starts_runs_and_the_note_says_what_did_not() -> None:
    engine = FallbackEngine([("cuda", does_not_start), ("cpu", starts(Scripted(2, note="slow")))])
    assert engine.run(BATCH)[0].tolist() == [[2], [2]]
    assert engine.info.note == "cuda did not start: no driver; slow"
    assert engine.info.provider == "Provider2"


def test_one_that_fails_while_running_is_replaced_for_good_and_no_picture_is_lost() -> None:
    first, second = Scripted(1, fails_at=2), Scripted(2)
    engine = FallbackEngine([("a", starts(first)), ("b", starts(second))])
    assert engine.info.note == ""
    assert [engine.run(BATCH)[0][0, 0] for _ in range(3)] == [1, 2, 2]
    assert (first.calls, second.calls) == (2, 2)
    assert engine.info.note == "Provider1 failed while running: out of memory"


def test_where_the_last_one_fails_its_error_is_told() -> None:
    engine = FallbackEngine([("a", starts(Scripted(1, fails_at=1))), ("b", does_not_start)])
    with pytest.raises(ModelError, match="no driver"):
        engine.run(BATCH)
    with pytest.raises(ModelError, match="no driver"):
        FallbackEngine([("a", does_not_start), ("b", does_not_start)])


def test_every_change_of_device_is_data_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    openers = [("cuda", does_not_start), ("openvino", starts(Scripted(1, fails_at=2))), ("cpu", starts(Scripted(2)))]
    engine = FallbackEngine(openers)
    first, second = Fallback("cuda", "openvino", "no driver"), Fallback("openvino", "cpu", "out of memory")
    assert list(engine.info.fallbacks) == [first]
    for _ in range(4):
        engine.run(BATCH)
    assert list(engine.info.fallbacks) == [first, second]
    logged = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert logged == [
        ("watchline.detectors", "WARNING", "cuda did not start: no driver; openvino runs instead"),
        ("watchline.detectors", "WARNING", "Provider1 failed while running: out of memory; cpu runs instead"),
    ]


def test_where_the_next_does_not_start_either_both_gave_way_to_the_one_after() -> None:
    engine = FallbackEngine([("a", starts(Scripted(1, fails_at=1))), ("b", does_not_start), ("c", starts(Scripted(3)))])
    assert engine.run(BATCH)[0][0, 0] == 3
    assert [(fallback.left, fallback.taken) for fallback in engine.info.fallbacks] == [("a", "c"), ("b", "c")]


@pytest.mark.parametrize("text", ["gpu", "cpu,", "", "cpu openvino", "cpu,tpu"])
def test_a_device_that_nobody_knows_is_wrong_usage(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="want one or more of auto, cpu, openvino"):
        devices_of(text)
    with pytest.raises(UsageError, match="want one or more of"):
        open_engine(write_model(tmp_path / "m.onnx", DYNAMIC), text)


def test_the_device_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    assert isinstance(open_engine(path, "cpu"), OnnxEngine)
    with pytest.raises(UsageError, match="device 'cuda'"):
        open_engine(path, "cuda")
    assert open_engine(path, "cuda,cpu").info.provider == "CPUExecutionProvider"


def test_without_openvino_a_processor_runs_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchline.detectors.opening._has_openvino", lambda: False)
    monkeypatch.setattr("watchline.detectors.opening.has_provider", lambda _name: False)
    assert isinstance(open_engine(write_model(tmp_path / "m.onnx", DYNAMIC)), OnnxEngine)


def test_an_openvino_that_cannot_be_loaded_is_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchline.detectors.opening._has_openvino", lambda: True)
    monkeypatch.setattr("watchline.detectors.opening.has_provider", lambda _name: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine = open_engine(write_model(tmp_path / "m.onnx", DYNAMIC))
    assert engine.info.provider == "CPUExecutionProvider"
    assert engine.info.note.startswith("openvino did not start: OpenVINO is not installed")


@pytest.mark.parametrize("shape", [DYNAMIC, [1, 3, 8, 16], ["batch", 3, 8, 16]])
def test_openvino_answers_what_onnx_runtime_answers(tmp_path: Path, shape: list[str | int]) -> None:
    pytest.importorskip("openvino")
    path = write_model(tmp_path / "m.onnx", shape)
    theirs, ours = open_engine(path, "openvino-f32", workers=2), open_engine(path, "cpu")
    assert theirs.info.provider == "OpenVINO CPU f32"
    assert (theirs.card, theirs.fixed_size) == (ours.card, ours.fixed_size)
    sizes = [(8, 16)] if theirs.fixed_size else [(8, 16), (32, 8), (8, 16), *((8, 8 * n) for n in range(1, 8))]
    for number, size in enumerate(sizes):
        batch = np.random.default_rng(number).random((3, 3, *size), np.float32)
        np.testing.assert_allclose(theirs.run(batch)[0], ours.run(batch)[0], atol=1e-6)


_FIRST_USE = """
import sys, threading
import numpy as np
from pathlib import Path
from watchline.detectors.opening import open_engine

engine = open_engine(Path(sys.argv[1]), "openvino-f32", workers=4)
start = threading.Barrier(4)
def work():
    start.wait()
    for _ in range(20):
        engine.run(np.ones((1, 3, 8, 16), np.float32))
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("done")
"""


def test_the_first_use_of_openvino_by_several_threads_at_once_does_not_hang(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    path = write_model(tmp_path / "m.onnx", DYNAMIC)
    for _ in range(5):  # without what `load_openvino` does, two of eight processes hung
        done = subprocess.run(
            [sys.executable, "-c", _FIRST_USE, str(path)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stdout == "done\n", done.stderr
