"""What loads a daemon: clients that do not read, a camera that comes and goes, ten times the frames it can look at."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.daemon_models import write_slow_model
from tests.kit.daemon import DaemonProcess, Scrape, small_site
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory and connections as Linux counts them")

FPS = 25.0
SCENE = Scene(frames=1000)
FLAT_BYTES = 16 << 20  # memory may move by so much and still be flat
PROCESSED = "watchline_frames_processed_total"


class Rates:
    """How many frames of each camera were processed, from now on."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._before, self._begun_s = daemon.metrics(), time.monotonic()

    def fps(self, camera: str) -> float:
        """A second, of one camera."""
        now, took_s = self._daemon.metrics(), time.monotonic() - self._begun_s
        return (now.value(PROCESSED, camera=camera) - self._before.value(PROCESSED, camera=camera)) / took_s

    def counts(self) -> list[float]:
        """Of every camera."""
        now = self._daemon.metrics()
        cameras = now.labels(PROCESSED, "camera")
        return [now.value(PROCESSED, camera=name) - self._before.value(PROCESSED, camera=name) for name in cameras]


@contextmanager
def clients(daemon: DaemonProcess, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    """Connects clients that say something, and then neither speak nor read."""
    address = urlsplit(daemon.url)
    assert address.hostname is not None
    with ExitStack() as all_of_them:
        connected = []
        for _ in range(count):
            client = all_of_them.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((address.hostname, address.port))
            client.sendall(said)
            connected.append(client)
        yield connected


def slowest_answer_s(daemon: DaemonProcess) -> float:
    """Asks for each kind of answer; returns how long the slowest took."""
    took_s = []
    for path in ("/healthz", "/readyz", "/api/cameras", "/metrics", "/", "/cameras/east/snapshot.jpg"):
        begun_s = time.monotonic()
        status, _ = daemon.get(path)
        took_s.append(time.monotonic() - begun_s)
        assert status in (200, 503), (path, status)
        assert status == 200 or path.endswith(".jpg"), (path, status)
    return max(took_s)


def test_clients_that_never_read_or_never_finish_cost_nobody_anything(
    record: Record, tiny: Path, tmp_path: Path
) -> None:
    with RtspServer(life_s=120) as server:
        server.add("/east", record(SCENE))
        server.add("/west", record(SCENE))
        site = small_site(tiny, {name: server.url(f"/{name}") for name in ("east", "west")})
        with DaemonProcess(tmp_path, site) as daemon:
            watching = b"GET /cameras/%s/live.mjpg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            daemon.wait_for_frames(25)
            with clients(daemon, 4, watching % b"east"):
                assert slowest_answer_s(daemon) < 1  # what is made once for all is made now
                time.sleep(2)
            idle = daemon.memory_bytes()
            rates, held = Rates(daemon), []
            with (
                clients(daemon, 20, watching % b"east") as east,
                clients(daemon, 20, watching % b"west"),
                clients(daemon, 20, b"GET /api/cameras HTTP/1.1\r\nHost: 127."),
            ):
                for _ in range(8):
                    time.sleep(1)
                    assert slowest_answer_s(daemon) < 1
                    held.append(daemon.memory_bytes())
                time.sleep(6)  # none of them has read for so long that it is cut off
                daemon.wait(lambda: daemon.metrics().value("watchline_viewers") == 0)
                assert all(is_cut_off(client) for client in east)
            assert max(held) - min(held[2:]) < FLAT_BYTES, held
            assert max(held) - idle < 2 * FLAT_BYTES, (idle, held)
            for camera in ("east", "west"):
                assert rates.fps(camera) >= 0.95 * FPS
            assert daemon.stop()[0] == 0


def is_cut_off(client: socket.socket) -> bool:
    """Reads what was sent; returns whether it ends."""
    client.settimeout(1)
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_camera_that_comes_and_goes_costs_its_neighbour_nothing_and_each_time_is_recorded(
    record: Record, tiny: Path, tmp_path: Path
) -> None:
    with RtspServer(life_s=120) as server, RtspServer(life_s=120) as well:
        server.add("/flap", record(SCENE))
        well.add("/well", record(SCENE))
        site = small_site(tiny, {"flap": server.url("/flap"), "well": well.url("/well")})
        with DaemonProcess(tmp_path, site) as daemon:
            daemon.wait_for_frames(50)
            rates, held, dropped = Rates(daemon), [], 0
            for _ in range(20):
                time.sleep(1)
                dropped += server.drop_clients("/flap")
                held.append(daemon.memory_bytes())
            assert rates.fps("well") >= 0.95 * FPS
            assert max(held[10:]) - max(held[:10]) < FLAT_BYTES, held
            daemon.wait_for_frames(25)  # it is back
            after = daemon.metrics()
            assert dropped >= 5
            assert after.value("watchline_reconnects_total", camera="flap") >= dropped
            assert after.value("watchline_reconnects_total", camera="well") == 0
            assert daemon.stop()[0] == 0
        gaps = [line for line in daemon.journal("flap") if line["type"] == "gap"]
        assert dropped // 2 <= len(gaps) <= dropped, "one that is dropped as it comes back is still away"
        for before, after_it in pairwise(gaps):
            assert before["from"] < before["to"] <= after_it["from"], (before, after_it)
        assert not [line for line in daemon.journal("well") if line["type"] == "gap"]


def age_below(before: Scrape, after: Scrape, share: float) -> float:
    """Returns the age that such a share of the frames between two scrapes did not exceed, seconds."""
    name = "watchline_frame_age_seconds_bucket"
    bounds = after.labels(name, "le")
    counts = {le: after.value(name, le=le) - before.value(name, le=le) for le in bounds}
    return min(float(le) for le in bounds if counts[le] >= share * counts["+Inf"])


def test_ten_times_too_many_frames_are_shed_evenly_and_none_waits_long(clip: Path, tmp_path: Path) -> None:
    cameras = {f"cam-{number}": clip for number in range(16)}
    with DaemonProcess(tmp_path, small_site(write_slow_model(tmp_path / "slow.onnx"), cameras)) as daemon:
        daemon.wait_for_frames(4)
        rates, before, begun_s = Rates(daemon), daemon.metrics(), time.monotonic()
        while time.monotonic() - begun_s < 15:
            daemon.metrics()  # each one is exact
            time.sleep(0.2)
        after, counts = daemon.metrics(), rates.counts()
        came = after.value("watchline_frames_received_total") - before.value("watchline_frames_received_total")
        assert came > 5 * sum(counts), "it was too much"
        assert max(counts) <= 1.25 * min(counts), counts
        assert age_below(before, after, 0.95) <= 1.0
        assert after.value("watchline_frames_in_flight") <= 3 * len(cameras)
        assert after.value("watchline_frames_dropped_total", reason="detector") == 0
        code, took_s = daemon.stop()
    assert code == 0, daemon.lines
    assert took_s < 10
    assert daemon.said("all frames finished")
    for camera in cameras:
        sequences = [line["sequence"] for line in daemon.journal(camera) if line["type"] == "tracks"]
        assert sequences == sorted(set(sequences))
        assert len(sequences) > 10
