"""A lock on a file that several processes write: it ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from watchline.streams.errors import OutputError

LIMIT_S: Final = 10.0
_POLL_S: Final = 0.01
_HELD: Final = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
_FAR_BYTE: Final = 1 << 62  # Windows locks bytes, and nobody else may read those


@contextmanager
def locked(descriptor: int, path: Path, *, shared: bool = False, limit_s: float = LIMIT_S) -> Iterator[None]:
    """Holds the lock of an open file; other descriptors of it wait, of this process and of others.

    Raises:
        OutputError: another holds it for longer than `limit_s`, or the file system has no locks.
    """
    until = time.monotonic() + limit_s
    while not _taken(descriptor, path, shared):
        if time.monotonic() > until:
            raise OutputError(f"{path}: another process has held it for {limit_s:g} s; end that, then try again")
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        _release(descriptor)


def _taken(descriptor: int, path: Path, shared: bool) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt
            import os

            os.lseek(descriptor, _FAR_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise OutputError(
            f"{path}: its file system has no locks ({error.strerror}), and several may write; use a local disk"
        ) from error
    return True


def _release(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt
        import os

        os.lseek(descriptor, _FAR_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
