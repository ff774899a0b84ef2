from __future__ import annotations

import errno
import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av import VideoFrame

from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import U8, Picture, PixelFormat
from watchline.streams.libav_picture import Converter
from watchline.streams.shared_budget import SharedBudget
from watchline.streams.shared_pictures import PictureMemory, memory_bytes, reserve, shape_of, shareable

pytestmark = pytest.mark.skipif(not shareable(), reason="memory without a name is Linux's")

SLOTS = 3


@pytest.fixture
def sides() -> Iterator[tuple[PictureMemory, PictureMemory]]:
    """The writer's and the reader's view of one memory, for pictures up to 640x360."""
    size = 640 * 360 * 3
    fd = reserve(memory_bytes(size, SLOTS), "test")
    yield PictureMemory(fd, size, SLOTS), PictureMemory(fd, size, SLOTS)
    os.close(fd)


def decoded(name: str, width: int, height: int, matrix: int = 2, levels: int = 0) -> Picture:
    """Returns a picture of noise as FFmpeg would have decoded it."""
    frame = VideoFrame(width, height, name)
    noise = np.random.default_rng(width)
    for plane in frame.planes:
        content: U8 = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]
        content[:] = noise.integers(0, 256, content.size, dtype=np.uint8)
    frame.colorspace, frame.color_range = matrix, levels
    return Converter().picture(frame)


def travelled(sides: tuple[PictureMemory, PictureMemory], picture: Picture) -> Picture:
    writer, reader = sides
    slot, shape = writer.take(), shape_of(picture)
    assert slot is not None
    writer.write(slot, picture, shape)
    return reader.read(slot, shape)


def free_slots(memory: PictureMemory) -> int:
    taken = list(iter(memory.take, None))
    for slot in taken:
        memory.give_back(slot)
    return len(taken)


@pytest.mark.parametrize("size", [(64, 48), (350, 288), (640, 360), (638, 358), (70, 34)])
@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p", "nv12"])
def test_planes_and_rgb_are_the_very_same_on_the_other_side(
    sides: tuple[PictureMemory, PictureMemory], name: str, size: tuple[int, int]
) -> None:
    for matrix, levels in itertools.product((0, 1, 2, 5, 6, 9), (0, 1, 2)):
        picture = decoded(name, *size, matrix, levels)
        there = travelled(sides, picture)
        assert (there.pixel_format, there.matrix, there.full_range) == (
            picture.pixel_format,
            picture.matrix,
            picture.full_range,
        )
        for plane, copy in zip(picture.planes, there.planes, strict=True):
            np.testing.assert_array_equal(plane, copy)
        np.testing.assert_array_equal(picture.rgb(), there.rgb())
        del there, copy


@pytest.mark.parametrize(
    ("name", "size"), [("yuv420p", (65, 48)), ("nv12", (64, 47)), ("yuv444p", (64, 48)), ("gray", (64, 48))]
)
def test_other_pictures_travel_as_rgb(
    sides: tuple[PictureMemory, PictureMemory], name: str, size: tuple[int, int]
) -> None:
    picture = decoded(name, *size)
    there = travelled(sides, picture)
    assert there.pixel_format is PixelFormat.RGB24
    np.testing.assert_array_equal(picture.rgb(), there.rgb())


def test_an_interlaced_picture_travels_as_rgb() -> None:
    planes = decoded("yuv420p", 64, 48).planes
    picture = Picture(48, 64, PixelFormat.I420, planes, lambda: planes[0], interlaced=True)
    assert shape_of(picture).pixel_format is PixelFormat.RGB24


def test_a_slot_comes_back_when_the_picture_is_gone(sides: tuple[PictureMemory, PictureMemory]) -> None:
    there = travelled(sides, decoded("yuv420p", 64, 48))
    assert free_slots(sides[0]) == SLOTS - 1
    del there
    assert free_slots(sides[0]) == SLOTS


@pytest.mark.parametrize(
    "kept",
    [
        lambda picture: picture.planes[0],
        lambda picture: picture.planes[2][3:5, ::2],
        lambda picture: picture.planes[1].reshape(-1)[7:],
        lambda picture: memoryview(picture.planes[0]),
        lambda picture: np.frombuffer(memoryview(picture.planes[0]), np.uint8)[5:],
        lambda picture: picture.planes[0].T,
        lambda picture: np.asarray(picture.planes[0]).view(np.int8),
    ],
)
def test_any_view_of_a_plane_keeps_the_slot(sides: tuple[PictureMemory, PictureMemory], kept: object) -> None:
    assert callable(kept)
    there = travelled(sides, decoded("yuv420p", 64, 48))
    view = kept(there)
    del there
    gc.collect()
    assert free_slots(sides[0]) == SLOTS - 1
    del view
    gc.collect()
    assert free_slots(sides[0]) == SLOTS


def test_rgb_that_was_asked_for_does_not_keep_the_slot(sides: tuple[PictureMemory, PictureMemory]) -> None:
    there = travelled(sides, decoded("yuv420p", 64, 48))
    rgb = there.rgb()
    before = rgb.copy()
    del there
    assert free_slots(sides[0]) == SLOTS
    for _ in range(SLOTS):
        travelled(sides, decoded("nv12", 640, 360))
    np.testing.assert_array_equal(rgb, before)


def test_pictures_outlive_the_memory_that_they_came_from(sides: tuple[PictureMemory, PictureMemory]) -> None:
    picture = decoded("yuv420p", 64, 48)
    fd = reserve(memory_bytes(64 * 48 * 3, 2), "test")
    memory = PictureMemory(fd, 64 * 48 * 3, 2)
    os.close(fd)
    there = travelled((memory, memory), picture)
    del memory
    gc.collect()
    np.testing.assert_array_equal(there.rgb(), picture.rgb())


def test_nobody_can_write_to_a_picture_that_is_shared(sides: tuple[PictureMemory, PictureMemory]) -> None:
    there = travelled(sides, decoded("nv12", 64, 48))
    for plane in there.planes:
        with pytest.raises(ValueError, match="read-only"):
            plane[0, 0] = 1


def test_a_full_memory_has_no_slot(sides: tuple[PictureMemory, PictureMemory]) -> None:
    held = [travelled(sides, decoded("yuv420p", 64, 48)) for _ in range(SLOTS)]
    assert sides[0].take() is None
    held.pop()
    assert sides[0].take() is not None


@pytest.mark.parametrize("slot", [-1, SLOTS, 1 << 40])
def test_a_slot_that_is_not_there_is_refused(sides: tuple[PictureMemory, PictureMemory], slot: int) -> None:
    with pytest.raises(ValueError, match="not in this memory"):
        sides[1].read(slot, shape_of(decoded("yuv420p", 64, 48)))


def test_a_picture_that_is_too_big_for_a_slot_is_refused(sides: tuple[PictureMemory, PictureMemory]) -> None:
    with pytest.raises(ValueError, match="not in this memory"):
        sides[1].read(0, shape_of(decoded("yuv420p", 1280, 720)))


def test_shared_memory_cannot_be_made_smaller_by_the_other_side() -> None:
    fd = reserve(8192, "test")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_memory_comes_back_to_the_budget_when_its_last_picture_is_gone() -> None:
    size = 64 * 48 * 3 // 2
    budget = SharedBudget(memory_bytes(size, SLOTS) + 100, SLOTS, lambda: 1 << 40)
    memory, fd = budget.reserve("gate", 64, 48, size)
    os.close(fd)
    there = travelled((memory, memory), decoded("yuv420p", 64, 48))
    del memory
    gc.collect()
    with pytest.raises(
        CameraError, match=r'camera "yard": its pictures of 64x48 need .* MB.*raise memory_bytes'
    ) as told:
        budget.reserve("yard", 64, 48, size)
    assert told.value.reason is Reason.MEMORY
    del there
    gc.collect()
    _, fd = budget.reserve("yard", 64, 48, size)
    os.close(fd)


def test_more_than_the_machine_has_is_refused() -> None:
    with pytest.raises(CameraError, match=r"this machine has 0\.0 MB left"):
        SharedBudget(1 << 40, SLOTS, lambda: 1000).reserve("gate", 1920, 1080, 1 << 22)


def test_memory_that_cannot_be_mapped_is_given_back_with_its_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    budget = SharedBudget(1 << 30, SLOTS, lambda: 1 << 40)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr("watchline.streams.shared_pictures.map_shared", refuse)
        with pytest.raises(CameraError, match="the system gives none") as told:
            budget.reserve("gate", 64, 48, 64 * 48)
    assert told.value.reason is Reason.MEMORY
    assert budget.held_bytes == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_one_old_memory_a_camera_does_not_count_but_two_do() -> None:
    size = 64 * 48 * 3 // 2
    budget = SharedBudget(memory_bytes(size, SLOTS) + 100, SLOTS, lambda: 1 << 40)
    kept = []
    for _ in range(2):
        memory, fd = budget.reserve("gate", 64, 48, size)
        os.close(fd)
        kept.append(memory)
    with pytest.raises(CameraError, match="raise memory_bytes"):
        budget.reserve("gate", 64, 48, size)
    with pytest.raises(CameraError, match="raise memory_bytes"):
        budget.reserve("yard", 64, 48, size)
    assert budget.held_bytes == 2 * memory_bytes(size, SLOTS)
