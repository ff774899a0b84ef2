"""The parent's side of one ingest process: starts it, listens to it, watches it, and starts it again."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from types import MappingProxyType

from watchline.streams.backoff import Backoff
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason
from watchline.streams.ingest_member import Member
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ingest_wire import Channel, Message, event_in
from watchline.streams.ledger import Drop
from watchline.streams.redact import redact
from watchline.streams.shared_budget import SharedBudget
from watchline.streams.shared_pictures import reserve

_log = logging.getLogger(__name__)

WATCH_S = 1.0
_PROGRAM = "watchline.streams.ingest_child"
_BIRTH_S = 20.0  # more than usual, in which a new process may say nothing: a busy machine imports slowly
_STDERR_BYTES = 1 << 16
# All that a child is told of its parent's environment: how to find libraries, devices, certificates and the time.
_ENVIRONMENT = frozenset(
    {
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"),
        *("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
    }
)
_ENVIRONMENT_PREFIXES = ("GST_", "LIBVA_", "GI_")
_ONE_THREAD = MappingProxyType({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})  # nothing there computes


class IngestProcess:
    """One process and the cameras that it reads, for as long as they are wanted."""

    def __init__(self, number: int, connect: str, settings: IngestSettings, budget: SharedBudget) -> None:
        """Starts it.

        Args:
            number: for names.
            connect: what opens connections there, as "module:function".
            settings: bounds.
            budget: gives out memory for pictures.
        """
        self._connect = connect
        self._settings = settings
        self._budget = budget
        self._members: dict[int, Member] = {}
        self._lock = threading.Lock()  # of the members, and of what is sent to whom
        self._channel: Channel | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._verdict: tuple[Reason, str] | None = None  # why this side ended the child
        self._heard_s = self._born_s = 0.0
        self._backoff = Backoff(Random())  # noqa: S311  # only keeps processes out of step
        # The kernel ends a child together with the thread that started it: this one, which lives longer.
        self._thread = threading.Thread(target=self._run, name=f"ingest-{number}", daemon=True)
        self._thread.start()

    @property
    def cameras(self) -> int:
        """Cameras that it is to read."""
        with self._lock:
            return sum(not member.leaving for member in self._members.values())

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None while there is none."""
        child = self._child
        return child.pid if child is not None else None

    def add(self, member: Member) -> None:
        """Has one more camera read."""
        with self._lock:
            self._members[member.key] = member
            self._send_to(self._channel, member.introduce)

    def remove(self, key: int) -> None:
        """Has a camera read no more; its process may need a moment to let it go."""
        with self._lock:
            member = self._members[key]
            member.leaving = True
            if self._channel is None:
                self._forget(member)
            else:
                self._send_to(self._channel, lambda channel: channel.send("remove", key=key))

    def stop(self) -> None:
        """Asks the process to end; what it still hands over is counted."""
        self._stop.set()
        with self._lock:
            self._send_to(self._channel, lambda channel: channel.send("stop"))

    def end(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it still runs."""
        child = self._child
        if child is not None:
            child.send_signal(number)

    def join(self, timeout_s: float) -> bool:
        """Waits for the end after `stop()`; returns whether all has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _send_to(self, channel: Channel | None, say: Callable[[Channel], None]) -> None:
        if channel is None:
            return
        try:
            say(channel)
        except (BrokenPipeError, ConnectionResetError):
            return  # it is gone, which the thread that listens sees too
        except OSError:
            self._give_up(Reason.CRASHED, "its ingest process took no messages and was ended")

    def _give_up(self, reason: Reason, text: str) -> None:
        self._verdict = self._verdict or (reason, text)
        self.end(signal.SIGKILL)

    def _run(self) -> None:
        while not self._stop.is_set():
            reason, text = self._live_safely()
            self._settle()
            if self._stop.is_set():
                break
            delay_s = self._backoff.failed(time.monotonic() - self._born_s)
            _log.warning("%s; it is started again in %.0f s", text, delay_s)
            with self._lock:
                for member in self._members.values():
                    member.crashed(reason, text, delay_s)
            self._stop.wait(delay_s)
        with self._lock:
            for member in tuple(self._members.values()):
                member.stopped()
                self._forget(member)

    def _live_safely(self) -> tuple[Reason, str]:
        try:
            return self._live()
        except Exception:  # noqa: BLE001  # a defect must not end the supervision
            _log.exception("an ingest process could not be looked after")
            return Reason.INTERNAL, "its ingest process could not be looked after; please report this"

    def _settle(self) -> None:
        """Counts what was lost with the process, and forgets cameras that had only waited for its end."""
        reason = Drop.STOPPED if self._stop.is_set() else Drop.LOST
        with self._lock:
            for member in tuple(self._members.values()):
                member.process_ended(reason)
                if member.leaving:
                    self._forget(member)

    def _forget(self, member: Member) -> None:
        del self._members[member.key]
        member.close()

    def _live(self) -> tuple[Reason, str]:
        """Lives through one process; returns why it ended."""
        self._verdict = None
        self._born_s = time.monotonic()
        self._heard_s = self._born_s + _BIRTH_S
        try:
            stderr = reserve(_STDERR_BYTES, "watchline-stderr")
        except OSError as error:
            return Reason.MEMORY, f"its ingest process cannot be started ({error.strerror})"
        try:
            try:
                child, channel = _spawn(stderr)
            except OSError as error:
                return Reason.CRASHED, f"its ingest process cannot be started ({error.strerror})"
            self._child = child
            try:
                self._begin(channel)
                self._listen(channel)
            finally:
                status = self._bury(child, channel)
            return self._why(f"its ingest process {_fate(status)}{_last_words(stderr)}")
        finally:
            os.close(stderr)

    def _why(self, text: str) -> tuple[Reason, str]:
        return self._verdict or (Reason.CRASHED, text)

    def _begin(self, channel: Channel) -> None:
        bound = 2 * self._settings.child_bound_bytes  # of what is asked for, of which a part is never used
        level = logging.getLogger("watchline").getEffectiveLevel()
        with self._lock:
            say: Message = {"connect": self._connect, "parent": os.getpid(), "data_bytes": bound, "log_level": level}
            self._send_to(channel, lambda channel: channel.send("begin", **say))
            for member in self._members.values():
                self._send_to(channel, member.introduce)
            self._channel = channel
            if self._stop.is_set():
                self._send_to(channel, lambda channel: channel.send("stop"))

    def _listen(self, channel: Channel) -> None:
        """Does what the child says, until it is gone and everything was read."""
        watch_s = 0.0
        while True:
            with suppress(TimeoutError):
                received = self._receive(channel)
                if received is None:
                    return
                self._heard_s = time.monotonic()
                self._obey(received, channel)
            now_s = time.monotonic()
            if now_s >= watch_s:
                watch_s = now_s + WATCH_S
                self._watch(now_s)

    def _receive(self, channel: Channel) -> Message | None:
        try:
            received = channel.receive()
        except ValueError:
            self._give_up(Reason.INTERNAL, "its ingest process said what cannot be read, and was ended")
            return {"do": "nothing"}
        if received is None:
            return None
        message, fds = received
        for fd in fds:  # it has none to give
            os.close(fd)
        return message

    def _obey(self, message: Message, channel: Channel) -> None:
        try:
            match message["do"]:
                case "frame":
                    member = self._members[message["key"]]
                    member.frame(message)
                case "event":
                    self._hear(message)
                case "ask":
                    member = self._members[message["key"]]
                    self._send_to(channel, lambda channel: member.grant(message, self._budget, channel))
                case "log":
                    _log_line(message)
        except (KeyError, TypeError, ValueError):
            self._give_up(Reason.INTERNAL, "its ingest process said what makes no sense, and was ended")

    def _hear(self, message: Message) -> None:
        event = event_in(message["event"])
        with self._lock:
            member = self._members[message["key"]]
            if event.state is CameraState.STOPPED and member.leaving:
                member.process_ended(Drop.STOPPED)
                self._forget(member)
        member.heard(event)

    def _watch(self, now_s: float) -> None:
        """Ends a child that hangs, holds too much, or has a camera that hangs."""
        if (silent_s := now_s - self._heard_s) > self._settings.hang_after_s:
            self._give_up(Reason.CRASHED, f"its ingest process gave no sign of life for {silent_s:.0f} s and was ended")
            return
        held, bound = _held_bytes(self.pid), self._settings.child_bound_bytes
        if held > bound:
            text = f"its ingest process held {held >> 20} MiB of memory, {bound >> 20} MiB are allowed, and was ended"
            self._give_up(Reason.MEMORY, f"{text} (child_memory_bytes)")
            return
        with self._lock:
            stuck = [m for m in self._members.values() if m.stuck_s() > self._settings.stuck_after_s]
        if stuck:
            name = stuck[0].settings.camera
            self._give_up(Reason.CRASHED, f'its ingest process hung in camera "{name}" and was ended')

    def _bury(self, child: subprocess.Popen[bytes], channel: Channel) -> int:
        """Leaves no process and no socket behind; returns the exit status."""
        with self._lock:
            self._channel = None
            channel.close()
        try:
            status = child.wait(WATCH_S)
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
        self._child = None
        return status


def _spawn(stderr: int) -> tuple[subprocess.Popen[bytes], Channel]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(WATCH_S)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    try:
        with theirs:
            child = subprocess.Popen(  # noqa: S603  # this very interpreter, with fixed arguments
                [sys.executable, "-P", "-m", _PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                env={**kept, **_ONE_THREAD},
                process_group=0,  # an interrupt from the terminal is for the parent
            )
    except OSError:
        ours.close()
        raise
    return child, Channel(ours)


def _fate(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    with suppress(ValueError):
        name = signal.Signals(-status).name
        return f"was killed by {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"was killed by signal {-status}"


def _last_words(stderr: int) -> str:
    """Logs what the child wrote to its stderr, credentials hidden, and returns the first line for the sentence."""
    text = redact(os.pread(stderr, _STDERR_BYTES, 0).partition(b"\0")[0].decode(errors="replace")).strip()
    if not text:
        return ""
    _log.error("an ingest process left:\n%s", text)
    return f" ({text.splitlines()[0][:120]})"


def _log_line(message: Message) -> None:
    level = int(message["level"])
    logger = logging.getLogger(str(message["name"]))
    if logger.isEnabledFor(level):
        logger.log(level, "%s", redact(str(message["text"])))


def _held_bytes(pid: int | None) -> int:
    """Returns the memory that a process holds for itself, swapped out or not; 0 where nothing tells."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    words = [line.split() for line in lines if line.startswith(("RssAnon:", "VmSwap:"))]
    return sum(int(word[1]) for word in words) << 10
