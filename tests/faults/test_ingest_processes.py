"""Ingest processes that are killed, stopped, hang, or eat memory: what others notice of it, and what is counted."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.kit import barcode
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer
from tests.streams.ingest_cameras import PASSWORD, ROOT, connect, number_in, scripted
from tests.streams.ingest_waiting import frames, settled, skip, take_for, wait_for
from watchline.streams.address import Address
from watchline.streams.camera import CameraState
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.failure import Reason
from watchline.streams.ingest import Ingest
from watchline.streams.ingest_settings import IngestSettings
from watchline.streams.ledger import Drop
from watchline.streams.shared_pictures import memory_bytes, shareable

pytestmark = pytest.mark.skipif(not shareable(), reason="ingest processes are for Linux")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def children() -> list[psutil.Process]:
    """Returns the ingest processes, oldest first."""
    found = [child for child in psutil.Process().children() if "watchline.streams.ingest_child" in child.cmdline()]
    return sorted(found, key=lambda child: child.create_time())


def crashes(ingest: Ingest, camera: str) -> int:
    return ingest.status()[camera].reconnects.get(Reason.CRASHED, 0)


def wait_for_crashes(ingest: Ingest, camera: str, count: int) -> None:
    wait_for(lambda: crashes(ingest, camera) == count)


def wait_for_connections(ingest: Ingest, camera: str, count: int) -> None:
    wait_for(lambda: ingest.status()[camera].counts.connections == count)


def test_twenty_kills_at_any_moment_lose_no_count_and_no_order() -> None:
    moments = random.Random(6)
    lost = 0
    for _ in range(4):  # anew each time, so that the delay before the next start stays short
        with Ingest(IngestSettings(group_size=2), connect) as ingest:
            ingest.add(scripted("gate", rate=0, after=0, size=[240, 320]))
            ingest.add(scripted("yard", rate=100, size=[48, 64]))
            taken: list[tuple[str, int, float]] = []
            for kill in range(5):
                wait_for_connections(ingest, "yard", kill + 1)
                taken += take_for(ingest, 0.3 + moments.random() * 0.3)
                for child in children():
                    child.kill()
                wait_for_crashes(ingest, "yard", kill + 1)
                for status in ingest.status().values():  # exact while nothing runs: what waits is in flight
                    assert 0 <= status.counts.in_flight <= 1
                ingest_backoff_is_forgotten(ingest)
        for camera, status in ingest.status().items():
            own = [row[1:] for row in taken if row[0] == camera]
            assert settled(status.counts)
            assert own == sorted(own)
            assert len({sequence for sequence, _ in own}) == len(own)
            assert len({pts_s for _, pts_s in own}) == len(own)
            assert status.counts.failures == 5
            lost += status.counts.dropped[Drop.LOST]
    assert lost < 200


def ingest_backoff_is_forgotten(ingest: Ingest) -> None:
    """Has each process start again as if it had been well for long."""
    for process in ingest._reader._processes:  # type: ignore[attr-defined]
        process._backoff._tries = process._short_lives = 0


def test_a_healthy_group_keeps_its_rate_while_another_is_killed_five_times() -> None:
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("healthy"))
        wait_for(lambda: ingest.status()["healthy"].counts.received)
        (healthy,) = children()
        ingest.add(scripted("ill"))
        skip(ingest, 50)
        before, started_s = ingest.status()["healthy"].counts, time.monotonic()
        taken = []
        for kill in range(5):
            wait_for(lambda: len(children()) == 2)
            taken += take_for(ingest, 1)
            next(child for child in children() if child != healthy).kill()
            wait_for_crashes(ingest, "ill", kill + 1)
            ingest_backoff_is_forgotten(ingest)
        elapsed_s = time.monotonic() - started_s
        after = ingest.status()["healthy"]
        assert children()[0] == healthy
    assert (after.counts.received - before.received) / elapsed_s >= 0.95 * 50
    assert after.counts.failures == 0
    assert after.counts.connections == 1


@pytest.mark.parametrize(("fault", "said"), [("exit", "exit status 3"), ("abort", "killed by SIGSEGV")])
def test_a_decoder_that_crashes_is_started_again_and_says_how_it_ended(
    fault: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate", fault=fault, once=str(tmp_path / "done")))
        wait_for(lambda: crashes(ingest, "gate"))
        status = ingest.status()["gate"]
        assert status.state is CameraState.OFFLINE
        assert status.reason is Reason.CRASHED
        assert said in status.sentence
        wait_for(lambda: ingest.status()["gate"].state is CameraState.LIVE)
        skip(ingest, 10)
    assert settled(ingest.status()["gate"].counts)
    assert PASSWORD not in caplog.text
    assert PASSWORD not in status.sentence
    if fault == "abort":
        assert "ingest_cameras.py" in caplog.text  # where it happened


def test_a_killed_process_says_that_memory_may_have_been_short() -> None:
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate"))
        skip(ingest, 1)
        children()[0].kill()
        wait_for(lambda: crashes(ingest, "gate"))
        assert "killed by SIGKILL: out of memory?" in ingest.status()["gate"].sentence


def test_a_decoder_that_eats_memory_takes_only_its_own_group(tmp_path: Path) -> None:
    settings = IngestSettings(group_size=1, child_memory_bytes=200 << 20)
    with Ingest(settings, connect) as ingest:
        ingest.add(scripted("healthy"))
        ingest.add(scripted("hungry", fault="eat", once=str(tmp_path / "done")))
        wait_for(lambda: ingest.status()["hungry"].reconnects)
        status = ingest.status()
        assert status["hungry"].reason in (Reason.MEMORY, Reason.INTERNAL)
        assert "MiB" in status["hungry"].sentence or "Memory" in status["hungry"].sentence
        assert status["healthy"].counts.failures == 0
        wait_for(lambda: ingest.status()["hungry"].state is CameraState.LIVE)


@pytest.mark.parametrize("how", ["stopped", "spin", "hang"])
def test_a_process_that_hangs_is_killed_and_started_again(how: str, tmp_path: Path) -> None:
    settings = IngestSettings(group_size=1, hang_after_s=3, stuck_after_s=3)
    with Ingest(settings, connect) as ingest:
        fault = "none" if how == "stopped" else how
        after = 1_000_000 if how == "stopped" else 20
        ingest.add(scripted("gate", fault=fault, after=after, once=str(tmp_path / "done")))
        ingest.add(scripted("healthy"))
        skip(ingest, 30)
        if how == "stopped":
            os.kill(children()[0].pid, signal.SIGSTOP)
        wait_for(lambda: crashes(ingest, "gate"), 15)
        text = ingest.status()["gate"].sentence
        assert ('hung in camera "gate"' if how == "hang" else "no sign of life") in text
        wait_for(lambda: ingest.status()["gate"].state is CameraState.LIVE)
        assert ingest.status()["healthy"].counts.failures == 0


def test_the_end_comes_within_two_seconds_even_with_stopped_processes() -> None:
    ingest = Ingest(IngestSettings(group_size=1), connect)
    ingest.add(scripted("gate"))
    ingest.add(scripted("yard"))
    skip(ingest, 10)
    stopped = children()
    os.kill(stopped[0].pid, signal.SIGSTOP)
    started_s = time.monotonic()
    ingest.close()
    assert time.monotonic() - started_s <= 2.0
    assert not any(child.is_running() for child in stopped)
    assert all(settled(status.counts) for status in ingest.status().values())


_PARENT = """
import sys, time
from tests.streams.ingest_cameras import connect, scripted
from watchline.streams.ingest import Ingest
from watchline.streams.ingest_settings import IngestSettings
ingest = Ingest(IngestSettings(group_size=1), connect)
ingest.add(scripted("gate"))
while ingest.take(1) is None:
    pass
print("up", flush=True)
time.sleep(60)
"""


def test_ingest_processes_die_with_their_parent_and_leave_no_shared_memory() -> None:
    before = set(Path("/dev/shm").iterdir())
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        (child,) = psutil.Process(parent.pid).children()
        parent.kill()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 3)
    assert set(Path("/dev/shm").iterdir()) <= before


def test_one_hundred_cameras_that_come_and_go_leave_threads_and_descriptors_as_they_were() -> None:
    with Ingest(IngestSettings(group_size=4), connect) as ingest:
        ingest.add(scripted("stays"))
        counts = []
        for number in range(100):
            ingest.add(scripted(f"camera-{number}"))
            if number % 5 == 0:
                skip(ingest, 5)
            ingest.remove(f"camera-{number}")
            if number in (20, 99):
                skip(ingest, 30)
                both = psutil.Process(), children()[0]
                counts.append([(process.num_threads(), process.num_fds()) for process in both])
    assert counts[0] == counts[1]


@pytest.mark.usefixtures("require_rtsp_server")
def test_real_streams_come_back_after_a_kill_with_the_right_picture_under_every_number(record: Record) -> None:
    scene = Scene(width=320, height=240, frames=500)
    with RtspServer(life_s=120) as server, Ingest(IngestSettings(group_size=1)) as ingest:
        for camera in ("gate", "yard"):
            server.add(f"/{camera}", record(scene), shared=False)
            ingest.add(CameraSettings(camera, Address.parse(server.url(f"/{camera}")), fps=0))
        seen: dict[str, list[int]] = {"gate": [], "yard": []}
        for frame in frames(ingest, 100):
            number = barcode.read(frame.picture.planes[0])
            assert number is not None
            seen[frame.camera].append(number)
        children()[0].kill()
        wait_for(lambda: crashes(ingest, "gate") == 1)
        wait_for(lambda: ingest.status()["gate"].state is CameraState.LIVE)
        skip(ingest, 50)
        status = ingest.status()
    assert seen["gate"] == sorted(set(seen["gate"]))
    assert status["yard"].counts.failures == 0
    assert status["gate"].counts.connections == 2
    assert all(settled(status.counts) for status in ingest.status().values())


def test_pictures_of_a_killed_process_stay_as_they_are() -> None:
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate"))
        (held,) = frames(ingest, 1)
        number = number_in(held.picture)
        children()[0].kill()
        wait_for(lambda: ingest.status()["gate"].counts.connections == 2)
        skip(ingest, 20)
        assert number_in(held.picture) == number


def test_the_one_camera_that_kills_its_process_again_and_again_does_so_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Ingest(IngestSettings(group_size=4), connect) as ingest:
        for camera in ("gate", "yard"):
            ingest.add(scripted(camera))
        ingest.add(scripted("poison", fault="exit"))
        wait_for(lambda: len({status.process for status in ingest.status().values()} - {None}) == 3, 15)
        wait_for_crashes(ingest, "poison", 3)
        ingest.add(scripted("new"))
        wait_for(lambda: all(ingest.status()[name].state is CameraState.LIVE for name in ("gate", "yard", "new")))
        wait_for_crashes(ingest, "poison", 4)
        taken = {camera for camera, _, _ in take_for(ingest, 0.5)}
        status = ingest.status()
        assert len([child for child in children() if child.pid != status["poison"].process]) == 3
        ingest.remove("yard")
    assert taken >= {"gate", "yard", "new"}
    assert (crashes(ingest, "gate"), crashes(ingest, "new")) == (2, 0)
    assert status["poison"].last_failure is Reason.CRASHED
    assert status["poison"].retry_s > 1
    assert "cameras gate, yard, poison); each goes on in a process of its own" in caplog.text
    assert all(settled(status.counts) for status in ingest.status().values())


def test_a_camera_that_hangs_after_its_removal_has_its_process_ended() -> None:
    with Ingest(IngestSettings(group_size=2, stuck_after_s=3), connect) as ingest:
        ingest.add(scripted("healthy"))
        ingest.add(scripted("gate", fault="hang"))
        wait_for(lambda: ingest.status()["gate"].counts.received == 20)
        before = ingest.status()["healthy"].process
        ingest.remove("gate")
        wait_for(lambda: crashes(ingest, "healthy") == 1, 15)
        assert 'hung in camera "gate", which was removed,' in ingest.status()["healthy"].sentence
        wait_for(lambda: ingest.status()["healthy"].state is CameraState.LIVE)
        assert ingest.status()["healthy"].process != before


def test_a_process_that_is_silent_for_three_seconds_is_no_longer_called_live() -> None:
    with Ingest(IngestSettings(group_size=1, hang_after_s=20), connect) as ingest:
        ingest.add(scripted("gate"))
        skip(ingest, 10)
        (child,) = children()
        child.suspend()
        wait_for(lambda: ingest.status()["gate"].state is CameraState.OFFLINE, 5)
        status = ingest.status()["gate"]
        assert status.reason is Reason.TIMEOUT
        assert "no sign of life" in status.sentence
        child.resume()
        wait_for(lambda: ingest.status()["gate"].state is CameraState.LIVE, 5)
        assert ingest.status()["gate"].counts.failures == 0
        assert ingest.status()["gate"].process == child.pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_are_for_the_parent_end_no_ingest_process(number: signal.Signals) -> None:
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate"))
        skip(ingest, 10)
        (child,) = children()
        child.send_signal(number)
        take_for(ingest, 0.5)
        assert children() == [child]
        assert ingest.status()["gate"].counts.failures == 0


def test_an_ingest_process_offers_itself_where_memory_is_short() -> None:
    with Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate"))
        skip(ingest, 1)
        assert int(Path(f"/proc/{children()[0].pid}/oom_score_adj").read_text()) >= 500


def test_a_picture_that_is_kept_stops_no_camera_after_a_crash() -> None:
    one = max(1 << 20, memory_bytes(640 * 480 * 3 // 2, 4))
    settings = IngestSettings(group_size=1, memory_bytes=one, expected_size=(640, 480))
    with Ingest(settings, connect) as ingest:
        ingest.add(scripted("gate", size=[480, 640]))
        for crash in range(2):
            (kept,) = frames(ingest, 1)
            children()[0].kill()
            wait_for_crashes(ingest, "gate", crash + 1)
            wait_for(lambda: ingest.status()["gate"].state is CameraState.LIVE)
            skip(ingest, 10)
        assert kept.height == 480
        assert Reason.MEMORY not in ingest.status()["gate"].reconnects


def test_a_flood_of_log_lines_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Ingest(IngestSettings(group_size=1), connect) as ingest:
        ingest.add(scripted("gate", fault="log", after=5))
        wait_for(lambda: "80 log lines were left out" in caplog.text, 5)
    assert "line 19" in caplog.text
    assert "line 20" not in caplog.text
