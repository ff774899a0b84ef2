"""Claims: what one process does with a store at a time, such as filling it from one input, or erasing.

A claim is a lock on an empty file beside the store. The kernel takes it back when the process ends, however it does:
a file that was left behind claims nothing.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from watchline.pipeline.store.failures import told
from watchline.streams.errors import UsageError

_WAIT_S: Final = 0.2  # who sweeps holds a file for an instant


@contextmanager
def claimed(store: Path, what: str, refusal: str) -> Iterator[None]:
    """Holds a claim; not on Windows, nor on a file system without locks.

    Args:
        store: file of the store.
        what: is claimed.
        refusal: what to say where another process holds it.

    Raises:
        UsageError: another process, or another claim of this one, holds it.
        OutputError: nothing can be written beside the store.
    """
    try:
        import fcntl  # noqa: F401  # Windows has none
    except ImportError:
        yield
        return
    path = store.with_name(f"{store.name}.claim-{hashlib.sha256(what.encode()).hexdigest()[:16]}")
    with told(path):
        _sweep(store)
        until = time.monotonic() + _WAIT_S
        while (descriptor := _locked(path)) is None and time.monotonic() < until:
            time.sleep(_WAIT_S / 20)
    if descriptor is None:
        raise UsageError(f"{store}: {refusal}")
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is locked: see `_locked`
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Returns the file, made and locked; None where it is locked already."""
    import fcntl

    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            return descriptor
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        os.close(descriptor)  # who held it removed it just now: a lock on a file without a name keeps nobody out


def _sweep(store: Path) -> None:
    """Removes the files of processes that were killed."""
    for path in store.parent.iterdir():
        if path.name.startswith(f"{store.name}.claim-"):
            with suppress(PermissionError):  # of another user: it is in nobody's way
                if (descriptor := _locked(path)) is not None:
                    path.unlink(missing_ok=True)
                    os.close(descriptor)
