"""The parent's side of one process that runs an engine: starts it, calls it, watches it, and says how it ended."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import numpy as np

from watchline.detectors.boxes import F32
from watchline.detectors.engine import EngineInfo
from watchline.detectors.isolated_wire import (
    Channel,
    EngineJob,
    Message,
    Opened,
    Seat,
    error_in,
    info_in,
    job_out,
    opened_in,
    without_fds,
)
from watchline.streams.errors import ModelError, WatchlineError
from watchline.streams.free_memory import own_memory_bytes
from watchline.streams.ingest_words import LastWords, telling_line
from watchline.streams.redact import redact

Cause: TypeAlias = Literal["ended", "hang", "memory", "start", "closed"]
DEADLY: Final[tuple[Cause, ...]] = ("ended", "hang", "memory", "start")

_log = logging.getLogger("watchline.detectors")

_PROGRAM: Final = "watchline.detectors.isolated_child"
# How to find libraries and devices, and how they compute.
_ENVIRONMENT: Final = frozenset(
    {
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
        *(
            "PYTHONPATH",
            "PYTHONHOME",
            "PYTHONPYCACHEPREFIX",
            "PYTHONDONTWRITEBYTECODE",
            "LD_LIBRARY_PATH",
            "LD_PRELOAD",
        ),
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_MODULE_LOADING", "CUDA_CACHE_PATH", "CUDA_CACHE_MAXSIZE"),
        *("CUDA_HOME", "CUDA_PATH", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE"),
        *("CUBLAS_WORKSPACE_CONFIG", "GLIBC_TUNABLES", "ORT_DISABLE_TELEMETRY"),
    }
)
_ENVIRONMENT_PREFIXES: Final = ("OMP_", "KMP_", "ONEDNN_", "OV_", "MALLOC_")
_ONE_THREAD: Final = MappingProxyType({"OPENBLAS_NUM_THREADS": "1"})  # NumPy only copies there

_WATCH_S: Final = 1.0
_MEMORY_WATCH_S: Final = 0.25  # memory grows by a gigabyte in that time at worst
_END_S: Final = 2.0  # in which a process that was told to end does
_CLOSE_S: Final = 1.0  # likewise, where somebody waits
_STATUS_S: Final = 2.0  # in which the system tells how a process ended that is gone
_MOST_SHAPES: Final = 64  # that are remembered
_NONSENSE: Final = "said what makes no sense, and was ended"


@dataclass(frozen=True, slots=True)
class IsolationBounds:
    """How long and how large an isolated engine may become.

    Attributes:
        hang_after_s: after which a call without an answer is a hang.
        start_within_s: the same for the start, and for the first call with pictures of a size: there an engine may be
            built or compiled.
        memory_bytes: what its process may hold for itself, shared pictures and the memory of a GPU apart; 0 for all.
    """

    hang_after_s: float = 30.0
    start_within_s: float = 300.0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended.

    Attributes:
        cause: "ended" (by itself, or killed by another), "hang", "memory", "start" (no engine could be opened there) or
            "closed" (it was to).
        text: the same in words, without what comes next.
        error: what the engine itself said as it was opened, if that was it.
    """

    cause: Cause
    text: str
    error: WatchlineError | None = None


class GoneError(Exception):
    """The process has ended, or is about to; `EngineProcess.end` says how."""


class EngineProcess:
    """One process, from its start to its end; `live` is that, in a thread that lives longer."""

    def __init__(self, job: EngineJob, bounds: IsolationBounds, expected: Opened | None = None) -> None:
        """Starts nothing yet.

        Args:
            job: what it does.
            bounds: how long and how large it may become.
            expected: what it has to say of its engine, where an earlier one has said so.
        """
        self._job = job
        self._bounds = bounds
        self._expected = expected
        self._changed = threading.Condition()  # of all that follows
        self._child: subprocess.Popen[bytes] | None = None
        self._control: Channel | None = None
        self._all: list[Seat] = []
        self._free: list[Seat] = []
        self._opened: Opened | None = None
        self._info: EngineInfo | None = None
        self._news = 0
        self._verdict: End | None = None
        self._end: End | None = None
        self._seen: set[tuple[int, ...]] = set()  # shapes of batches that were answered
        self._first_calls = 0  # under way, with a shape that is new

    @property
    def pid(self) -> int | None:
        """Of the process; None before its start and after its end."""
        child = self._child
        return child.pid if child is not None and self._end is None else None

    @property
    def _name(self) -> str:
        """What it is, for sentences."""
        device = self._info.device if self._info is not None and self._job.device == "auto" else self._job.device
        return f"the process that ran {self._job.name} on {device}"

    @property
    def opened(self) -> Opened | None:
        """What it says of its engine; None as long as that is not open."""
        return self._opened

    @property
    def info(self) -> EngineInfo | None:
        """What really runs there, as last heard; None as long as nothing does."""
        return self._info

    @property
    def end(self) -> End | None:
        """How it ended, or that it is about to; None while it is well."""
        return self._end or self._verdict

    def wait_open(self) -> Opened:
        """Waits for the engine.

        Raises:
            GoneError: it ended instead.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._opened is not None or self._end is not None)
            if self._opened is None or self._end is not None:
                raise GoneError
            return self._opened

    def call(self, batch: F32) -> tuple[F32, ...]:
        """Returns what the engine gives for `batch`; waits for its turn where all workers are at work.

        Raises:
            GoneError: the process ended, or hung and was ended.
            ModelError: the engine's own, or that there is no memory to share.
        """
        if batch.dtype != np.float32:
            raise ModelError(f"an input of {batch.dtype}; the network wants float32")
        seat = self._take()
        begun_s = time.monotonic()
        try:
            with self._counted(batch.shape) as is_first:
                answer = seat.call(batch, lambda: self._patience(is_first, begun_s))
                self._hear_news(answer)
                if answer["do"] == "failed":
                    raise error_in(answer)
                return seat.outputs(answer)
        except TimeoutError:
            self._give_up("hang", f"gave no answer for {time.monotonic() - begun_s:.0f} s and was ended")
            raise GoneError from None
        except (AttributeError, KeyError, TypeError, ValueError):
            self._give_up("ended", _NONSENSE)
            raise GoneError from None
        except OSError:  # of the channel: the process is gone, and the system soon tells how
            self._wait_end(_STATUS_S)
            raise GoneError from None
        finally:
            self._put(seat)

    def close(self) -> None:
        """Ends it; calls under way fail."""
        self._give_up("closed", "was closed")

    def live(self) -> End:
        """Starts the process, and looks after it to its end, which it returns; leaves nothing behind."""
        try:
            end = self._live()
        except Exception:  # noqa: BLE001  # a defect must not leave callers waiting
            _log.exception("%s could not be looked after", self._name)
            end = self._verdict or End("ended", f"{self._name} could not be looked after; please report this")
        with self._changed:
            self._end = end
            for seat in self._free:
                seat.close()
            self._changed.notify_all()
        return end

    def _take(self) -> Seat:
        with self._changed:
            self._changed.wait_for(lambda: self._free or self.end is not None)
            if self.end is not None:
                raise GoneError
            return self._free.pop()

    def _put(self, seat: Seat) -> None:
        with self._changed:
            if self._end is not None:
                seat.close()
            self._free.append(seat)
            self._changed.notify_all()

    def _give_up(self, cause: Cause, text: str, error: WatchlineError | None = None) -> None:
        """Ends the process for a reason, and lets everybody know who waits for it."""
        with self._changed:
            if self._end is not None or self._verdict is not None:
                return
            self._verdict = End(cause, f"{self._name} {text}", error)
            if self._child is not None and cause == "hang":
                self._child.send_signal(signal.SIGABRT)  # it then says where it hung
            elif self._child is not None and cause == "memory":
                self._child.kill()
            self._shut()

    def _shut(self) -> None:
        """Ends all talk: the process ends itself by that, and nobody waits for it any more."""
        for channel in (self._control, *(seat.channel for seat in self._all)):
            if channel is not None:
                channel.shut()
        self._changed.notify_all()

    def _wait_end(self, within_s: float) -> None:
        """Waits until it is known how the process ended, or that it shall."""
        with self._changed:
            if self._changed.wait_for(lambda: self.end is not None, within_s):
                return
        self._give_up("ended", "ended")

    @contextmanager
    def _counted(self, shape: tuple[int, ...]) -> Iterator[bool]:
        """Counts a call under way; yields whether it is the first with its shape."""
        with self._changed:
            is_first = shape not in self._seen
            self._first_calls += is_first
        try:
            yield is_first
            with self._changed:
                self._seen = {*self._seen, shape} if len(self._seen) < _MOST_SHAPES else {shape}
        finally:
            with self._changed:
                self._first_calls -= is_first

    def _patience(self, is_first: bool, begun_s: float) -> Iterator[float]:
        """Yields for how long to wait for an answer, and again, where others that are first may hold it up."""
        bounds = self._bounds
        if is_first:
            yield bounds.start_within_s
            return
        yield bounds.hang_after_s
        while self._first_calls and time.monotonic() - begun_s < bounds.start_within_s:
            yield bounds.hang_after_s

    def _live(self) -> End:
        words = LastWords()
        try:
            try:
                self._spawn(words.to)
            except OSError as error:
                return End("start", f"{self._name} cannot be started ({error.strerror or error})")
            words.close_writer()
            try:
                self._listen(words)
            finally:
                status = self._bury()
            words.hear()
            return self._why(status, words.text([]))
        except OSError as error:
            return End("start", f"{self._name} cannot be started ({error.strerror or error})")
        finally:
            words.close()

    def _spawn(self, stderr: int) -> None:
        with ExitStack() as theirs, ExitStack() as ours:
            pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(self._job.workers + 1)]
            for own, other in pairs:
                ours.callback(own.close)
                theirs.callback(other.close)
            fds = [other.fileno() for _, other in pairs]
            child = subprocess.Popen(  # noqa: S603  # this very interpreter, with fixed arguments
                [sys.executable, "-P", "-m", _PROGRAM, *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=fds,
                env=_environment(),
                process_group=0,  # an interrupt from the terminal is for the parent
            )
            ours.pop_all()
        control, *seats = (Channel(own) for own, _ in pairs)
        with self._changed:
            self._child, self._control = child, control
            self._all = [Seat(channel) for channel in seats]
            if self._verdict is not None:  # it was closed before it began
                self._shut()
        with suppress(OSError):  # it is gone already, which is seen next
            control.send(
                "begin",
                parent=os.getpid(),
                log_level=logging.getLogger("watchline").getEffectiveLevel(),
                job=job_out(self._job),
            )

    def _listen(self, words: LastWords) -> None:
        """Hears what the process says, until it is gone or given up."""
        assert self._control is not None
        watch_s = _MEMORY_WATCH_S if self._bounds.memory_bytes else _WATCH_S
        until_s = time.monotonic() + self._bounds.start_within_s
        while True:
            with suppress(TimeoutError):
                try:
                    received = self._control.receive(watch_s)
                    if received is None:
                        return
                    self._obey(without_fds(received))
                except (AttributeError, KeyError, TypeError, ValueError):
                    self._give_up("ended", _NONSENSE)
            words.hear()
            self._watch(until_s)

    def _obey(self, message: Message) -> None:
        match message["do"]:
            case "ready":
                opened = opened_in(message["opened"])
                self._hear_news(message)
                if self._expected not in (None, opened):
                    self._give_up("start", f"cannot go on: {self._job.path} has changed; start watchline again")
                    return
                with self._changed:
                    if self._verdict is None:
                        self._opened, self._free = opened, list(self._all)
                        self._changed.notify_all()
            case "refused":
                error = error_in(message)
                self._give_up("start", f"did not start: {error}", error)
            case "news":
                self._hear_news(message)
            case "log":
                logger, level = logging.getLogger(str(message["name"])), int(message["level"])
                if logger.isEnabledFor(level):
                    logger.log(level, "%s", redact(str(message["text"])))

    def _hear_news(self, message: Message) -> None:
        if "info" in message:
            info, number = info_in(message["info"]), int(message["news"])
            with self._changed:
                if number > self._news:
                    self._info, self._news = info, number

    def _watch(self, until_s: float) -> None:
        """Ends a process that does not begin, or holds too much."""
        bound = self._bounds.memory_bytes
        if self._opened is None and time.monotonic() > until_s:
            self._give_up("hang", f"did not start within {self._bounds.start_within_s:.0f} s and was ended")
        elif bound and self._child is not None:
            held = own_memory_bytes(Path(f"/proc/{self._child.pid}/status"))
            if held > bound:
                text = f"held {held >> 20} MiB of memory, {bound >> 20} MiB are allowed, and was ended"
                self._give_up("memory", text)

    def _bury(self) -> int:
        """Leaves no process and no socket behind; returns the exit status."""
        assert self._child is not None
        with self._changed:
            verdict = self._verdict
            self._shut()
        try:
            status = self._child.wait(_END_S if verdict and verdict.cause == "hang" else _CLOSE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        if self._control is not None:
            self._control.close()
        if self._opened is None:
            for seat in self._all:
                seat.close()
        return status

    def _why(self, status: int, left: str) -> End:
        """Logs what the process wrote at last; returns how it ended."""
        if left and (self._verdict is None or self._verdict.cause != "closed"):
            _log.error("%s left:\n%s", self._name, left)
        if self._verdict is not None:
            return self._verdict
        line = telling_line(left)
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return End("ended", f"{self._name} ended ({how}{': ' + line if line else ''})")


def _environment() -> dict[str, str]:
    """Returns all that the process is told of this one's environment: nothing secret."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    return {**kept, **_ONE_THREAD}
