"""One engine serves while a better one is built; the change loses no frame and harms nobody."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.detectors.test_opening import Scripted
from watchline.detectors.boxes import F32
from watchline.detectors.engine import Engine, Fallback
from watchline.detectors.fallback import FallbackEngine
from watchline.detectors.swapping import Size, SwappingEngine
from watchline.streams.errors import ModelError

SIZE = (8, 16)
BATCH = np.ones((1, 3, *SIZE), np.float32)


class Shop:
    """A workshop whose engines answer 2; each build waits for `go`."""

    name = "TensorRT"
    device = "tensorrt"

    def __init__(self, built: Engine | None = None, error: str = "", better: Engine | None = None) -> None:
        self.built, self.error, self.better = built, error, better or Scripted(2)
        self.go, self.done = threading.Event(), threading.Event()
        self.sizes: list[Size] = []
        self.at_once = self.most_at_once = 0

    def find(self, size: Size) -> Engine | None:
        return self.built

    def build(self, size: Size) -> Engine:
        self.sizes.append(size)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            assert self.go.wait(timeout=30)
            if self.error:
                raise ModelError(self.error)
            return self.better
        finally:
            self.at_once -= 1
            self.done.set()


def answer(engine: Engine, batch: F32 = BATCH) -> float:
    return float(engine.run(batch)[0][0, 0])


def until(condition: object) -> None:
    """Waits until a lambda is true; the thread that builds says its last word a moment after `done`."""
    assert callable(condition)
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("never came true")


def test_the_good_one_serves_while_the_better_one_is_built_and_then_the_better_one_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "watchline.detectors")
    shop = Shop()
    engine = SwappingEngine(Scripted(1), "cuda", shop, may_build=True)
    assert [answer(engine) for _ in range(3)] == [1, 1, 1]
    assert engine.info.note == "TensorRT engine for 8x16 building: Provider1 serves"
    assert engine.info.provider == "Provider1"
    shop.go.set()
    until(lambda: caplog.records)
    assert answer(engine) == 2
    assert engine.info.note == ""  # it went well: no warning
    assert [record.getMessage() for record in caplog.records] == ["TensorRT engine for 8x16 since call 4"]
    assert (engine.info.provider, engine.info.fallbacks) == ("Provider2", ())
    assert shop.sizes == [SIZE]


def test_no_call_is_lost_while_threads_run_all_along() -> None:
    shop = Shop()
    first, second = Scripted(1), Scripted(2)
    first.fails_at = second.fails_at = 10**9
    shop.better = second
    engine = SwappingEngine(first, "cuda", shop, may_build=True)
    stop = threading.Event()

    def work(number: int) -> list[float]:
        batch, answers = np.full((number + 1, 3, *SIZE), number, np.float32), list[float]()
        while not stop.is_set() or len(answers) < 10:
            found = engine.run(batch)[0]
            assert found.shape == (number + 1, 1)
            answers.append(float(found[0, 0]))
        return answers

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, number) for number in range(4)]
        until(lambda: first.calls > 50)
        shop.go.set()
        until(lambda: second.calls > 50)
        stop.set()
        answers = [future.result() for future in running]
    for given in answers:
        assert set(given) <= {1.0, 2.0}
        assert given == sorted(given)  # never back to the first
    assert shop.sizes == [SIZE]


def test_one_that_was_built_before_runs_from_the_first_call() -> None:
    shop = Shop(built=Scripted(2))
    engine = SwappingEngine(Scripted(1), "cuda", shop, may_build=False)
    assert answer(engine) == 2
    assert (engine.info.note, shop.sizes) == ("", [])


def test_what_was_not_built_is_not_built_by_surprise() -> None:
    shop = Shop()
    engine = SwappingEngine(Scripted(1), "cuda", shop, may_build=False)
    assert [answer(engine), answer(engine)] == [1, 1]
    assert (engine.info.note, shop.sizes) == ("", [])


def test_a_network_of_one_size_is_looked_for_before_the_first_call() -> None:
    base = Scripted(1)
    base.fixed_size = SIZE  # type: ignore[assignment]
    shop = Shop()
    engine = SwappingEngine(base, "cuda", shop, may_build=True)
    until(lambda: shop.sizes == [SIZE])
    assert engine.info.note == "TensorRT engine for 8x16 building: Provider1 serves"
    shop.go.set()


def test_a_build_that_fails_is_told_once_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(error="out of memory")
    shop.go.set()
    engine = SwappingEngine(Scripted(1), "cuda", shop, may_build=True)
    answer(engine)
    until(lambda: caplog.records)
    assert {answer(engine) for _ in range(5)} == {1}
    said = "TensorRT engine for 8x16 could not be built: out of memory; Provider1 runs instead"
    assert engine.info.note == said
    assert engine.info.fallbacks == (Fallback("tensorrt", "cuda", "out of memory"),)
    assert [record.getMessage() for record in caplog.records] == [said]
    assert shop.sizes == [SIZE]


def test_a_better_one_that_fails_in_flight_gives_way_for_good_and_no_frame_is_lost() -> None:
    shop = Shop(built=Scripted(2, fails_at=3))
    engine = SwappingEngine(Scripted(1), "cuda", shop, may_build=True)
    assert [answer(engine) for _ in range(5)] == [2, 2, 1, 1, 1]
    assert engine.info.note == ("TensorRT engine for 8x16 failed while running: out of memory; Provider1 runs instead")
    assert engine.info.fallbacks == (Fallback("tensorrt", "cuda", "out of memory"),)
    assert shop.sizes == []


def test_threads_that_see_it_fail_at_once_tell_it_once() -> None:
    shop = Shop(built=Scripted(2, fails_at=1))
    engine = SwappingEngine(Scripted(1), "cuda", shop, may_build=True)
    together = threading.Barrier(4)

    def work() -> float:
        together.wait()
        return answer(engine)

    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in [pool.submit(work) for _ in range(4)]]
    assert answers == [1, 1, 1, 1]
    assert len(engine.info.fallbacks) == 1


def test_one_that_does_not_start_is_told() -> None:
    class Broken(Shop):
        def find(self, size: Size) -> Engine | None:
            raise ModelError("no such symbol")

    engine = SwappingEngine(Scripted(1), "cuda", Broken(), may_build=True)
    assert answer(engine) == 1
    assert engine.info.note == "TensorRT engine for 8x16 does not run: no such symbol; Provider1 runs instead"


def test_each_size_has_its_own_one_build_at_a_time_and_there_is_a_bound() -> None:
    shop = Shop()
    engine = SwappingEngine(Scripted(1), "cuda", shop, may_build=True)
    for width in range(1, 9):
        assert answer(engine, np.ones((1, 3, 8, width), np.float32)) == 1
    until(lambda: len(shop.sizes) == 1)
    shop.go.set()
    until(lambda: engine.info.note == "")
    assert sorted(shop.sizes) == [(8, 1), (8, 2), (8, 3), (8, 4)]
    assert shop.most_at_once == 1
    answers = [answer(engine, np.ones((1, 3, 8, width), np.float32)) for width in range(1, 9)]
    assert answers == [2, 2, 2, 2, 1, 1, 1, 1]


def test_where_the_good_one_fails_too_the_next_device_takes_over() -> None:
    base = FallbackEngine([("cuda", lambda: Scripted(1, fails_at=2)), ("cpu", lambda: Scripted(3))])
    engine = SwappingEngine(base, "cuda", Shop(error="no"), may_build=False)
    assert [answer(engine) for _ in range(3)] == [1, 3, 3]
    assert [fallback.taken for fallback in engine.info.fallbacks] == ["cpu"]
