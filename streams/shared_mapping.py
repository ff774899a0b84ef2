"""Maps shared memory without keeping a descriptor; Python's own `mmap` holds a second one for as long as it lives."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from functools import cache
from typing import Any, TypeAlias

Mapped: TypeAlias = Any  # an array of ctypes, which NumPy takes as a buffer though its types do not say so


def map_shared(fd: int, size_bytes: int) -> Mapped:
    """Returns the memory behind `fd`, to read and write; it is unmapped when nobody holds it any more.

    Args:
        fd: of shared memory that is really there, all of it; the caller closes it.
        size_bytes: from its start.

    Raises:
        OSError: the system cannot map it.
    """
    libc = _libc()
    address = libc.mmap(None, size_bytes, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    mapped = (ctypes.c_char * size_bytes).from_address(address)
    weakref.finalize(mapped, libc.munmap, address, size_bytes).atexit = False
    return mapped


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int),
        ctypes.c_long,
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
