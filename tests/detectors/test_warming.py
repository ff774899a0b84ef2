"""Warm-up: the network has run at its size, by as many as will, before a frame comes."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.detectors.test_opening import CARD, Scripted, starts
from watchline.detectors.boxes import F32
from watchline.detectors.fallback import FallbackEngine
from watchline.detectors.warming import warm_up
from watchline.streams.errors import ModelError


class Watched(Scripted):
    """Notes the shapes, and how many calls were under way at once; with `workers`, each waits for all others."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(1)
        self.shapes: list[tuple[int, ...]] = []
        self.barrier = threading.Barrier(workers)

    def run(self, batch: F32) -> tuple[F32, ...]:
        self.shapes.append(batch.shape)
        assert (batch == np.float32(0.5)).all()
        if len(self.shapes) > 1:
            self.barrier.wait(timeout=10)
        return super().run(batch)


def test_it_runs_once_alone_and_then_as_many_at_once_as_will() -> None:
    engine = Watched(workers=3)
    warm_up(engine, (64, 96), workers=3)
    assert engine.shapes == [(1, 3, 64, 96)] * 4


def test_a_network_that_fixes_its_size_or_takes_single_pictures_is_warmed_with_those() -> None:
    engine = Watched()
    engine.fixed_size = (32, 32)  # type: ignore[assignment]
    engine.card = replace(CARD, batched=False)
    warm_up(engine, (64, 96), batch=8)
    assert engine.shapes == [(1, 3, 32, 32)]


def test_a_batch_is_warmed_as_it_will_come() -> None:
    engine = Watched()
    warm_up(engine, (64, 96), batch=8)
    assert engine.shapes == [(8, 3, 64, 96)]


def test_an_engine_that_fails_then_is_replaced_before_the_first_frame() -> None:
    engine = FallbackEngine([("a", starts(Scripted(1, fails_at=1))), ("b", starts(Scripted(2)))])
    warm_up(engine, (64, 96), workers=2)
    assert engine.info.provider == "Provider2"
    assert [(fallback.left, fallback.taken) for fallback in engine.info.fallbacks] == [("a", "b")]


def test_where_nothing_runs_the_error_is_told() -> None:
    with pytest.raises(ModelError, match="out of memory"):
        warm_up(FallbackEngine([("a", starts(Scripted(1, fails_at=1)))]), (64, 96), workers=2)


def test_where_the_system_starts_no_more_threads_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def some(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", some)
    with pytest.raises(ModelError, match=r"4 threads cannot be started .*--threads"):
        warm_up(Scripted(1), (64, 96), workers=4)
    assert not any(thread.is_alive() for thread in started)
