"""What goes wrong between cameras and us: loss, delay, narrow and cut roads, and clocks that jump."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.kit.clock_shim import ShiftedClock, require_clock_shim
from tests.kit.fault_proxy import FaultProxy
from tests.kit.namespaces import Namespace, require_namespaces
from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer
from tests.kit.site import Site, assert_own_times
from watchline.streams.camera import CameraState
from watchline.streams.camera_settings import Backend, Transport
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource
from watchline.streams.ledger import Drop

pytestmark = pytest.mark.usefixtures("require_rtsp_server")

SCENE = Scene(frames=1000)
SHORT = Scene(frames=1000, gop=5)
FPS = 25.0


@pytest.fixture
def site(record: Record) -> Iterator[Site]:
    """A site with a camera on a healthy road, which must keep 95 % of its frames whatever happens to others."""
    with RtspServer(life_s=300) as well, Site() as site:
        well.add("/well", record(SCENE))
        site.add("well", well.url("/well"))
        site.wait_for_picture("well", 10, more=10)
        begun = time.monotonic()
        yield site
        site.assert_kept("well", 0.95 * FPS, begun, time.monotonic())
        assert site.reasons("well") == []


@pytest.fixture
def far(record: Record) -> Iterator[tuple[Namespace, RtspServer]]:
    """A camera in a network of its own."""
    require_namespaces()
    with Namespace() as space, RtspServer(host=space.address, namespace=space.name, life_s=120) as server:
        server.add("/cam", record(SCENE))
        yield space, server


@pytest.fixture
def behind(record: Record) -> Iterator[tuple[FaultProxy, str]]:
    """A camera behind a proxy, and its address there."""
    with RtspServer(life_s=120) as server, FaultProxy((server.host, server.port)) as proxy:
        server.add("/cam", record(SCENE))
        yield proxy, f"rtsp://127.0.0.1:{proxy.port}/cam"


@pytest.mark.parametrize("backend", ["pyav", "gstreamer"])
@pytest.mark.parametrize(("percent", "least"), [(5, 25), (20, 0)])
def test_lost_datagrams_cost_pictures_but_not_the_camera_and_none_is_damaged(
    request: pytest.FixtureRequest,
    site: Site,
    far: tuple[Namespace, RtspServer],
    record: Record,
    percent: int,
    least: int,
    backend: str,
) -> None:
    if backend == "gstreamer":
        request.getfixturevalue("require_gstreamer")
    space, server = far
    server.add("/short", record(SHORT))
    site.add("cam", server.url("/short"), transport=Transport.UDP, backend=Backend(backend))
    site.wait_for_picture("cam", 10, more=10)
    assert site.counts("cam").dropped[Drop.DAMAGED] == 0
    space.loss(percent)
    before = len(site.seen["cam"])
    time.sleep(8)
    assert len(site.seen["cam"]) - before >= least
    assert site.counts("cam").dropped[Drop.DAMAGED] > 0
    space.clear()
    site.wait_for_picture("cam", 5, more=25)
    damaged = site.counts("cam").dropped[Drop.DAMAGED]
    begun = time.monotonic()
    time.sleep(2)
    assert site.rate("cam", begun, time.monotonic()) >= 0.9 * FPS
    assert site.counts("cam").dropped[Drop.DAMAGED] == damaged
    assert all(seen.number is not None for seen in site.seen["cam"])
    assert_own_times(site.seen["cam"][2:], SHORT.frames)  # FFmpeg may not know the first one's time
    assert site.reasons("cam") == []


def test_a_narrow_road_gives_what_it_can_and_recovers(site: Site, far: tuple[Namespace, RtspServer]) -> None:
    space, server = far
    site.add("cam", server.url("/cam"), transport="tcp")
    site.wait_for_picture("cam", 10, more=10)
    space.rate(0.1)  # a tenth of a megabit, where the stream takes three times as much
    time.sleep(6)
    space.clear()
    begun = time.monotonic()
    site.wait(lambda: site.state("cam") is CameraState.LIVE, 12)
    site.wait_for_picture("cam", 10, more=25)
    assert time.monotonic() - begun < 15


def test_a_cut_road_is_silence_and_the_picture_is_back_with_it(site: Site, far: tuple[Namespace, RtspServer]) -> None:
    space, server = far
    site.add("cam", server.url("/cam"))
    site.wait_for_picture("cam", 10, more=10)
    space.link_down()
    assert site.wait_for_state("cam", CameraState.OFFLINE, 10) < 5
    time.sleep(5)
    space.link_up()
    assert site.wait_for_picture("cam", 15) < 5  # three, and what the kernel takes to try again
    assert site.reasons("cam")[0] is Reason.TIMEOUT


def test_half_a_second_of_delay_keeps_the_rate_and_the_cameras_own_times(
    site: Site, behind: tuple[FaultProxy, str]
) -> None:
    proxy, url = behind
    proxy.delay_s = 0.5
    site.add("cam", url)
    site.wait(lambda: site.seen["cam"] and site.seen["cam"][-1].clock is ClockSource.RTCP, 20)
    begun = time.monotonic()
    time.sleep(4)
    assert site.rate("cam", begun, time.monotonic()) >= 0.95 * FPS
    offset = time.time() - time.monotonic()
    ages = [one.at_s + offset - one.captured_at for one in site.seen["cam"][-50:]]
    assert 0.5 <= statistics.median(ages) < 0.8
    assert site.seen["cam"][-1].clock_error_s >= 0.5  # for a delay and a clock that is off look alike


def test_a_cut_connection_is_made_anew(site: Site, behind: tuple[FaultProxy, str]) -> None:
    proxy, url = behind
    site.add("cam", url)
    site.wait_for_picture("cam", 10, more=10)
    proxy.cut(reset=True)
    assert site.wait_for_state("cam", CameraState.OFFLINE, 5) < 1
    assert site.wait_for_picture("cam", 10) < 3
    assert site.reasons("cam") == [Reason.ENDED]


def test_a_black_hole_is_silence(site: Site, behind: tuple[FaultProxy, str]) -> None:
    proxy, url = behind
    site.add("cam", url)
    site.wait_for_picture("cam", 10, more=10)
    proxy.blackhole()
    assert site.wait_for_state("cam", CameraState.OFFLINE, 10) < 5
    time.sleep(3)
    proxy.restore()
    assert site.wait_for_picture("cam", 15) < 12  # the try under way has to end: its connection is lost
    assert site.reasons("cam")[0] is Reason.TIMEOUT


def test_spoilt_bytes_of_the_protocol_itself_are_survived(site: Site, behind: tuple[FaultProxy, str]) -> None:
    proxy, url = behind
    site.add("cam", url)
    site.wait_for_picture("cam", 10, more=10)
    proxy.corrupt = 0.2
    time.sleep(5)
    proxy.corrupt = 0.0
    site.wait_for_picture("cam", 20, more=25)


READ = """
import json, sys, time
from watchline.streams.address import Address
from watchline.streams.camera import Camera
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.latest import Latest
from watchline.streams.ledger import Ledger

def tell(event):
    print(json.dumps({"state": event.state}), flush=True)

latest, ledger = Latest(), Ledger()
settings = CameraSettings("cam", Address.parse(sys.argv[1]), fps=0)
camera = Camera(settings, latest.add("cam", ledger), ledger, open_connection, tell)
camera.start()
until = time.monotonic() + 12
while time.monotonic() < until:
    frame = latest.take(0.5)
    if frame is not None:
        print(json.dumps([frame.sequence, frame.pts_s, frame.captured_at, time.time(), time.monotonic()]), flush=True)
camera.stop()
camera.join(5)
"""


def test_a_wall_clock_that_jumps_changes_stored_times_and_nothing_else(record: Record, tmp_path: Path) -> None:
    require_clock_shim()
    clock = ShiftedClock(tmp_path)
    with RtspServer(life_s=60) as server:
        server.add("/cam", record(SCENE))
        child = subprocess.Popen(
            [sys.executable, "-c", READ, server.url("/cam")],
            env={**os.environ, **clock.environment()},
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(5)
        clock.shift(3600)
        time.sleep(3.5)
        clock.shift(-10800)
        printed, _ = child.communicate(timeout=30)
    told = [json.loads(line) for line in printed.splitlines()]
    states = [one["state"] for one in told if isinstance(one, dict)]
    assert states == ["connecting", "live", "stopped"]
    frames = [one for one in told if isinstance(one, list)]
    assert len(frames) > 0.95 * FPS * 11
    for before, after in pairwise(frames):
        assert 0 < after[1] - before[1] < 1  # the stream's own time goes on
    shifts = {round((wall - monotonic - (frames[0][3] - frames[0][4])) / 60) for *_, wall, monotonic in frames}
    assert shifts == {0, 60, -180}  # the clock of the child did jump
    for _, _, captured_at, wall, _ in frames:
        assert abs(captured_at - wall) < 0.5 or abs(wall - time.time()) > 60  # RTCP keeps true what we have wrong
