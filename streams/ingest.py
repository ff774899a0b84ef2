"""All live cameras of a site: added and removed while it runs, read in this process or in supervised ones."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from watchline.streams.camera import Camera, CameraEvent
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.connection import Connect
from watchline.streams.errors import UsageError
from watchline.streams.frame import Frame
from watchline.streams.free_memory import usable_memory_bytes
from watchline.streams.ingest_member import Member
from watchline.streams.ingest_process import IngestProcess
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ingest_status import SAMPLE_S, CameraStatus, Standing
from watchline.streams.latest import Latest
from watchline.streams.ledger import Ledger
from watchline.streams.shared_budget import SharedBudget
from watchline.streams.shared_pictures import shareable

_SHARE = 4  # of the free memory, one in so many parts is for shared pictures
_STEPS_S = (1.3, 0.3, 0.3)  # after which a process that does not end is terminated, killed, left


@dataclass(frozen=True, slots=True)
class _Read:
    """A camera that is read: what is known of it, and how it is let go."""

    standing: Standing
    let_go: Callable[[], None]


class _Reader(Protocol):
    """Reads cameras, here or elsewhere."""

    def read(self, settings: CameraSettings) -> _Read:
        """Begins to read a camera."""

    def close(self) -> None:
        """Ends all, within two seconds."""


class Ingest:
    """Reads cameras and hands their freshest frames out, one camera after the other.

    Every method may be called from any thread. A context manager: its end is `close()`.
    """

    def __init__(
        self,
        settings: IngestSettings | None = None,
        connect: Connect = open_connection,
        listener: Callable[[CameraEvent], None] = lambda _: None,
    ) -> None:
        """Reads nothing yet.

        Args:
            settings: in which processes, with how much memory.
            connect: opens connections; a function of a module where cameras are read in other processes.
            listener: told of each change of a camera's state, from any thread; must not wait.

        Raises:
            UsageError: this system cannot do what is asked for.
        """
        settings = settings or IngestSettings()
        self._latest = Latest()
        self._lock = threading.Lock()
        self._reads: dict[str, _Read] = {}
        self._reader: _Reader
        if settings.group_size == 0:
            self._reader = _Here(self._latest, connect, listener)
        else:
            self._reader = _Elsewhere(self._latest, settings, connect, listener)
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="ingest-sampler", daemon=True)
        self._sampler.start()

    def add(self, settings: CameraSettings) -> None:
        """Begins to read a camera.

        Raises:
            UsageError: there is one of that name, or no room for its pictures as they are expected.
            CameraError: the system gives no memory or no descriptor.
        """
        with self._lock:
            if self._stop.is_set():
                raise UsageError(f'camera "{settings.camera}": added after the end')
            if settings.camera in self._reads:
                raise UsageError(f'camera "{settings.camera}": there is one of that name; give each its own')
            self._reads[settings.camera] = self._reader.read(settings)

    def remove(self, camera: str) -> None:
        """Ends reading a camera; its frames that were not taken are dropped, those that were stay valid.

        Raises:
            UsageError: there is none of that name.
        """
        with self._lock:
            read = self._reads.pop(camera, None)
            if read is None:
                raise UsageError(f'camera "{camera}": there is none of that name')
            self._latest.remove(camera)
            read.let_go()

    def take(self, timeout_s: float) -> Frame | None:
        """Returns the freshest frame of the camera whose turn it is, or None after `timeout_s` or `close()`."""
        frame = self._latest.take(timeout_s)
        read = self._reads.get(frame.camera) if frame is not None else None
        if frame is not None and read is not None:
            read.standing.delivered(frame)
        return frame

    def status(self) -> dict[str, CameraStatus]:
        """Returns how each camera stands, by name; after `close()`, how it ended."""
        with self._lock:
            return {camera: read.standing.status() for camera, read in self._reads.items()}

    def close(self) -> None:
        """Ends all cameras and processes, within two seconds; frames that were taken stay valid. Safe to call twice."""
        with self._lock:
            if self._stop.is_set():
                return
            self._stop.set()
        self._reader.close()
        self._latest.close()
        self._sampler.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            with self._lock:
                reads = tuple(self._reads.values())
            for read in reads:
                read.standing.sample()


class _Here:
    """Reads cameras in threads of this process."""

    def __init__(self, latest: Latest, connect: Connect, listener: Callable[[CameraEvent], None]) -> None:
        self._latest = latest
        self._connect = connect
        self._listener = listener
        self._cameras: list[Camera] = []

    def read(self, settings: CameraSettings) -> _Read:
        """See `_Reader.read`."""
        ledger = Ledger()
        standing = Standing(settings.camera, ledger, self._listener)
        outlet = self._latest.add(settings.camera, ledger, lossless=settings.lossless)
        camera = Camera(settings, outlet, ledger, self._connect, standing.heard)
        camera.start()
        self._cameras = [other for other in self._cameras if not other.join(0)] + [camera]
        return _Read(standing, camera.stop)

    def close(self) -> None:
        """See `_Reader.close`; a camera that waits for its host is left to end by itself."""
        for camera in self._cameras:
            camera.stop()
        self._latest.close()  # wakes those that wait there
        until_s = time.monotonic() + sum(_STEPS_S)
        for camera in self._cameras:
            camera.join(max(0.0, until_s - time.monotonic()))


class _Elsewhere:
    """Reads cameras in groups, a process each."""

    def __init__(
        self,
        latest: Latest,
        settings: IngestSettings,
        connect: Connect,
        listener: Callable[[CameraEvent], None],
    ) -> None:
        if not shareable():
            raise UsageError(
                f"group_size {settings.group_size}: reading cameras in processes of their own needs Linux, this is "
                f"{sys.platform}; set group_size 0"
            )
        self._connect = f"{connect.__module__}:{connect.__qualname__}"
        if not all(part.isidentifier() for part in self._connect.replace(":", ".").split(".")):
            raise UsageError(f"connect {self._connect}: want a function of a module, for other processes to import")
        self._latest = latest
        self._settings = settings
        self._listener = listener
        bound = settings.memory_bytes or usable_memory_bytes() // _SHARE
        self._budget = SharedBudget(bound, settings.slots, usable_memory_bytes)
        self._processes: list[IngestProcess] = []
        self._ending: list[IngestProcess] = []
        self._numbers, self._keys = itertools.count(), itertools.count()

    def read(self, settings: CameraSettings) -> _Read:
        """See `_Reader.read`."""
        cameras = sum(process.cameras for process in self._processes)
        self._budget.check(cameras + 1, *self._settings.expected_size)
        member = Member(next(self._keys), settings)
        standing = Standing(settings.camera, member.ledger, self._listener)
        # Where a full box would make the reader of a whole group wait, it has a place for every picture there can be.
        places = self._settings.slots if settings.lossless else 1
        outlet = self._latest.add(settings.camera, member.ledger, places)
        member.report_to(outlet, standing.heard)
        process = next((p for p in self._processes if p.cameras < self._settings.group_size), None)
        if process is None:
            process = IngestProcess(next(self._numbers), self._connect, self._settings, self._budget)
            self._processes.append(process)
        process.add(member)
        return _Read(standing, lambda: self._let_go(process, member.key))

    def _let_go(self, process: IngestProcess, key: int) -> None:
        process.remove(key)
        if process.cameras == 0:
            process.stop()
            self._processes.remove(process)
            self._ending = [other for other in self._ending if not other.join(0)] + [process]

    def close(self) -> None:
        """See `_Reader.close`."""
        left = self._processes + self._ending
        for process in left:
            process.stop()
        for patience_s, then in zip(_STEPS_S, (signal.SIGTERM, signal.SIGKILL, None), strict=True):
            until_s = time.monotonic() + patience_s
            left = [process for process in left if not process.join(max(0.0, until_s - time.monotonic()))]
            for process in left:
                if then is not None:
                    process.end(then)
