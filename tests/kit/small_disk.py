"""A disk that is soon full: two megabytes in memory, mounted for one test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.kit.require import skip_or_fail


class SmallDisk:
    """A disk of two megabytes in memory; see `small_disk`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, blocks: int = 1000) -> None:
        """Takes the room that is left, or so many blocks of 4 KiB of it."""
        with suppress(OSError), (self.folder / "filler").open("wb", buffering=0) as file:
            for _ in range(blocks):
                file.write(b"\0" * 4096)

    def free(self) -> None:
        """Gives back what `fill` took."""
        (self.folder / "filler").unlink()

    def lock(self, how: str) -> None:
        """Allows only reading ("ro"), or writing again ("rw")."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True, timeout=10)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mounts a small disk on a new folder; skips (or fails, see `skip_or_fail`) the test where that is not allowed."""
    folder.mkdir()
    if shutil.which("mount") is None:
        skip_or_fail("no command 'mount' here")
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        skip_or_fail(f"a small disk needs root and leave to mount one: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)
