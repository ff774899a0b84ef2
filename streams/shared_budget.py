"""How much shared memory pictures may take, all cameras together."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

from watchline.streams.errors import UsageError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.shared_pictures import PictureMemory, memory_bytes, reserve


class SharedBudget:
    """Gives out memory for pictures, within a bound; what nobody holds any more comes back by itself.

    One old memory a camera, of which somebody still keeps a picture, does not count against the bound.
    """

    def __init__(self, bound_bytes: int, slots: int, usable_bytes: Callable[[], int]) -> None:
        """Takes nothing yet.

        Args:
            bound_bytes: for all cameras.
            slots: a camera.
            usable_bytes: tells what the machine can still give.
        """
        self.bound_bytes = bound_bytes
        self._slots = slots
        self._usable_bytes = usable_bytes
        self._lock = threading.Lock()
        self._held: dict[str, list[int]] = {}  # bytes of each memory of a camera, oldest first
        self._returned: deque[tuple[str, int]] = deque()  # filled by finalizers, which must not wait for a lock

    def check(self, cameras: int, width: int, height: int) -> None:
        """Says before the start whether so many cameras fit.

        Raises:
            UsageError: they do not.
        """
        need = cameras * memory_bytes(width * height * 3 // 2, self._slots)
        if need > self.bound_bytes:
            raise UsageError(
                f"{cameras} cameras with {self._slots} pictures of {width}x{height} each need {_mb(need)} of shared "
                f"memory, but only {_mb(self.bound_bytes)} are allowed: raise memory_bytes, lower slots or "
                "expected_size, or use fewer cameras"
            )

    def reserve(self, camera: str, width: int, height: int, slot_bytes: int) -> tuple[PictureMemory, int]:
        """Returns memory for the pictures of a camera, and its descriptor, which the caller closes.

        Raises:
            CameraError: there is not enough; then nothing is held.
        """
        need = memory_bytes(slot_bytes, self._slots)
        what = f'camera "{camera}": its pictures of {width}x{height} need {_mb(need)} of shared memory'
        with self._lock:
            self._take_back()
            held = sum(_counted(sizes, camera == other) for other, sizes in self._held.items())
            if held + need > self.bound_bytes:
                text = f"other pictures hold {_mb(held)} of the {_mb(self.bound_bytes)} that are allowed"
                raise CameraError(Reason.MEMORY, f"{what}, but {text}; raise memory_bytes or take a smaller stream")
            usable = self._usable_bytes()
            if need > usable:
                text = f"this machine has {_mb(usable)} left"
                raise CameraError(Reason.MEMORY, f"{what}, but {text}; take a smaller stream or fewer cameras")
            try:
                memory, fd = self._new(need, slot_bytes)
            except OSError as error:
                text = f"the system gives none ({error.strerror})"
                raise CameraError(Reason.MEMORY, f"{what}, but {text}; take fewer cameras") from None
            self._held.setdefault(camera, []).append(need)
        weakref.finalize(memory.mapped, self._returned.append, (camera, need)).atexit = False
        return memory, fd

    @property
    def held_bytes(self) -> int:
        """What is held now, old memory included."""
        with self._lock:
            self._take_back()
            return sum(map(sum, self._held.values()))

    def _new(self, need: int, slot_bytes: int) -> tuple[PictureMemory, int]:
        fd = reserve(need, "watchline-pictures")
        try:
            return PictureMemory(fd, slot_bytes, self._slots), fd
        except BaseException:
            os.close(fd)
            raise

    def _take_back(self) -> None:
        while self._returned:
            camera, size = self._returned.popleft()
            self._held[camera].remove(size)
            if not self._held[camera]:
                del self._held[camera]


def _counted(sizes: list[int], all_old: bool) -> int:
    """Returns what counts of the memories of a camera, oldest first: all but one old one.

    Somebody may keep a picture of a process that ended, or of a size that is over. That must not stop the camera.
    """
    old = sizes if all_old else sizes[:-1]
    return sum(sizes) - max(old, default=0)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
