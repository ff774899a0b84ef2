"""All live cameras of a site: added and removed while it runs, read in this process or in supervised ones."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from watchline.streams.camera import Camera, CameraEvent
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.connection import Connect
from watchline.streams.errors import UsageError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import Frame
from watchline.streams.ingest_groups import STEPS_S, Groups
from watchline.streams.ingest_process import start_thread
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ingest_status import SAMPLE_S, CameraStatus, Standing
from watchline.streams.latest import Latest
from watchline.streams.ledger import Ledger
from watchline.streams.source import SourceInfo

_MOST_LEAVING = 32  # cameras that were removed and have not ended yet
_LEAVING_S = 3.0  # for which a new one waits for them
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class _Read:
    """A camera that is read: what is known of it, and its key."""

    standing: Standing
    key: int


class _Reader(Protocol):
    """Reads cameras, here or elsewhere."""

    @property
    def leaving(self) -> int:
        """Cameras that were removed and are still being let go."""

    def read(self, settings: CameraSettings) -> tuple[Standing, int]:
        """Begins to read a camera; returns what is known of it, and its key."""

    def let_go(self, key: int) -> None:
        """Ends reading a camera, if it is still read."""

    def process_of(self, key: int) -> int | None:
        """Returns the id of the process that reads a camera; None for this one, and while there is none."""

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
            CameraError: it gives no thread.
        """
        settings = settings or IngestSettings()
        self._latest = Latest()
        self._lock = threading.Lock()
        self._reads: dict[str, _Read] = {}
        self._reader: _Reader
        if settings.group_size == 0:
            self._reader = _Here(self._latest, connect, listener)
        else:
            self._reader = Groups(self._latest, settings, connect, listener)
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="ingest-sampler", daemon=True)
        start_thread(self._sampler)

    def add(self, settings: CameraSettings) -> None:
        """Begins to read a camera.

        Raises:
            UsageError: there is one of that name, or no room for its pictures as they are expected, or for what must
                be opened for it, or too many that were removed have not ended yet.
            CameraError: the system gives no memory, no descriptor or no thread.
        """
        self._wait_for_leaving(settings.camera)
        with self._lock:
            if self._stop.is_set():
                raise UsageError(f'camera "{settings.camera}": added after the end')
            if settings.camera in self._reads:
                raise UsageError(f'camera "{settings.camera}": there is one of that name; give each its own')
            self._reads[settings.camera] = _Read(*self._reader.read(settings))

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
            self._reader.let_go(read.key)

    def weigh(self, camera: str, weight: float) -> None:
        """Gives a camera another share of turns, see `CameraSettings.weight`; it is read on.

        Raises:
            UsageError: there is none of that name.
        """
        with self._lock:
            if camera not in self._reads:
                raise UsageError(f'camera "{camera}": there is none of that name')
            self._latest.weigh(camera, weight)

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
            return {
                camera: replace(read.standing.status(), process=self._reader.process_of(read.key))
                for camera, read in self._reads.items()
            }

    def info(self, camera: str) -> SourceInfo | None:
        """Returns what the stream of a camera says of itself; None before it was live, and where there is none."""
        read = self._reads.get(camera)
        return read.standing.status().info if read is not None else None

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

    def _wait_for_leaving(self, camera: str) -> None:
        """Waits until no more than so many removed cameras still end: each may hold a thread and a connection."""
        until_s = time.monotonic() + _LEAVING_S
        while (leaving := self._reader.leaving) >= _MOST_LEAVING:
            if self._stop.wait(_LOOK_S):
                return
            if time.monotonic() >= until_s:
                text = f"{leaving} cameras that were removed have not ended yet, {_MOST_LEAVING} may"
                raise UsageError(f'camera "{camera}": {text}; add it later')

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
        self._cameras: dict[int, Camera] = {}
        self._leaving: list[Camera] = []
        self._keys = itertools.count()

    @property
    def leaving(self) -> int:
        """See `_Reader.leaving`."""
        return sum(not camera.join(0) for camera in tuple(self._leaving))

    def read(self, settings: CameraSettings) -> tuple[Standing, int]:
        """See `_Reader.read`."""
        ledger = Ledger()
        standing = Standing(settings.camera, ledger, self._listener)
        outlet = self._latest.add(settings.camera, ledger, lossless=settings.lossless, weight=settings.weight)
        camera = Camera(settings, outlet, ledger, self._connect, standing.heard)
        try:
            camera.start()
        except RuntimeError:
            self._latest.remove(settings.camera)
            text = f'camera "{settings.camera}": the system gives no thread for it'
            raise CameraError(Reason.MEMORY, f"{text}; use fewer cameras, or raise `ulimit -u`") from None
        key = next(self._keys)
        self._cameras[key] = camera
        return standing, key

    def let_go(self, key: int) -> None:
        """See `_Reader.let_go`."""
        camera = self._cameras.pop(key)
        camera.stop()
        self._leaving = [other for other in self._leaving if not other.join(0)] + [camera]

    def process_of(self, key: int) -> int | None:  # noqa: ARG002  # all are read in this one
        """See `_Reader.process_of`."""
        return None

    def close(self) -> None:
        """See `_Reader.close`; a camera that waits for its host is left to end by itself."""
        cameras = (*self._cameras.values(), *self._leaving)
        for camera in cameras:
            camera.stop()
        self._latest.close()  # wakes those that wait there
        until_s = time.monotonic() + sum(STEPS_S)
        for camera in cameras:
            camera.join(max(0.0, until_s - time.monotonic()))
