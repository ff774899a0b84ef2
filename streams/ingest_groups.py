"""Cameras that are read in groups, a process each: which camera is where, and what becomes of a group that dies."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable

from watchline.streams.camera import CameraEvent
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connection import Connect
from watchline.streams.descriptors import check_descriptors
from watchline.streams.errors import UsageError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.free_memory import usable_memory_bytes
from watchline.streams.ingest_member import Member
from watchline.streams.ingest_process import IngestProcess
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ingest_status import Standing
from watchline.streams.latest import Latest
from watchline.streams.shared_budget import SharedBudget
from watchline.streams.shared_pictures import shareable

STEPS_S = (1.3, 0.5)  # after which a process that does not end is killed, left
_SHARE = 4  # of the free memory, one in so many parts is for shared pictures
_PROCESS_FILES = 2  # that this process holds open a process: its socket, its last words
_CHILD_FILES, _CAMERA_FILES = 16, 8  # that an ingest process may hold open: its own, and a camera
_STAGGER_S = 0.25  # between the starts of processes, where a group goes on apart


class Groups:
    """Reads cameras in groups, a process each. Safe to share between threads."""

    def __init__(
        self,
        latest: Latest,
        settings: IngestSettings,
        connect: Connect,
        listener: Callable[[CameraEvent], None],
    ) -> None:
        """Reads nothing yet.

        Raises:
            UsageError: this system cannot do what is asked for.
        """
        if not shareable():
            raise UsageError(
                f"group_size {settings.group_size}: reading cameras in processes of their own needs Linux and its "
                f"memfd_create, which this system ({sys.platform}) does not give; set group_size 0"
            )
        self._connect = f"{connect.__module__}:{connect.__qualname__}"
        if not all(part.isidentifier() for part in self._connect.replace(":", ".").split(".")):
            raise UsageError(f"connect {self._connect}: want a function of a module, for other processes to import")
        self._latest = latest
        self._settings = settings
        self._listener = listener
        bound = settings.memory_bytes or usable_memory_bytes() // _SHARE
        self._budget = SharedBudget(bound, settings.slots, usable_memory_bytes)
        self._lock = threading.Lock()  # of where each camera is; taken before that of a process
        self._processes: list[IngestProcess] = []
        self._apart: set[IngestProcess] = set()  # of those, with one camera each, of a group that died
        self._ending: list[IngestProcess] = []
        self._homes: dict[int, IngestProcess] = {}
        self._closed = False
        self._numbers, self._keys = itertools.count(), itertools.count()

    def read(self, settings: CameraSettings) -> tuple[Standing, int]:
        """Begins to read a camera; returns what is known of it, and its key.

        Raises:
            UsageError: its pictures, or what must be opened for it, find no room.
            CameraError: the system gives no memory, no descriptor or no thread.
        """
        with self._lock:
            self._check(settings.camera)
            member = Member(next(self._keys), settings)
            standing = Standing(settings.camera, member.ledger, self._listener)
            # Where a full box would make the reader of a whole group wait, it has a place for every picture that may
            # come: of a lossless camera as many as there is memory, for it is written only where there is a free slot.
            outlet = self._latest.add(
                settings.camera, member.ledger, sys.maxsize if settings.lossless else 1, weight=settings.weight
            )
            member.report_to(outlet, standing.heard)
            try:
                process = self._room()
            except CameraError as error:
                self._latest.remove(settings.camera)
                member.close()
                raise CameraError(error.reason, f'camera "{settings.camera}": {error}') from None
            self._homes[member.key] = process
            process.add(member)
            return standing, member.key

    def let_go(self, key: int) -> None:
        """Ends reading a camera, if it is still read."""
        with self._lock:
            process = self._homes.pop(key, None)
            if process is None:
                return
            process.remove(key)
            if process.cameras == 0:
                process.stop()
                self._processes.remove(process)
                self._apart.discard(process)
                self._ending = [other for other in self._ending if not other.join(0)] + [process]

    def process_of(self, key: int) -> int | None:
        """Returns the id of the process that reads a camera; None while there is none."""
        process = self._homes.get(key)
        return process.pid if process is not None else None

    @property
    def leaving(self) -> int:
        """Cameras that were removed and are still being let go."""
        with self._lock:
            return sum(process.leaving for process in (*self._processes, *self._ending))

    def close(self) -> None:
        """Ends all, within two seconds."""
        with self._lock:
            self._closed = True
            left = self._processes + self._ending
        for process in left:
            process.stop()
        for patience_s, last in zip(STEPS_S, (False, True), strict=True):
            until_s = time.monotonic() + patience_s
            left = [process for process in left if not process.join(max(0.0, until_s - time.monotonic()))]
            if not last:
                for process in left:
                    process.end(signal.SIGKILL)

    def _check(self, camera: str) -> None:
        size = min(self._settings.group_size, len(self._homes) + 1)
        self._budget.check(len(self._homes) + 1, *self._settings.expected_size)
        unborn = sum(process.pid is None for process in self._processes)
        # One more process for it, those that are about to start, and one for each camera of a group that dies.
        here = 1 + _PROCESS_FILES * (1 + unborn + size)
        check_descriptors(camera, here, _CHILD_FILES + _CAMERA_FILES * size)

    def _room(self) -> IngestProcess:
        for process in self._processes:
            if process not in self._apart and process.well and process.cameras < self._settings.group_size:
                return process
        return self._start()

    def _start(self, wait_s: float = 0.0) -> IngestProcess:
        number = next(self._numbers)
        process = IngestProcess(number, self._connect, self._settings, self._budget, self._part, wait_s)
        self._processes.append(process)
        return process

    def _part(self, process: IngestProcess, text: str) -> bool:
        """Gives each camera of a dead process one of its own, so that the one that kills it does so alone."""
        with self._lock:
            if self._closed or process not in self._processes:
                return False
            for place, key in enumerate(process.keys()):
                wait_s = place * _STAGGER_S
                try:
                    own = self._start(wait_s)
                except CameraError:
                    return False  # the others stay together
                self._apart.add(own)
                member = process.release(key)
                member.crashed(Reason.CRASHED, f"{text}; it goes on in a process of its own", wait_s)
                self._homes[key] = own
                own.add(member)
            process.stop()
            self._processes.remove(process)
            return True
