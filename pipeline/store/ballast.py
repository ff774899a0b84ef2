"""Ballast: room on the disk that is taken beforehand, so that old sightings can be erased when it is full."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

BALLAST_BYTES: Final = 16 * 1024 * 1024


class Ballast:
    """A file beside the store that takes up room, and gives it back when there is no other.

    Erasing needs room itself: SQLite writes what changes to its log first.

    Args:
        store: file of the store.
        size: of the ballast, bytes; 0 for none.
    """

    def __init__(self, store: Path, size: int = BALLAST_BYTES) -> None:
        self.path = store.with_name(store.name + ".ballast")
        self._size = size

    @property
    def is_there(self) -> bool:
        """Whether it takes up its room; always so where none is wanted."""
        return not self._size or self.path.exists()

    def take(self) -> bool:
        """Takes the room where it is not taken yet and twice as much is free; tells whether it is taken then."""
        if self.is_there:
            return True
        part = self.path.with_name(self.path.name + ".part")
        try:
            if shutil.disk_usage(self.path.parent).free < 2 * self._size:
                return False
            _allocate(part, self._size)
            part.replace(self.path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return False
        return True

    def give(self) -> bool:
        """Gives the room back; False where none was taken."""
        try:
            self.path.unlink()
        except OSError:
            return False
        return True


def _allocate(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
        else:
            block = bytes(1024 * 1024)
            for _ in range(0, size, len(block)):
                os.write(descriptor, block)
    finally:
        os.close(descriptor)
