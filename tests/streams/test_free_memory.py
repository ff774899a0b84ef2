from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import pytest

from tests.clips import Clip, write_clip
from watchline.streams.free_memory import give_back_memory, own_memory_bytes, usable_memory_bytes
from watchline.streams.libav import FileSource

GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


class MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 tells, in bytes."""

    _fields_ = (("before", 7 * ctypes.c_size_t), ("in_use", ctypes.c_size_t), ("after", 2 * ctypes.c_size_t))


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000000"}, 1_000_000),
        ({"memory.max": "1000000", "memory.current": "400000"}, 600_000),
        ({"memory.max": "1000000", "memory.current": "400000", "memory.stat": "anon 5\ninactive_file 300000"}, 900_000),
        ({"memory.max": "1000000", "memory.current": "1200000"}, 0),
        ({"memory.limit_in_bytes": "1000000", "memory.usage_in_bytes": "250000"}, 750_000),
    ],
)
def test_what_a_cgroup_holds_already_is_not_free(tmp_path: Path, files: dict[str, str], free: int) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    own = tmp_path / "own"
    own.write_text("0::/\n")
    assert usable_memory_bytes(tmp_path, own) == free


@pytest.mark.skipif(not GLIBC, reason="the C library gives nothing back on request here")
def test_what_was_freed_goes_back_to_the_system_though_something_behind_it_stays() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(10_000) for _ in range(2_000)]
    for block in blocks:
        ctypes.memset(block, 1, 10_000)
    stays = libc.malloc(10_000)
    for block in blocks:
        libc.free(block)
    before = own_memory_bytes()
    give_back_memory()
    assert before - own_memory_bytes() >= 15_000_000
    libc.free(stays)


@pytest.mark.skipif(not GLIBC, reason="the C library does not tell what is in use")
def test_files_that_are_left_midway_leave_nothing_in_memory(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = MallInfo
    path = write_clip(tmp_path / "a.mp4", Clip(frames=5))

    def look_into(files: int) -> int:
        for _ in range(files):
            source = FileSource(path, "c")
            source.read()
            source.close()
        gc.collect()
        return int(libc.mallinfo2().in_use)

    warm = look_into(100)
    assert look_into(200) - warm < 200 * 50
