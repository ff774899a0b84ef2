"""What goes wrong around a running daemon: its disk, its file, its clock, its end; and what it must never tell."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kit.clock_shim import ShiftedClock, require_clock_shim
from tests.kit.daemon import DaemonProcess, small_site
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer
from tests.kit.small_disk import SmallDisk, small_disk

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="mounts, clocks and kills as Linux has them"),
    pytest.mark.usefixtures("require_rtsp_server"),
]

SCENE = Scene(frames=1000)


@pytest.fixture
def server(record: Record) -> Iterator[RtspServer]:
    """Two cameras: /east and /west."""
    with RtspServer(life_s=120) as server:
        for name in ("east", "west"):
            server.add(f"/{name}", record(SCENE))
        yield server


@pytest.fixture
def site(tiny: Path, server: RtspServer) -> dict[str, Any]:
    """Both cameras, ten frames a second each."""
    return small_site(tiny, {name: server.url(f"/{name}") for name in ("east", "west")}, fps=10)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def assert_whole(daemon: DaemonProcess, camera: str) -> list[dict[str, Any]]:
    """Checks the journal of a camera, and that nothing half-written lies about; returns its frames."""
    frames = [line for line in daemon.journal(camera) if line["type"] == "tracks"]
    ids = daemon.track_ids(camera)
    assert ids == sorted(ids)
    assert not list(daemon.storage.rglob("*.part"))
    for path in (daemon.storage / "state").iterdir():
        assert path.stat().st_size > 0, path
    return frames


def test_a_full_disk_is_told_and_what_it_costs_is_counted(
    site: dict[str, Any], disk: SmallDisk, tmp_path: Path
) -> None:
    site |= {"storage": {"path": str(disk.folder)}, "retention": {"free": 0}}
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames()
        assert daemon.get("/healthz")[0] == 200
        disk.fill()
        daemon.wait(lambda: daemon.metrics().value("watchline_journal_failing") == 1)
        daemon.wait(lambda: daemon.metrics().value("watchline_journal_lost_total", reason="disk") > 30)
        daemon.wait_for_frames()  # the cameras go on
        assert daemon.said("no space left on device")
        assert daemon.get("/healthz")[0] == 200  # to end it would help nobody
        disk.free()
        took_s = daemon.wait(lambda: daemon.metrics().value("watchline_journal_failing") == 0)
        written = daemon.metrics().value("watchline_journal_lines_total")
        daemon.wait(lambda: daemon.metrics().value("watchline_journal_lines_total") > written + 20)
        assert took_s < 10
        lost = daemon.metrics().value("watchline_journal_lost_total")
        assert daemon.stop()[0] == 0
        told = 0
        for camera in ("east", "west"):
            assert assert_whole(daemon, camera)
            told += sum(line.get("lines", 0) for line in daemon.journal(camera) if line["type"] == "gap")
        assert told == lost


def test_an_end_on_a_full_disk_comes_in_time_says_so_and_leaves_whole_lines(
    site: dict[str, Any], disk: SmallDisk, tmp_path: Path
) -> None:
    site |= {"storage": {"path": str(disk.folder)}, "retention": {"free": 0}}
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames()
        disk.fill()
        daemon.wait(lambda: daemon.metrics().value("watchline_journal_failing") == 1)
        code, took_s = daemon.stop()
        assert (code, took_s < 10) == (3, True), "not all was written"
        assert daemon.said("no space left on device")
        disk.free()
        daemon.start()
        daemon.wait_for_frames()
        assert daemon.stop()[0] == 0
        for camera in ("east", "west"):
            assert_whole(daemon, camera)


def test_a_process_that_reads_cameras_and_is_killed_costs_counted_frames_and_a_gap(
    site: dict[str, Any], tmp_path: Path
) -> None:
    site["ingest"] = {"group_size": 1}
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames()
        readers = {child.pid for child in daemon.children()} - {child.pid for child in daemon.detectors()}
        psutil.Process(min(readers)).kill()
        daemon.wait(lambda: daemon.metrics().value("watchline_reconnects_total") > 0)
        daemon.wait_for_frames()
        scrape = daemon.metrics()
        crashed = [
            name
            for name in ("east", "west")
            if scrape.value("watchline_reconnects_total", camera=name, reason="crashed")
        ]
        assert len(crashed) == 1
        assert scrape.value("watchline_reconnects_total") == 1
        assert daemon.stop()[0] == 0
    for camera in ("east", "west"):
        assert daemon.track_ids(camera) == [1] or camera in crashed, "it was away for longer than tracks wait"
        gaps = [line["reason"] for line in daemon.journal(camera) if line["type"] == "gap"]
        assert gaps == (["crashed"] if camera in crashed else [])


def mutated(text: str, dice: random.Random) -> bytes:
    """Returns the file with something wrong: cut, garbled, shuffled, bent, or blown up."""
    lines, raw = text.splitlines(keepends=True), bytearray(text.encode())
    at = dice.randrange(len(lines))
    match dice.randrange(8):
        case 0:
            return bytes(raw[: dice.randrange(len(raw))])
        case 1:
            for _ in range(8):
                raw[dice.randrange(len(raw))] = dice.randrange(256)
            return bytes(raw)
        case 2:
            return "".join(dice.sample(lines, len(lines))).encode()
        case 3:
            return "".join([*lines[:at], lines[at], lines[at], *lines[at + 1 :]]).encode()
        case 4:
            return "".join([*lines[:at], *lines[at + 1 :]]).encode()
        case 5:
            return text.replace(dice.choice(["10", "people", "yard", "true", "rtsp", "cpu"]), dice.choice(
                ["-1", "[]", "{a: b}", "1e999", "&x *x", "!!python/object:os.system x", "\x00", "é" * 300, "${NONE}"]
            ), 1).encode()  # fmt: skip
        case 6:
            return text.encode() + b"deep: " + b"[" * dice.randrange(10, 5000)
        case _:
            return text.encode() + b"# " + b"x" * dice.randrange(2 << 20)


def test_thirty_broken_files_in_a_row_harm_nothing(site: dict[str, Any], tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)
    with DaemonProcess(tmp_path, site) as daemon:
        daemon.wait_for_frames()
        good, wrote = daemon.file.read_text(), b""
        for _ in range(30):
            before = daemon.metrics().value("watchline_config_reloads_total")
            wrote = mutated(good, dice)
            daemon.file.write_bytes(wrote)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait(lambda before=before: daemon.metrics().value("watchline_config_reloads_total") > before)  # type: ignore[misc]
            assert daemon.get("/healthz")[0] == 200, (seed, wrote)
        assert daemon.metrics().value("watchline_config_reloads_total", reason="refused") >= 10, seed
        daemon.file.write_text(good)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait(lambda: set(daemon.cameras()) == {"east", "west"})
        daemon.wait_for_frames(30)
        assert daemon.stop()[0] == 0, seed
    assert not daemon.said("Traceback"), (seed, daemon.lines)
    assert max(map(len, daemon.lines)) < 10_000, seed


def test_a_clock_that_jumps_ends_no_connection_no_track_and_no_file(site: dict[str, Any], tmp_path: Path) -> None:
    require_clock_shim()
    clock = ShiftedClock(tmp_path)
    site["retention"] = {"tracks_days": 0.01, "free": "1MiB"}  # a quarter of an hour
    with DaemonProcess(tmp_path, site, clock.environment()) as daemon:
        daemon.wait_for_frames(30)
        files = set(daemon.storage.rglob("*.jsonl"))
        for jump_s, days in ((3600, 0.011), (-10_800, 0.012), (0, 0.01)):
            clock.shift(jump_s)
            site["retention"]["tracks_days"] = days  # files are looked at at once
            daemon.write(site)
            daemon.wait_for_frames(30)
            for told in daemon.cameras().values():
                assert abs(told["last_frame_at"] - time.time() - jump_s) < 5, "its clock did jump"
                assert 0 <= told["latency_s"] < 2, (jump_s, told)
                assert 0 <= told["age_s"] < 3, (jump_s, told)
        assert daemon.metrics().value("watchline_reconnects_total") == 0
        assert files <= set(daemon.storage.rglob("*.jsonl"))
        assert daemon.stop()[0] == 0
    for camera in ("east", "west"):
        frames = assert_whole(daemon, camera)
        assert daemon.track_ids(camera) == [1]
        assert all(one["sequence"] < other["sequence"] for one, other in pairwise(frames))
        assert not [line for line in daemon.journal(camera) if line["type"] == "gap"]


def test_a_daemon_that_is_killed_leaves_no_process_and_goes_on_where_it_was(
    site: dict[str, Any], tmp_path: Path
) -> None:
    site["ingest"] = {"group_size": 1}
    with DaemonProcess(tmp_path, site) as daemon:
        for _ in range(2):
            daemon.wait_for_frames(15)
            children = daemon.children()
            assert len(children) == 3, "two that read cameras and one that detects"
            daemon.process.kill()
            daemon.process.wait(5)
            _, alive = psutil.wait_procs(children, timeout=5)
            assert not alive
            daemon.start()
        daemon.wait_for_frames(15)
        assert daemon.stop()[0] == 0
    for camera in ("east", "west"):
        assert len(assert_whole(daemon, camera)) > 30
        gaps = [line for line in daemon.journal(camera) if line["type"] == "gap"]
        assert [gap["reason"] for gap in gaps] == ["restart"] * 2
