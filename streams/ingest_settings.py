"""How a site's cameras are read: in which processes, and with how much memory."""

from __future__ import annotations

from dataclasses import dataclass

from watchline.streams.errors import UsageError
from watchline.streams.shared_pictures import SLOTS

MOST_IN_A_GROUP = 64
_BASE_BYTES = 256 << 20
_CAMERA_BYTES = 256 << 20  # a 4K H.265 decoder with all its reference pictures, and some


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How cameras are read.

    Attributes:
        group_size: cameras a process; 0 reads all cameras in this process.
        memory_bytes: bound for the pictures that processes share, all cameras together; None for a quarter of the
            memory that is free at the start. One old memory a camera, of which a picture is still held, comes on top.
        child_memory_bytes: what one process may hold besides these; None for 256 MiB and as much again a camera. Never
            more than the machine has.
        slots: pictures a camera that may be written, wait or be analysed at a time; without a free one the newest is
            dropped.
        expected_size: width and height, pixels, by which memory is checked before the start.
        hang_after_s: a process that says nothing for so long is ended. From 3 s on its cameras count as offline.
        stuck_after_s: a camera that does nothing for so long, after all its own time-outs, has its process ended.
    """

    group_size: int = 0
    memory_bytes: int | None = None
    child_memory_bytes: int | None = None
    slots: int = SLOTS
    expected_size: tuple[int, int] = (1920, 1080)
    hang_after_s: float = 5.0
    stuck_after_s: float = 10.0

    def __post_init__(self) -> None:
        """Raises UsageError where a value makes no sense."""
        for name, least, most in (("group_size", 0, MOST_IN_A_GROUP), ("slots", 2, 64)):
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"{name} {getattr(self, name)}: want {least} to {most}")
        for name in ("memory_bytes", "child_memory_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1 << 20:
                raise UsageError(f"{name} {value}: want at least {1 << 20} (1 MiB)")
        for name in ("hang_after_s", "stuck_after_s"):
            if not 3 <= getattr(self, name) <= 600:
                raise UsageError(f"{name} {getattr(self, name)}: want 3 to 600 seconds")

    @property
    def child_bound_bytes(self) -> int:
        """What one process may hold besides shared pictures."""
        return self.child_memory_bytes or _BASE_BYTES + self.group_size * _CAMERA_BYTES
