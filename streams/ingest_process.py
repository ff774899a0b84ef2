"""The parent's side of one ingest process: starts it, listens to it, watches it, and starts it again."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

from watchline.streams.backoff import Backoff
from watchline.streams.camera import CameraState
from watchline.streams.failure import CameraError, Reason
from watchline.streams.free_memory import total_memory_bytes
from watchline.streams.ingest_member import Member
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ingest_spawn import fate, spawn
from watchline.streams.ingest_wire import Channel, FrameNote, Message, event_in, secrets_of
from watchline.streams.ingest_words import LastWords, telling_line
from watchline.streams.ledger import Drop
from watchline.streams.redact import redact
from watchline.streams.shared_budget import SharedBudget

_log = logging.getLogger(__name__)

WATCH_S = 1.0
SHORT_LIFE_S = 60.0
_DEATHS = 2  # after short lives, after which the cameras of a group go on apart
_BIRTH_S = 20.0  # more than usual, in which a new process may say nothing: a busy machine imports slowly
_DOUBT_S = 3.0  # without a sign of life, after which no camera counts as live
_NAMES = 8  # of cameras that a log line names
_NOTHING: Message = {"do": "nothing"}


class IngestProcess:
    """One process and the cameras that it reads, for as long as they are wanted."""

    def __init__(
        self,
        number: int,
        connect: str,
        settings: IngestSettings,
        budget: SharedBudget,
        part: Callable[[IngestProcess, str], bool] = lambda *_: False,
        wait_s: float = 0.0,
    ) -> None:
        """Starts it.

        Args:
            number: for names.
            connect: what opens connections there, as "module:function".
            settings: bounds.
            budget: gives out memory for pictures.
            part: has the cameras of a group that dies again and again read apart, and returns whether it did; told the
                process and why it died, in a thread of the process's own.
            wait_s: before the first start.

        Raises:
            CameraError: this process can have no more threads.
        """
        self._connect = connect
        self._settings = settings
        self._budget = budget
        self._part = part
        self._wait_s = wait_s
        self._bound_bytes = min(settings.child_bound_bytes, total_memory_bytes())
        self._members: dict[int, Member] = {}
        self._secrets: list[str] = []  # of all cameras of this life, removed ones included
        self._lock = threading.Lock()  # of the members, and of what is sent to whom
        self._channel: Channel | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._verdict: tuple[Reason, str] | None = None  # why this side ended the child
        self._heard_s = self._born_s = 0.0
        self._born = False  # whether the newest start gave a process
        self._short_lives = 0  # in a row
        self._held_bytes = 0  # as the child says
        self._backoff = Backoff(Random())  # noqa: S311  # only keeps processes out of step
        # The kernel ends a child together with the thread that started it: this one, which lives longer.
        self._thread = threading.Thread(target=self._run, name=f"ingest-{number}", daemon=True)
        start_thread(self._thread)

    @property
    def cameras(self) -> int:
        """Cameras that it is to read."""
        with self._lock:
            return sum(not member.leaving for member in self._members.values())

    @property
    def leaving(self) -> int:
        """Cameras that were removed and are still being let go."""
        with self._lock:
            return sum(member.leaving for member in self._members.values())

    @property
    def well(self) -> bool:
        """Whether one more camera may be trusted to it: it did not die lately."""
        return not self._short_lives or time.monotonic() - self._born_s >= SHORT_LIFE_S

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None while there is none."""
        child = self._child
        return child.pid if child is not None else None

    def add(self, member: Member) -> None:
        """Has one more camera read."""
        with self._lock:
            self._members[member.key] = member
            self._secrets += secrets_of([member.settings])
            self._send_to(self._channel, member.introduce)

    def remove(self, key: int) -> None:
        """Has a camera read no more, if it is there; its process may need a moment to let it go."""
        with self._lock:
            member = self._members.get(key)
            if member is None:
                return
            member.leave()
            if self._channel is None:
                self._forget(member)
            else:
                self._send_to(self._channel, lambda channel: channel.send("remove", key=key))

    def release(self, key: int) -> Member:
        """Hands over a camera that another process shall read; this one has died."""
        with self._lock:
            return self._members.pop(key)

    def keys(self) -> list[int]:
        """Returns the keys of the cameras that it is to read, those first that came first."""
        with self._lock:
            return [key for key, member in self._members.items() if not member.leaving]

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
        self._stop.wait(self._wait_s)
        while not self._stop.is_set():
            reason, text = self._live_safely()
            self._settle()
            if self._stop.is_set():
                break
            self._mourn(reason, text)
        with self._lock:
            for member in tuple(self._members.values()):
                member.stopped()
                self._forget(member)

    def _mourn(self, reason: Reason, text: str) -> None:
        """Says that the process has died, and waits for the next start, if there is to be one here."""
        lived_s = time.monotonic() - self._born_s
        self._short_lives = self._short_lives + 1 if self._born and lived_s < SHORT_LIFE_S else 0
        delay_s = self._backoff.failed(lived_s)
        if self._short_lives >= _DEATHS and self.cameras > 1:
            _log.warning("%s (%s); each goes on in a process of its own", text, self._names())
            if self._part(self, text):
                return
        _log.warning("%s (%s); it is started again in %.0f s", text, self._names(), delay_s)
        with self._lock:
            for member in self._members.values():
                member.crashed(reason, f"{text}; it is started again in {delay_s:.0f} s", delay_s)
        self._stop.wait(delay_s)

    def _names(self) -> str:
        with self._lock:
            names = [member.settings.camera for member in self._members.values()]
        what = "camera" if len(names) == 1 else "cameras"
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        return f"{what} {', '.join(names[:_NAMES])}{more}"

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
        self._verdict, self._born, self._held_bytes = None, False, 0
        self._born_s = time.monotonic()
        self._heard_s = self._born_s + _BIRTH_S
        with self._lock:
            self._secrets = secrets_of(member.settings for member in self._members.values())
        try:
            words = LastWords()
        except OSError as error:
            return Reason.MEMORY, f"its ingest process cannot be started ({error.strerror})"
        try:
            try:
                child, channel = spawn(words.to, WATCH_S)
            except (OSError, ValueError, TypeError) as error:
                said = error.strerror if isinstance(error, OSError) else f"sys.executable is {sys.executable!r}"
                return Reason.CRASHED, f"its ingest process cannot be started ({said})"
            self._child, self._born = child, True
            words.close_writer()
            try:
                self._begin(channel)
                self._listen(channel, words)
            finally:
                status = self._bury(child, channel)
            return self._why(f"its ingest process {fate(status)}", words)
        finally:
            words.close()

    def _why(self, text: str, words: LastWords) -> tuple[Reason, str]:
        """Logs what the child wrote at last; returns why it ended."""
        words.hear()
        with self._lock:
            left = words.text(self._secrets)
        if left:
            _log.error("an ingest process left:\n%s", left)
        line = telling_line(left)
        return self._verdict or (Reason.CRASHED, f"{text} ({line})" if line else text)

    def _begin(self, channel: Channel) -> None:
        bound = 2 * self._bound_bytes  # of what is asked for, of which a part is never used
        level = logging.getLogger("watchline").getEffectiveLevel()
        with self._lock:
            say: Message = {"connect": self._connect, "parent": os.getpid(), "data_bytes": bound, "log_level": level}
            self._send_to(channel, lambda channel: channel.send("begin", **say))
            for member in self._members.values():
                self._send_to(channel, member.introduce)
            self._channel = channel
            if self._stop.is_set():
                self._send_to(channel, lambda channel: channel.send("stop"))

    def _listen(self, channel: Channel, words: LastWords) -> None:
        """Does what the child says, until it is gone and everything was read."""
        watch_s = hear_s = 0.0
        while True:
            received: Message | FrameNote | None = _NOTHING
            with suppress(TimeoutError):
                received = self._receive(channel)
            now_s = time.monotonic()
            if received is None:
                return
            if received is not _NOTHING:
                self._heard(now_s)
                self._obey(received, channel)
            if now_s >= hear_s:  # a quiet child is asked once a second, one that writes after each message
                hear_s = now_s + (0.0 if words.hear() else WATCH_S)
            if now_s >= watch_s:
                watch_s = now_s + WATCH_S
                self._watch(now_s)

    def _heard(self, now_s: float) -> None:
        doubted, self._heard_s = now_s - self._heard_s > _DOUBT_S, now_s
        if doubted:
            with self._lock:
                members = tuple(self._members.values())
            for member in members:
                member.trust()

    def _receive(self, channel: Channel) -> Message | FrameNote | None:
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

    def _obey(self, message: Message | FrameNote, channel: Channel) -> None:
        try:
            if isinstance(message, FrameNote):
                self._members[message.key].frame(message)
                return
            match message["do"]:
                case "event":
                    self._hear(message)
                case "ask":
                    member = self._members[message["key"]]
                    self._answer(member, message, channel)
                case "alive":
                    self._held_bytes = int(message["held_bytes"])
                case "log":
                    _log_line(message)
        except (KeyError, TypeError, ValueError):
            self._give_up(Reason.INTERNAL, "its ingest process said what makes no sense, and was ended")

    def _answer(self, member: Member, message: Message, channel: Channel) -> None:
        answer, fd = member.reserve(message, self._budget)
        try:
            self._send_to(channel, lambda channel: channel.send(fd=fd, **answer))
        finally:
            if fd is not None:
                os.close(fd)

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
        if silent_s > _DOUBT_S:
            with self._lock:
                members = tuple(self._members.values())
            for member in members:
                member.doubt(f"its ingest process gives no sign of life for {silent_s:.0f} s")
        held, bound = self._held_bytes, self._bound_bytes
        if held > bound:
            text = f"its ingest process held {held >> 20} MiB of memory, {bound >> 20} MiB are allowed, and was ended"
            self._give_up(Reason.MEMORY, f"{text} (child_memory_bytes)")
            return
        with self._lock:
            stuck = [m for m in self._members.values() if m.stuck_s() > self._settings.stuck_after_s]
        if stuck:
            name = stuck[0].settings.camera + ('", which was removed,' if stuck[0].leaving else '"')
            self._give_up(Reason.CRASHED, f'its ingest process hung in camera "{name} and was ended')

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


def start_thread(thread: threading.Thread) -> None:
    """Starts a thread.

    Raises:
        CameraError: this process can have no more.
    """
    try:
        thread.start()
    except RuntimeError:
        text = f"{thread.name}: the system gives no thread for it; use fewer cameras, or raise `ulimit -u`"
        raise CameraError(Reason.MEMORY, text) from None


def _log_line(message: Message) -> None:
    level = int(message["level"])
    logger = logging.getLogger(str(message["name"]))
    if logger.isEnabledFor(level):
        logger.log(level, "%s", redact(str(message["text"])))
