"""The program of an isolated engine: opens a network and runs it for its parent, who gives and takes shared memory.

Started as `python -m watchline.detectors.isolated_child FD FD...`: sockets to the parent, the first for all that is no
call. What it is to open comes through that one.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.engine import Engine, EngineInfo
from watchline.detectors.isolated_wire import (
    Channel,
    EngineJob,
    Message,
    Opened,
    arrays_in,
    bytes_of,
    error_out,
    info_out,
    job_in,
    opened_out,
    specs_of,
)
from watchline.streams.shared_mapping import Mapped, map_shared

_BEAT_S: Final = 1.0
_LOG_LINES: Final = 20  # a beat; more are left out
_LOG_CHARACTERS: Final = 2000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_OOM_SCORE_ADJ: Final = 500  # short of memory, the system shall end this process before its parent


class _News:
    """What the engine says of itself, told once for each change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._told: EngineInfo | None = None
        self._number = 0

    def take(self) -> Message:
        """Returns what is to be added to the next message: nothing where nothing has changed."""
        info = self._engine.info
        if info is self._told:
            return {}
        with self._lock:
            info = self._engine.info  # what two threads saw comes in order
            if info == self._told:
                return {}
            self._told = info
            self._number += 1
            return {"info": info_out(info), "news": self._number}


class _Seat:
    """Does one call after the other, for whoever has the other end of the channel."""

    def __init__(self, channel: Channel, engine: Engine, news: _News) -> None:
        self._channel = channel
        self._engine = engine
        self._news = news
        self._input: Mapped = None
        self._room: Mapped = None
        self._room_bytes = 0

    def work(self) -> None:
        """Works until the parent is gone."""
        call = self._next()
        while call is not None:
            call = self._answer(call)

    def _answer(self, call: Message) -> Message | None:
        """Does one call; returns the next."""
        number = call["number"]
        try:
            (batch,) = arrays_in(self._input, [(np.dtype(np.float32).str, tuple(call["shape"]))])
            outputs: tuple[NDArray[Any], ...] = self._engine.run(batch)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the caller's
            self._channel.send("failed", number=number, **error_out(error), **self._news.take())
            return self._next()
        specs = specs_of(outputs)
        if (need := bytes_of(specs)) > self._room_bytes:
            self._channel.send("room", number=number, bytes=need)
            call_instead = self._next(room=True)
            if call_instead is None or call_instead["do"] == "run":  # nobody waits for this one any more
                return call_instead
        for there, output in zip(arrays_in(self._room, specs), outputs, strict=True):
            np.copyto(there, output)
        del outputs  # an engine may use their memory again
        self._channel.send("done", number=number, outputs=specs, **self._news.take())
        return self._next()

    def _next(self, *, room: bool = False) -> Message | None:
        """Returns the next call, or the answer that there is room; takes the memory that comes with either."""
        while (received := self._channel.receive()) is not None:
            message, fds = received
            if "bytes" in message:
                mapped = _mapped(fds, message["bytes"])
                if message["do"] == "room":
                    self._room, self._room_bytes = mapped, message["bytes"]
                else:
                    self._input = mapped
            if message["do"] == "run" or room:
                return message
        return None


def _mapped(fds: list[int], size_bytes: int) -> Mapped:
    if not fds:  # the system takes descriptors away that a process may not have
        raise OSError("no descriptor is left for shared memory")
    try:
        return map_shared(fds[0], size_bytes)
    finally:
        os.close(fds[0])


class _LogHandler(logging.Handler):
    """Sends log lines to the parent; of a flood the first lines of each second."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._left = 0
        self._left_out = 0
        self._until_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            if self._left_out:
                self._send(__name__, logging.WARNING, f"{self._left_out} log lines were left out")
            self._left, self._left_out, self._until_s = _LOG_LINES, 0, now_s + _BEAT_S
        self._left -= 1
        if self._left < 0:
            self._left_out += 1
            return
        self._send(record.name, record.levelno, self.format(record))

    def _send(self, name: str, level: int, text: str) -> None:
        with suppress(OSError):  # the parent is gone, and with it whoever would read this
            self._channel.send("log", name=name, level=level, text=text[:_LOG_CHARACTERS])


class _Program:
    """The engine of this process and the seats at which calls are done."""

    def __init__(self, control: Channel, calls: list[Channel]) -> None:
        self._control = control
        self._calls = calls
        self._news: _News | None = None

    def run(self) -> None:
        """Does what the parent wants until it is gone."""
        while True:
            try:
                received = self._control.receive(_BEAT_S)
            except TimeoutError:
                self._tell_news()
                continue
            if received is None:
                return
            self._begin(received[0])

    def _begin(self, message: Message) -> None:
        if os.getppid() != message["parent"]:
            os._exit(0)  # it died before it could be watched
        job = job_in(message["job"])
        _set_title(f"watchline: detector {job.name}")
        handler = _LogHandler(self._control)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logging.basicConfig(level=message["log_level"], handlers=[handler])
        # In a thread of its own: this one sees at once when the parent goes, however long that takes.
        threading.Thread(target=_safely, args=(self._open, job), name="watchline-open", daemon=True).start()

    def _open(self, job: EngineJob) -> None:
        try:
            module, _, name = job.opener.partition(":")
            open_engine = getattr(importlib.import_module(module), name)
            engine: Engine = open_engine(job.path, job.device, job.family, job.workers, job.engines)
            opened = opened_out(Opened(engine.card, engine.fixed_size))
        except Exception as error:  # noqa: BLE001  # the border of the process: the parent raises it
            self._control.send("refused", **error_out(error))
            return
        news = _News(engine)
        self._control.send("ready", opened=opened, **news.take())
        self._news = news
        for i, channel in enumerate(self._calls):
            seat = _Seat(channel, engine, news)
            threading.Thread(target=_safely, args=(seat.work,), name=f"watchline-call-{i}", daemon=True).start()

    def _tell_news(self) -> None:
        """Says what has changed between calls: a better engine may have been built."""
        news = self._news.take() if self._news else {}
        if news:
            with suppress(OSError):  # the parent is gone: the next look sees it
                self._control.send("news", **news)


def _safely(work: Any, *arguments: Any) -> None:
    """Works; what must not happen ends the process, and so comes to light."""
    try:
        work(*arguments)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, which the main thread sees
    except BaseException:  # noqa: BLE001  # no caller may wait for a thread that is no more
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(70)


def _set_title(title: str) -> None:
    from setproctitle import setproctitle

    setproctitle(title)


def _protect() -> None:
    """Dies with the parent alone, and leaves no image of its memory, in which pictures stand."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a service's stop goes to all its processes: the parent's to obey
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError, ValueError):  # while it may still: what leaves no image does not own that file
        score = Path("/proc/self/oom_score_adj")
        score.write_text(str(max(_OOM_SCORE_ADJ, int(score.read_text()))))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(_PR_SET_DUMPABLE, 0)  # the bound of 0 does not hold for cores that go to a program


def main() -> None:
    """Runs the program."""
    _protect()
    faulthandler.enable()
    ends = [socket.socket(fileno=int(fd)) for fd in sys.argv[1:]]
    for end in ends:
        end.set_inheritable(False)  # what builds a better engine has no part in this
    control, *calls = map(Channel, ends)
    _Program(control, calls).run()
    os._exit(0)  # calls that are still under way would only delay it


if __name__ == "__main__":
    main()
