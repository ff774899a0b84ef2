"""How much shared memory pictures may take, all cameras together."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable

from watchline.streams.errors import UsageError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.shared_pictures import PictureMemory, memory_bytes, reserve


class SharedBudget:
    """Gives out memory for pictures, within a bound; what nobody holds any more comes back by itself."""

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
        self._held_bytes = 0
        self._returned: deque[int] = deque()  # filled by finalizers, which must not wait for a lock

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
            CameraError: there is not enough.
        """
        need = memory_bytes(slot_bytes, self._slots)
        what = f'camera "{camera}": its pictures of {width}x{height} need {_mb(need)} of shared memory'
        with self._lock:
            while self._returned:
                self._held_bytes -= self._returned.popleft()
            if self._held_bytes + need > self.bound_bytes:
                text = f"other pictures hold {_mb(self._held_bytes)} of the {_mb(self.bound_bytes)} that are allowed"
                raise CameraError(Reason.MEMORY, f"{what}, but {text}; raise memory_bytes or take a smaller stream")
            usable = self._usable_bytes()
            if need > usable:
                text = f"this machine has {_mb(usable)} left"
                raise CameraError(Reason.MEMORY, f"{what}, but {text}; take a smaller stream or fewer cameras")
            try:
                fd = reserve(need, "watchline-pictures")
            except OSError as error:
                text = f"the system gives none ({error.strerror})"
                raise CameraError(Reason.MEMORY, f"{what}, but {text}; take fewer cameras") from None
            self._held_bytes += need
        memory = PictureMemory(fd, slot_bytes, self._slots)
        weakref.finalize(memory.mapped, self._returned.append, need).atexit = False
        return memory, fd


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
