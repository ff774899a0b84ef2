from __future__ import annotations

import errno
import gc
import os
import resource
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.streams.ingest_cameras import PASSWORD, ROOT, connect, number_in, scripted
from tests.streams.ingest_waiting import frames, settled, skip, take_for, wait_for
from watchline.streams.address import Address
from watchline.streams.camera import CameraState
from watchline.streams.errors import UsageError
from watchline.streams.failure import CameraError, Reason
from watchline.streams.frame import PixelFormat
from watchline.streams.ingest import Ingest
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ledger import Drop
from watchline.streams.shared_pictures import shareable

ELSEWHERE = pytest.mark.skipif(not shareable(), reason="ingest processes are for Linux")
MODES = pytest.mark.parametrize("group_size", [0, pytest.param(2, marks=ELSEWHERE)])


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # ingest processes import the scripted cameras


def children() -> set[int]:
    """Returns the processes that this one started and that are still there, zombies included."""
    return {child.pid for child in psutil.Process().children()}


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@MODES
def test_frames_of_all_cameras_come_in_turn_each_with_its_own_number(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        for camera in ("gate", "yard", "door"):
            ingest.add(scripted(camera))
        wait_for(lambda: all(s.counts.received for s in ingest.status().values()))
        taken = [(f.camera, f.sequence, f.pts_s, number_in(f.picture)) for f in frames(ingest, 60)]
    for camera in ("gate", "yard", "door"):
        own = [row[1:] for row in taken if row[0] == camera]
        assert len(own) >= 15
        assert own == sorted(own)
        assert all(number == sequence + 1 for sequence, _, number in own)
        for column in range(3):
            assert len({row[column] for row in own}) == len(own)


@MODES
def test_every_frame_is_accounted_for_at_the_end(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(scripted("gate", rate=200))
        ingest.add(scripted("yard", fps=5))
        delivered = take_for(ingest, 2)
        live = ingest.status()
    ended = ingest.status()
    for camera in ("gate", "yard"):
        counts = ended[camera].counts
        assert settled(counts)
        assert counts.delivered == sum(name == camera for name, _, _ in delivered)
        assert live[camera].counts.received <= counts.received
        assert ended[camera].state is CameraState.STOPPED
    assert 8 <= ended["yard"].counts.delivered <= 13
    assert ended["yard"].counts.dropped[Drop.RATE] > 50


@MODES
def test_the_status_says_the_same_in_both_modes(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(scripted("gate", fps=10))
        take_for(ingest, 3.5)
        status = ingest.status()["gate"]
    assert status.state is CameraState.LIVE
    assert status.reason is None
    assert status.sentence == ""
    assert status.backend == "scripted"
    assert status.info is not None
    assert status.info.width == 64
    assert 35 <= status.fps <= 55
    assert 7 <= status.delivered_fps <= 11
    assert status.age_s is not None
    assert status.age_s < 1
    assert status.counts.connections == 1
    assert status.since_s > 2


@MODES
def test_a_failing_camera_says_why_and_how_often(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(scripted("gate", fault="end"))
        wait_for(lambda: ingest.status()["gate"].reconnects.get(Reason.ENDED))
        status = ingest.status()["gate"]
    assert status.reason is Reason.ENDED
    assert "the script says so" in status.sentence
    assert status.counts.failures == 1


@MODES
def test_a_camera_can_go_and_come_again_while_others_run(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(scripted("gate"))
        ingest.add(scripted("yard"))
        skip(ingest, 10)
        for _ in range(5):
            ingest.remove("yard")
            assert set(ingest.status()) == {"gate"}
            ingest.add(scripted("yard"))
            wait_for(lambda: ingest.status()["yard"].counts.received)
        ingest.remove("gate")
        skip(ingest, 5)
        assert {camera for camera, _, _ in take_for(ingest, 0.5)} == {"yard"}


@MODES
def test_a_frame_stays_valid_after_its_camera_and_all_else_is_gone(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(scripted("gate", format="nv12"))
        (frame,) = frames(ingest, 1)
        before = [plane.copy() for plane in frame.picture.planes]
        ingest.remove("gate")
    for plane, copy in zip(frame.picture.planes, before, strict=True):
        np.testing.assert_array_equal(plane, copy)


@MODES
def test_a_lossless_camera_waits_for_whoever_takes_its_frames(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(replace(scripted("film", rate=0), address=Address.parse("film.mp4"), lossless=True))
        seen = []
        for frame in frames(ingest, 40):
            seen.append(frame.sequence)
            time.sleep(0.02)
        dropped = ingest.status()["film"].counts.dropped
    assert seen == list(range(40))
    assert not any(dropped.values())


@ELSEWHERE
def test_a_lossless_camera_loses_nothing_when_its_pictures_grow() -> None:
    script = scripted("film", rate=0, sizes=[[48, 64], [96, 128], [480, 640]])
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(replace(script, address=Address.parse("film.mp4"), lossless=True))
        seen, heights = [], set()
        for frame in frames(ingest, 110):
            seen.append(frame.sequence)
            heights.add(frame.height)
            time.sleep(0.025)
    assert seen == list(range(110))
    assert len(heights) == 3


@MODES
def test_a_camera_that_is_removed_after_the_end_is_forgotten(group_size: int) -> None:
    ingest = Ingest(IngestSettings(group_size), connect)
    ingest.add(scripted("gate"))
    skip(ingest, 1)
    ingest.close()
    ingest.remove("gate")
    assert ingest.status() == {}
    with pytest.raises(UsageError, match="added after the end"):
        ingest.add(scripted("gate"))


@MODES
def test_a_camera_that_gets_no_thread_leaves_nothing_behind(group_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Ingest(IngestSettings(group_size), connect) as ingest:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            with pytest.raises(CameraError, match="the system gives no thread") as told:
                ingest.add(scripted("gate"))
        assert told.value.reason is Reason.MEMORY
        assert ingest.status() == {}
        ingest.add(scripted("gate"))
        skip(ingest, 5)


@MODES
def test_cameras_that_do_not_end_are_bounded(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(scripted("stays"))  # and so does its process
        with pytest.raises(UsageError, match=r'camera "gate": 32 cameras that were removed have not ended yet'):
            for _ in range(40):
                ingest.add(scripted("gate", rate=0.05))
                wait_for(lambda: ingest.status()["gate"].counts.received)
                ingest.remove("gate")
        assert set(ingest.status()) == {"stays"}


@ELSEWHERE
def test_cameras_that_need_more_open_files_than_are_allowed_are_refused_before_the_start() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Ingest(IngestSettings(group_size=2, expected_size=(64, 48)), connect) as ingest:
        ingest.add(scripted("gate"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 8, limits[1]))
        try:
            with pytest.raises(UsageError, match=r'camera "yard": with it \d+ open files .*`ulimit -n 4096`'):
                ingest.add(scripted("yard"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert set(ingest.status()) == {"gate"}


@ELSEWHERE
def test_a_camera_that_gets_no_descriptor_for_its_pictures_says_so_and_its_group_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Ingest(IngestSettings(group_size=2), connect) as ingest:
        ingest.add(scripted("gate"))
        skip(ingest, 10)
        with monkeypatch.context() as patch:
            patch.setattr("watchline.streams.shared_budget.reserve", none_left)
            ingest.add(scripted("yard"))
            wait_for(lambda: ingest.status()["yard"].reconnects.get(Reason.MEMORY))
            assert "Too many open files" in ingest.status()["yard"].sentence
        wait_for(lambda: ingest.status()["yard"].state is CameraState.LIVE)
        status = ingest.status()
    assert status["gate"].counts.failures == 0
    assert status["gate"].process == status["yard"].process


@ELSEWHERE
def test_ingest_processes_are_told_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.setenv(name, f"value-of-{name}")
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate"))
        skip(ingest, 1)
        told = Path(f"/proc/{ingest.status()['gate'].process}/environ").read_bytes().split(b"\0")
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        assert f"{name}=value-of-{name}".encode() in told


@ELSEWHERE
def test_a_camera_costs_one_descriptor_and_a_process_two() -> None:
    before = open_descriptors()
    with Ingest(IngestSettings(group_size=3), connect) as ingest:
        for camera in ("gate", "yard", "door"):
            ingest.add(scripted(camera))
        wait_for(lambda: all(status.state is CameraState.LIVE for status in ingest.status().values()))
        assert open_descriptors() - before == 3 + 2


@MODES
def test_a_name_is_given_once(group_size: int) -> None:
    with Ingest(IngestSettings(group_size), connect) as ingest:
        ingest.add(scripted("gate"))
        with pytest.raises(UsageError, match=r'camera "gate": there is one of that name'):
            ingest.add(scripted("gate"))
        with pytest.raises(UsageError, match=r'camera "yard": there is none of that name'):
            ingest.remove("yard")


@MODES
def test_the_end_comes_within_two_seconds_and_leaves_nothing(group_size: int) -> None:
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    before = children()
    ingest = Ingest(IngestSettings(group_size), connect)
    for number in range(5):
        ingest.add(scripted(f"camera-{number}"))
    skip(ingest, 20)
    started_s = time.monotonic()
    ingest.close()
    assert time.monotonic() - started_s < 2
    assert set(threading.enumerate()) <= threads
    assert children() <= before
    assert ingest.take(0.1) is None
    ingest.close()
    del ingest  # whose counts can be read until here
    gc.collect()
    assert open_descriptors() == descriptors


@ELSEWHERE
def test_cameras_fill_a_group_before_the_next_is_opened_and_an_empty_one_ends() -> None:
    before = children()
    with Ingest(IngestSettings(group_size=2), connect) as ingest:
        for camera in "abcde":
            ingest.add(scripted(camera))
        wait_for(lambda: len(children() - before) == 3)
        ingest.remove("c")
        ingest.remove("d")
        wait_for(lambda: len(children() - before) == 2)
        ingest.add(scripted("f"))
        wait_for(lambda: ingest.status()["f"].counts.received)
        assert len(children() - before) == 2


@ELSEWHERE
def test_no_password_stands_on_a_command_line_or_in_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_SECRET", "canary-in-the-environment")
    before = children()
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate"))
        skip(ingest, 1)
        (child,) = children() - before
        shown = b"".join(Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "environ", "comm"))
        assert b"ingest_child" in shown
        assert PASSWORD.encode() not in shown
        assert b"canary" not in shown


@ELSEWHERE
@pytest.mark.parametrize("kind", ["i420", "nv12", "rgb24"])
def test_every_form_of_picture_comes_over(kind: str) -> None:
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate", format=kind))
        (frame,) = frames(ingest, 1)
    assert frame.picture.pixel_format is PixelFormat(kind)
    assert frame.rgb().shape == (48, 64, 3)


@ELSEWHERE
def test_pictures_may_change_their_size() -> None:
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate", sizes=[[48, 64], [480, 640], [96, 128]]))
        seen = set()
        for frame in frames(ingest, 170):
            seen.add((frame.height, frame.width))
            assert number_in(frame.picture) == frame.sequence + 1
        assert ingest.status()["gate"].counts.failures == 0
    assert seen == {(48, 64), (480, 640), (96, 128)}


@ELSEWHERE
def test_who_holds_all_slots_gets_no_more_frames_and_they_are_counted() -> None:
    with Ingest(IngestSettings(group_size=1, slots=3), connect) as ingest:
        ingest.add(scripted("gate"))
        held = list(frames(ingest, 3))
        wait_for(lambda: ingest.status()["gate"].counts.dropped[Drop.NO_ROOM] >= 10)
        assert ingest.take(0.2) is None
        planes = [frame.picture.planes[0] for frame in held]
        numbers = [number_in(frame.picture) for frame in held]
        held.clear()
        assert ingest.take(0.2) is None
        assert [int.from_bytes(plane.reshape(-1)[:8].tobytes(), "little") for plane in planes] == numbers
        planes.clear()
        skip(ingest, 10)
    assert settled(ingest.status()["gate"].counts)


@ELSEWHERE
def test_cameras_that_need_more_memory_than_is_allowed_are_refused_before_the_start() -> None:
    with Ingest(IngestSettings(group_size=1, memory_bytes=30_000_000), connect) as ingest:
        ingest.add(scripted("gate"))
        ingest.add(scripted("yard"))
        with pytest.raises(UsageError, match=r"3 cameras with 4 pictures of 1920x1080 each need 37.4 MB .* 30.0 MB"):
            ingest.add(scripted("door"))


@ELSEWHERE
def test_a_camera_whose_pictures_find_no_memory_says_so_and_the_others_go_on() -> None:
    settings = IngestSettings(group_size=2, memory_bytes=2_000_000, expected_size=(64, 48))
    with Ingest(settings, connect) as ingest:
        ingest.add(scripted("gate"))
        ingest.add(scripted("yard", size=[720, 1280]))
        wait_for(lambda: ingest.status()["yard"].reconnects.get(Reason.MEMORY, 0) >= 2)
        taken = take_for(ingest, 1)
        status = ingest.status()
    assert {camera for camera, _, _ in taken} == {"gate"}
    assert len(taken) >= 40
    assert "1280x720 need 5.5 MB" in status["yard"].sentence
    assert "2.0 MB" in status["yard"].sentence
    assert "memory_bytes" in status["yard"].sentence
    ended = ingest.status()["yard"].counts
    assert settled(ended)
    assert ended.dropped[Drop.NO_ROOM] == ended.received


@ELSEWHERE
def test_a_connect_that_no_other_process_can_import_is_refused() -> None:
    with pytest.raises(UsageError, match="want a function of a module"):
        Ingest(IngestSettings(group_size=1), lambda settings: connect(settings))  # noqa: PLW0108


def test_a_system_without_shareable_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with pytest.raises(UsageError, match=r"group_size 4: .* needs Linux"):
        Ingest(IngestSettings(group_size=4), connect)


@pytest.mark.parametrize(
    "wrong", [{"group_size": -1}, {"slots": 1}, {"memory_bytes": 5}, {"child_memory_bytes": 0}, {"hang_after_s": 1}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        IngestSettings(**wrong)  # type: ignore[arg-type]
