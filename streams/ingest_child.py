"""The program of an ingest process: reads a group of cameras, and hands their pictures over in shared memory.

Started as `python -m watchline.streams.ingest_child FD`, where FD is a socket to the parent. What it is to do, and with
which passwords, comes through that socket; nothing of it stands on the command line or in the environment.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from watchline.streams.camera import Camera, CameraEvent, CameraState
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Connect
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Frame, Picture
from watchline.streams.free_memory import own_memory_bytes, words_of
from watchline.streams.ingest_wire import (
    Channel,
    FrameNote,
    Message,
    event_out,
    secrets_of,
    settings_in,
)
from watchline.streams.ledger import Drop, Ledger
from watchline.streams.live_clock import LiveClock
from watchline.streams.redact import redact
from watchline.streams.shared_pictures import PictureMemory, shape_of, shared_cells

BEAT_S = 1.0
_STOP_S = 1.0  # for all cameras to end their connections
_ANSWER_S = 5.0
_LOSSLESS_LOOK_S = 0.005
_LOSSLESS_ASK_S = 0.05
_LOG_LINES = 20  # a beat; more are left out
_LOG_CHARACTERS = 2000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_OOM_SCORE_ADJ = 500  # short of memory, the system shall end an ingest process before its parent


class _SharedOutlet:
    """Copies the frames of one camera into shared memory and says so."""

    def __init__(self, key: int, settings: CameraSettings, ledger: Ledger, channel: Channel) -> None:
        self.answers: queue.SimpleQueue[tuple[int, PictureMemory | str]] = queue.SimpleQueue()
        self.stopping = threading.Event()
        self._key = key
        self._settings = settings
        self._ledger = ledger
        self._channel = channel
        self._memory: PictureMemory | None = None
        self._old: list[PictureMemory] = []  # of a lossless camera, whose pictures wait or are held
        self._asked = 0

    def put(self, frame: Frame) -> None:
        """See `FrameOutlet.put`.

        Raises:
            CameraError: there is no memory for pictures of this size.
        """
        shape = shape_of(frame.picture)
        memory = self._memory
        try:
            if memory is None or shape.size_bytes > memory.slot_bytes:
                memory = self._memory = self._new(memory, frame.picture, shape.size_bytes)
            slot = self._take(memory)
            if slot is None:
                self._ledger.drop(Drop.NO_ROOM)
                return
        except CameraError:
            self._ledger.drop(Drop.NO_ROOM)
            raise
        try:
            memory.write(slot, frame.picture, shape)
        except BaseException:
            memory.give_back(slot)
            self._ledger.drop(Drop.DAMAGED)
            raise
        self._channel.send_frame(self._key, slot, frame, shape)

    def _new(self, old: PictureMemory | None, picture: Picture, size_bytes: int) -> PictureMemory:
        self._memory = None  # so that the old memory is free before more is asked for
        if not self._settings.lossless:
            del old
            return self._ask(picture, size_bytes)
        self._old += [old] if old is not None else []
        while True:
            self._old = [memory for memory in self._old if memory.held]
            try:
                return self._ask(picture, size_bytes)
            except CameraError:
                # There will be more once the pictures before this one were taken; without any, there never will.
                if not self._old or self.stopping.wait(_LOSSLESS_ASK_S):
                    raise

    def _ask(self, picture: Picture, size_bytes: int) -> PictureMemory:
        self._asked += 1
        size = {"width": picture.width, "height": picture.height, "slot_bytes": size_bytes}
        self._channel.send("ask", key=self._key, ask=self._asked, **size)
        until_s = time.monotonic() + _ANSWER_S
        with suppress(queue.Empty):
            while True:
                asked, answer = self.answers.get(timeout=max(0.0, until_s - time.monotonic()))
                if asked != self._asked:
                    continue  # it came too late for an earlier question
                if isinstance(answer, PictureMemory):
                    return answer
                raise CameraError(Reason.MEMORY, answer)
        text = f'camera "{self._settings.camera}": no memory was given within {_ANSWER_S:.0f} s'
        raise CameraError(Reason.MEMORY, text)

    def _take(self, memory: PictureMemory) -> int | None:
        slot = memory.take()
        while slot is None and self._settings.lossless and not self.stopping.wait(_LOSSLESS_LOOK_S):
            slot = memory.take()
        return slot


class _LogHandler(logging.Handler):
    """Sends log lines to the parent without credentials; of a flood the first lines of each second."""

    def __init__(self, program: _Program) -> None:
        super().__init__()
        self._program = program
        self._left = _LOG_LINES
        self._left_out = 0
        self._until_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one record."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self.tell_left_out()
            self._left, self._until_s = _LOG_LINES, now_s + BEAT_S
        self._left -= 1
        if self._left < 0:
            self._left_out += 1
            return
        self._send(record.name, record.levelno, self.format(record))

    def tell_left_out(self) -> None:
        """Says in one line how many lines were left out since the last time."""
        left_out, self._left_out = self._left_out, 0
        if left_out:
            self._send(__name__, logging.WARNING, f"an ingest process: {left_out} log lines were left out")

    def _send(self, name: str, level: int, text: str) -> None:
        with suppress(OSError):  # the parent is gone, and with it whoever would read this
            self._program.send_log(name, level, text)


class _Program:
    """The cameras of this process, and what the parent says."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._connect: Connect | None = None
        self._cameras: dict[int, tuple[Camera, _SharedOutlet, CameraSettings]] = {}

    def run(self) -> None:
        """Does what the parent says until it says stop, or is gone."""
        while (received := self._channel.receive()) is not None:
            message, fds = received
            try:
                if isinstance(message, FrameNote):
                    continue  # a parent has none to give
                if message["do"] == "stop":
                    break
                self._obey(message, fds)
            finally:
                for fd in fds:
                    os.close(fd)
        self._stop_all()

    def send_log(self, name: str, level: int, text: str) -> None:
        """Hands a log line to the parent."""
        secrets = secrets_of(settings for _, _, settings in tuple(self._cameras.values()))
        self._channel.send("log", name=name, level=level, text=redact(text, secrets)[:_LOG_CHARACTERS])

    def _obey(self, message: Message, fds: list[int]) -> None:
        match message["do"]:
            case "begin":
                self._begin(message)
            case "add":
                self._add(message, fds[0] if fds else None)
            case "remove":
                camera, outlet, _ = self._cameras.get(message["key"], (None, None, None))
                if camera is not None and outlet is not None:
                    outlet.stopping.set()
                    camera.stop()
            case "memory":
                self._answer(message, _memory_in(message, fds))
            case "refuse":
                self._answer(message, message["sentence"])

    def _begin(self, message: Message) -> None:
        if os.getppid() != message["parent"]:
            os._exit(0)  # it died before it could be watched
        _limit_memory(message["data_bytes"])
        handler = _LogHandler(self)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logging.basicConfig(level=message["log_level"], handlers=[handler])
        module, _, name = message["connect"].partition(":")
        self._connect = getattr(importlib.import_module(module), name)
        threading.Thread(target=self._beat, args=(handler,), name="ingest-beat", daemon=True).start()

    def _beat(self, handler: _LogHandler) -> None:
        while True:
            self._tell("alive", held_bytes=own_memory_bytes())
            handler.tell_left_out()
            time.sleep(BEAT_S)

    def _tell(self, do: str, **content: Any) -> None:
        try:
            self._channel.send(do, **content)
        except OSError:
            os._exit(0)  # the parent is gone

    def _add(self, message: Message, fd: int | None) -> None:
        if fd is None:
            raise SystemExit("MemoryError: an ingest process has no descriptor left for one more camera")
        assert self._connect is not None  # "begin" comes first
        key, settings = message["key"], settings_in(message["settings"])
        ledger = Ledger(shared_cells(fd))
        outlet = _SharedOutlet(key, settings, ledger, self._channel)
        clock = LiveClock()
        if message["born_s"] is not None:
            clock.resume(message["born_s"], message["last_s"])

        def listen(event: CameraEvent) -> None:
            self._tell("event", key=key, event=event_out(event))
            if event.state is CameraState.STOPPED:
                self._cameras.pop(key, None)

        camera = Camera(settings, outlet, ledger, self._connect, listen, clock=clock)
        self._cameras[key] = camera, outlet, settings
        camera.start()

    def _answer(self, message: Message, answer: PictureMemory | str) -> None:
        found = self._cameras.get(message["key"])
        if found is not None:
            found[1].answers.put((message["ask"], answer))

    def _stop_all(self) -> None:
        found = tuple(self._cameras.values())
        for camera, outlet, _ in found:
            outlet.stopping.set()
            camera.stop()
        until_s = time.monotonic() + _STOP_S
        for camera, _, _ in found:
            camera.join(max(0.0, until_s - time.monotonic()))


def _memory_in(message: Message, fds: list[int]) -> PictureMemory | str:
    """Returns the memory that a message brings, or why it cannot be used."""
    try:
        if not fds:  # the system takes descriptors away that a process may not have
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return PictureMemory(fds[0], message["slot_bytes"], message["slots"])
    except OSError as error:
        return f"its ingest process cannot take memory for its pictures ({error.strerror}); use fewer cameras"


def _limit_memory(data_bytes: int) -> None:
    """Makes what asks for far too much more than now fail at once; the parent watches the rest."""
    import resource

    words = words_of(Path("/proc/self/status"))
    if "VmData:" not in words:
        return
    bound = int(words[words.index("VmData:") + 1]) * 1024 + data_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))


def _protect() -> None:
    """Dies with the parent alone, and leaves no image of its memory, in which pictures and passwords stand."""
    import resource

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
    end = socket.socket(fileno=int(sys.argv[1]))
    program = _Program(Channel(end))
    program.run()
    os._exit(0)  # threads that still wait for a camera would only delay it


if __name__ == "__main__":
    main()
