"""Processes of engines that are killed, stopped, hang or eat memory: callers are told at once, and work goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import pytest

from tests.detectors import isolated_inner as inner
from tests.detectors.isolated_inner import isolated, picture
from watchline.detectors.isolated_engine import IsolatedEngine, can_isolate
from watchline.detectors.isolated_process import IsolationBounds
from watchline.detectors.restarts import Restarts
from watchline.streams.errors import ModelError

pytestmark = pytest.mark.skipif(not can_isolate(), reason="isolated engines are for Linux")
_OFTEN = 1000


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(inner.ROOT))


class Callers:
    """Threads that call again and again, and what they were told."""

    def __init__(self, engine: IsolatedEngine, count: int = 2) -> None:
        self.answers = 0
        self.wrong = 0
        self.errors: list[tuple[float, str]] = []
        self._engine = engine
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(count)]

    def _work(self) -> None:
        while not self._stop.is_set():
            batch = picture(number=2)
            try:
                twice, *_ = self._engine.run(batch)
            except ModelError as error:
                self.errors.append((time.monotonic(), str(error)))
                time.sleep(0.01)
            else:
                self.answers += 1
                self.wrong += not (twice == batch * 2).all()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self.wrong == 0

    def wait_for_answers(self, more: int = 5) -> None:
        until = self.answers + more
        wait_for(lambda: self.answers >= until)


def wait_for(what: Callable[[], object], within_s: float = 60.0) -> None:
    until_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until_s, f"waited {within_s} s in vain"
        time.sleep(0.005)


def send(engine: IsolatedEngine, number: signal.Signals) -> int:
    pid = engine.pid
    assert pid is not None
    os.kill(pid, number)
    return pid


@contextmanager
def nothing_left() -> Iterator[None]:
    """Expects neither a process, nor a descriptor, nor a thread more than before."""
    own = psutil.Process()
    fds, threads, children = own.num_fds(), threading.active_count(), set(own.children())
    yield
    wait_for(lambda: threading.active_count() <= threads)
    assert not set(own.children()) - children
    assert own.num_fds() == fds


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_process_that_is_killed_is_told_of_and_started_again(tmp_path: Path, number: signal.Signals) -> None:
    with nothing_left(), isolated(tmp_path, workers=2, bounds=IsolationBounds(hang_after_s=20)) as engine:
        with Callers(engine) as callers:
            callers.wait_for_answers()
            killed_s = time.monotonic()
            pid = send(engine, number)
            wait_for(lambda: engine.deaths)
            callers.wait_for_answers()
        assert engine.pid != pid
        assert (engine.deaths, engine.state, engine.sentence) == (1, "running", "")
    assert 1 <= len(callers.errors) <= 2
    said_s, said = callers.errors[0]
    assert said_s - killed_s < 3.0  # on a busy machine
    assert said.startswith(f"the process that ran people on cpu ended (signal {number.value:d}")
    assert said.endswith("; it is started again")


def test_the_sentence_of_a_plain_kill(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        send(engine, signal.SIGKILL)
        wait_for(lambda: engine.deaths)
        assert engine.state == "restarting"
        assert engine.sentence == "the process that ran people on cpu ended (signal 9); it is started again"
        engine.run(picture())


def test_an_exit_and_an_abort_inside_a_call_fail_that_call_alone(tmp_path: Path) -> None:
    with nothing_left(), isolated(tmp_path) as engine:
        with pytest.raises(ModelError, match=r"ended \(exit status 3\); it is started again"):
            engine.run(picture(inner.EXIT))
        with pytest.raises(ModelError, match=r"ended \(signal 6: Fatal Python error: Aborted\)"):
            engine.run(picture(inner.ABORT))
        engine.run(picture())
        assert engine.deaths == 2


@pytest.mark.parametrize("order", [inner.HANG, inner.SPIN])
def test_a_call_that_hangs_is_ended_and_all_callers_are_told(
    tmp_path: Path, order: int, caplog: pytest.LogCaptureFixture
) -> None:
    bounds = IsolationBounds(hang_after_s=0.5)
    with nothing_left(), isolated(tmp_path, workers=2, bounds=bounds) as engine:
        engine.run(picture())
        with pytest.raises(ModelError, match=r"gave no answer for [01] s and was ended; it is started again"):
            engine.run(picture(order))
        begun_s = time.monotonic()
        engine.run(picture())
        assert time.monotonic() - begun_s < 20
        assert engine.deaths == 1
    assert "isolated_inner.py" in caplog.text  # where it hung


def test_a_process_that_is_stopped_is_ended_while_two_threads_call(tmp_path: Path) -> None:
    bounds = IsolationBounds(hang_after_s=1.5)
    with nothing_left(), isolated(tmp_path, workers=2, bounds=bounds) as engine, Callers(engine) as callers:
        callers.wait_for_answers()
        stopped_s = time.monotonic()
        pid = send(engine, signal.SIGSTOP)
        wait_for(lambda: len(callers.errors) == 2)
        assert all(1.0 < said_s - stopped_s < 6.0 for said_s, _ in callers.errors)
        callers.wait_for_answers()
        assert not psutil.pid_exists(pid)
        assert engine.deaths == 1


def test_the_first_call_with_a_shape_may_take_longer_and_holds_others_up(tmp_path: Path) -> None:
    with isolated(tmp_path, bounds=IsolationBounds(hang_after_s=0.4, start_within_s=60)) as engine:
        engine.run(picture(inner.SLOW, number=2))  # 0.5 s
        engine.run(picture(number=2))
        with pytest.raises(ModelError, match="gave no answer"):
            engine.run(picture(inner.SLOW, number=2))


@pytest.mark.parametrize("said", range(len(inner.SAID)))
def test_a_process_that_says_what_makes_no_sense_is_ended(tmp_path: Path, said: int) -> None:
    with nothing_left(), isolated(tmp_path) as engine:
        batch = picture(inner.NONSENSE)
        batch[0, 0, 0, 1] = said
        with pytest.raises(ModelError, match=r"said what makes no sense, and was ended; it is started again"):
            engine.run(batch)
        engine.run(picture())


def test_a_request_for_too_much_memory_is_refused_and_ends_nothing(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        with pytest.raises(ModelError, match="memory to share with an engine's process cannot be had"):
            engine.run(np.broadcast_to(np.float32(0), (1 << 10, 3, 1 << 10, 1 << 9)))  # 6 GiB, if it were there
        (twice, *_) = engine.run(picture())
        assert (twice == picture() * 2).all()
        assert engine.deaths == 0


def test_an_interrupted_call_leaves_the_next_one_its_own_answer(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.isolated_interrupts", str(tmp_path)],
        cwd=inner.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_memory_above_the_bound_ends_the_process(tmp_path: Path) -> None:
    bounds = IsolationBounds(memory_bytes=300 << 20)
    with nothing_left(), isolated(tmp_path, bounds=bounds) as engine:
        with pytest.raises(ModelError, match=r"held \d+ MiB of memory, 300 MiB are allowed, and was ended"):
            engine.run(picture(inner.EAT))
        engine.run(picture())
        assert engine.deaths_by_cause == {"ended": 0, "hang": 0, "memory": 1, "start": 0}


def test_after_six_deaths_it_is_down_until_its_time_comes_and_then_runs_again(tmp_path: Path) -> None:
    now_s = 0.0
    with isolated(tmp_path, restarts=Restarts(5, 60, 60, lambda: now_s)) as engine:
        for _ in range(6):
            with pytest.raises(ModelError):
                engine.run(picture(inner.EXIT))
        assert (engine.state, engine.deaths) == ("down", 6)
        now_s = 20.0
        begun_s = time.monotonic()
        text = r"ended \(exit status 3\); more than 5 deaths in 60 s: it is down, next try in 40 s"
        with pytest.raises(ModelError, match=text):
            engine.run(picture())
        assert time.monotonic() - begun_s < 0.1
        assert engine.pid is None
        now_s = 60.0
        with pytest.raises(ModelError, match="next try in 60 s"):  # the one try
            engine.run(picture(inner.EXIT))
        now_s = 121.0
        engine.run(picture())
        assert (engine.state, engine.deaths, engine.sentence) == ("running", 7, "")


def test_an_engine_that_cannot_be_opened_again_counts_as_dead(tmp_path: Path) -> None:
    with isolated(tmp_path, fault="error", later=True) as engine:
        send(engine, signal.SIGKILL)
        wait_for(lambda: engine.deaths)
        for deaths in range(2, 7):
            with pytest.raises(ModelError, match=r"did not start: .*inner\.json: damaged"):
                engine.run(picture())
            assert engine.deaths == deaths
        assert engine.state == "down"


def test_a_model_that_has_changed_is_not_taken_up(tmp_path: Path) -> None:
    with isolated(tmp_path) as engine:
        (tmp_path / "inner.json").write_text('{"labels": 3}')
        send(engine, signal.SIGKILL)
        wait_for(lambda: engine.deaths)
        with pytest.raises(ModelError, match=r"inner\.json has changed; start watchline again"):
            engine.run(picture())


@pytest.mark.parametrize(("fault", "said"), [("exit", "exit status 4"), ("hang", "did not start within 1 s")])
def test_a_process_that_ends_or_hangs_at_first_is_an_error_of_opening(tmp_path: Path, fault: str, said: str) -> None:
    within_s = 1.0 if fault == "hang" else 60.0
    with nothing_left(), pytest.raises(ModelError, match=said):
        isolated(tmp_path, bounds=IsolationBounds(start_within_s=within_s), fault=fault)


def test_close_ends_a_stopped_process_within_two_seconds(tmp_path: Path) -> None:
    with nothing_left():
        engine = isolated(tmp_path)
        pid = send(engine, signal.SIGSTOP)
        begun_s = time.monotonic()
        engine.close()
        assert time.monotonic() - begun_s < 2
        assert not psutil.pid_exists(pid)


def test_a_close_while_it_starts_again_ends_that_too(tmp_path: Path) -> None:
    with nothing_left():
        engine = isolated(tmp_path)
        with Callers(engine) as callers:
            send(engine, signal.SIGKILL)
            wait_for(lambda: engine.deaths)
            time.sleep(0.05)
            engine.close()
        assert callers.errors


_PARENT = """
import sys, time
from pathlib import Path
from tests.detectors.isolated_inner import isolated, picture, HANG
import threading
engine = isolated(Path(sys.argv[1]))
threading.Thread(target=engine.run, args=(picture(int(sys.argv[2])),), daemon=True).start()
time.sleep(0.3)
print(engine.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("order", [0, inner.HANG, inner.SPIN])
def test_the_process_ends_with_its_parent(tmp_path: Path, order: int) -> None:
    command = [sys.executable, "-c", _PARENT, str(tmp_path), str(order)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=inner.ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    wait_for(lambda: not psutil.pid_exists(pid), 3)


def test_fifty_kills_leave_neither_processes_nor_descriptors_nor_threads(tmp_path: Path) -> None:
    with isolated(tmp_path, workers=2, restarts=Restarts(_OFTEN, 60)) as engine, Callers(engine) as callers:
        own = psutil.Process()
        counts = []
        for kill in range(50):
            callers.wait_for_answers(2)
            if kill in (4, 49):
                counts.append((own.num_fds(), threading.active_count(), len(own.children())))
            with suppress(AssertionError, ProcessLookupError):  # it has just gone
                send(engine, signal.SIGKILL)
            wait_for(lambda kill=kill: engine.deaths == kill + 1)  # type: ignore[misc]
    assert counts[0] == counts[1]
    assert 50 <= len(callers.errors) <= 100
