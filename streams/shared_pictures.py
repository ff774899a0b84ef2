"""Pictures in memory that two processes share: one writes them into slots, the other reads them where they lie.

The memory has no name: nothing stays behind when a process is killed, and /dev/shm, which containers keep small, is not
touched. Its first page says which slots are taken. The writer takes a slot, the reader gives it back once nobody holds
the picture, nor any array made of it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from watchline.streams.frame import U8, Picture, PixelFormat
from watchline.streams.ledger import I64, Count
from watchline.streams.libav_picture import Converter
from watchline.streams.shared_mapping import Mapped, map_shared

if TYPE_CHECKING:
    from av import VideoFrame

SLOTS = 4  # one waits, two are analysed, one is written
_PAGE = mmap.PAGESIZE
_FFMPEG_NAMES = {PixelFormat.I420: "yuv420p", PixelFormat.NV12: "nv12"}
_FULL_RANGE, _LIMITED_RANGE = 2, 1  # AVColorRange


class Shape(NamedTuple):
    """What must be known of a picture to find its planes in a slot; see `Picture`."""

    height: int
    width: int
    pixel_format: PixelFormat
    matrix: int
    full_range: bool

    @property
    def size_bytes(self) -> int:
        """Bytes of all planes."""
        pixels = self.height * self.width
        return 3 * pixels if self.pixel_format is PixelFormat.RGB24 else pixels * 3 // 2


def shape_of(picture: Picture) -> Shape:
    """Returns how a picture travels: its own planes where they have even sizes, else RGB."""
    even = picture.height % 2 == 0 and picture.width % 2 == 0
    planar = even and picture.pixel_format in _FFMPEG_NAMES and not picture.interlaced
    pixel_format = picture.pixel_format if planar else PixelFormat.RGB24
    return Shape(picture.height, picture.width, pixel_format, picture.matrix, picture.full_range)


def shareable() -> bool:
    """Returns whether this system gives memory to share without a name; Linux does, unless it is forbidden."""
    try:
        os.close(reserve_cells())
    except (AttributeError, OSError):
        return False
    return True


def memory_bytes(slot_bytes: int, slots: int) -> int:
    """Returns how much memory `slots` slots take, which hold at least `slot_bytes` each."""
    return _PAGE + slots * _whole_pages(slot_bytes)


def reserve(size_bytes: int, name: str) -> int:
    """Returns the descriptor of new shared memory, all of it really there, that nobody can make smaller.

    Raises:
        OSError: there is not so much.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(fd, 0, size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError:
        os.close(fd)
        raise
    return fd


def shared_cells(fd: int) -> I64:
    """Returns the cells of a ledger (len(Count),) int64 in shared memory; the caller closes `fd`.

    Raises:
        OSError: the system cannot map it.
    """
    return np.frombuffer(map_shared(fd, _PAGE), np.int64, len(Count))


def reserve_cells() -> int:
    """Returns the descriptor of shared memory for `shared_cells`, all zero.

    Raises:
        OSError: there is no memory, or no descriptor left.
    """
    return reserve(_PAGE, "watchline-ledger")


class PictureMemory:
    """The slots of one camera, as one process sees them."""

    def __init__(self, fd: int, slot_bytes: int, slots: int) -> None:
        """Maps shared memory of `memory_bytes(slot_bytes, slots)`; the caller closes `fd`.

        Raises:
            OSError: the system cannot map it.
        """
        self.slot_bytes = slot_bytes
        self.slots = slots
        self.mapped = map_shared(fd, memory_bytes(slot_bytes, slots))
        self._stride = _whole_pages(slot_bytes)
        self._taken = np.frombuffer(self.mapped, np.int64, slots).data
        self._places: tuple[Shape | None, list[tuple[U8, ...]]] = (None, [])  # planes of each slot, as last written
        self._converter = Converter()

    def take(self) -> int | None:
        """Returns a free slot, which is then taken, or None; called by one thread of the writer."""
        taken = self._taken
        for slot in range(self.slots):
            if not taken[slot]:
                taken[slot] = 1
                return slot
        return None

    @property
    def held(self) -> bool:
        """Whether a slot is taken: pictures wait, or somebody still holds one."""
        return any(self._taken)

    def give_back(self, slot: int) -> None:
        """Makes a slot free again."""
        self._taken[slot] = 0

    def write(self, slot: int, picture: Picture, shape: Shape) -> None:
        """Copies a picture into a taken slot, as `shape_of` says."""
        planes = (picture.rgb(),) if shape.pixel_format is PixelFormat.RGB24 else picture.planes
        if self._places[0] != shape:
            self._places = shape, [_planes(self.mapped, self._start(each), shape) for each in range(self.slots)]
        for there, plane in zip(self._places[1][slot], planes, strict=True):
            there[...] = plane

    def read(self, slot: int, shape: Shape) -> Picture:
        """Returns the picture in a slot, without a copy; the slot is given back when the last of its arrays is gone.

        Raises:
            ValueError: there is no such slot, or no such picture fits into it.
        """
        if not 0 <= slot < self.slots or not 0 < shape.size_bytes <= self.slot_bytes:
            raise ValueError(f"slot {slot}, {shape}: not in this memory")
        lease = _Lease((shape.size_bytes,), np.uint8, self.mapped, self._start(slot))
        lease.taken, lease.slot = self._taken, slot
        lease.setflags(write=False)
        planes = _planes(lease, 0, shape)
        if shape.pixel_format is PixelFormat.RGB24:
            return Picture.from_rgb(planes[0])
        convert = partial(_rgb, self._converter, lease, planes, shape)
        return Picture(shape.height, shape.width, shape.pixel_format, planes, convert, shape.matrix, shape.full_range)

    def _start(self, slot: int) -> int:
        return _PAGE + slot * self._stride


class _Lease(np.ndarray[Any, np.dtype[np.uint8]]):
    """The bytes of a slot that is read; it gives the slot back at its end.

    Planes are plain arrays in its memory. The base of an array is never looked for beyond one of another kind: so this
    one lives for as long as any plane, or any part of one.
    """

    taken: memoryview | None = None
    slot = 0

    def __del__(self) -> None:
        if self.taken is not None:
            self.taken[self.slot] = 0


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // _PAGE) * _PAGE


def _planes(memory: Mapped, start: int, shape: Shape) -> tuple[U8, ...]:
    """Returns the planes that lie in `memory`, one after the other without padding, as `Picture.planes` has them."""
    height, width = shape.height, shape.width
    if shape.pixel_format is PixelFormat.RGB24:
        return (np.ndarray((height, width, 3), np.uint8, memory, start),)
    luma = np.ndarray((height, width), np.uint8, memory, start)
    start += height * width
    if shape.pixel_format is PixelFormat.NV12:
        return luma, np.ndarray((height // 2, width // 2, 2), np.uint8, memory, start)
    half = height // 2, width // 2
    blue = np.ndarray(half, np.uint8, memory, start)
    return luma, blue, np.ndarray(half, np.uint8, memory, start + blue.size)


def _rgb(converter: Converter, lease: _Lease, planes: tuple[U8, ...], shape: Shape) -> U8:
    """Returns (H, W, 3) uint8 RGB, the very same as of the picture that was written."""
    frame = _ffmpeg_frame(lease.view(np.ndarray), planes, shape)
    frame.colorspace = shape.matrix
    frame.color_range = _FULL_RANGE if shape.full_range else _LIMITED_RANGE
    return converter.rgb(frame, 0)


def _ffmpeg_frame(pixels: U8, planes: tuple[U8, ...], shape: Shape) -> VideoFrame:
    from av import VideoFrame

    name = _FFMPEG_NAMES[shape.pixel_format]
    if shape.height % 4 == 0:
        return VideoFrame.from_numpy_buffer(pixels.reshape(shape.height * 3 // 2, shape.width), name)
    frame = VideoFrame(shape.width, shape.height, name)  # PyAV loses two rows of other heights: this one is a copy
    for there, plane in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(there, np.uint8).reshape(-1, there.line_size)  # type: ignore[call-overload]
        flat = plane.reshape(plane.shape[0], -1)
        rows[: flat.shape[0], : flat.shape[1]] = flat
    return frame
