"""What goes wrong with cameras: each fault is seen, named and survived, within its bound, and harms no other camera."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer, wrapping_after
from tests.kit.site import Seen, Site, assert_own_times
from watchline.streams.camera import CameraState
from watchline.streams.failure import Reason
from watchline.streams.frame import ClockSource
from watchline.streams.ledger import Drop

pytestmark = pytest.mark.usefixtures("require_rtsp_server")

SCENE = Scene(frames=1000)
SEEN_S = 5.0  # within which a fault is seen
BACK_S = 3.0  # within which the picture is back after the camera is
FPS = 25.0


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(life_s=300) as server:
        yield server


READ: dict[str, dict[str, Any]] = {
    "here": {},
    "in a process each": {"group_size": 1},
    "by gstreamer": {"backend": "gstreamer"},
}
read_in_every_way = pytest.mark.parametrize("site", READ, indirect=True)


@pytest.fixture
def site(record: Record, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A site with one healthy camera, which must keep 95 % of its frames whatever happens to others."""
    how = READ[getattr(request, "param", "here")]
    if "backend" in how:
        request.getfixturevalue("require_gstreamer")
    with RtspServer(life_s=300) as well, Site(**how) as site:
        well.add("/well", record(SCENE))
        site.add("well", well.url("/well"))
        site.wait_for_picture("well", 10, more=10)
        begun = time.monotonic()
        yield site
        until = time.monotonic()
        site.assert_kept("well", 0.95 * FPS, begun, until)
        assert site.reasons("well") == []
        assert_own_times([one for one in site.seen["well"] if begun <= one.at_s < until], SCENE.frames)


def begin(site: Site, server: RtspServer, record: Record) -> None:
    """Adds the camera that something will happen to, and waits until it is live."""
    server.add("/cam", record(SCENE))
    site.add("cam", server.url("/cam"))
    site.wait_for_picture("cam", 10, more=10)


def since(site: Site, at_s: float) -> list[Seen]:
    return [one for one in site.seen["cam"] if one.at_s >= at_s]


@read_in_every_way
def test_a_killed_camera_is_offline_at_once_and_back_soon_after_it_returns(
    site: Site, server: RtspServer, record: Record
) -> None:
    begin(site, server, record)
    server.kill()
    assert site.wait_for_state("cam", CameraState.OFFLINE, SEEN_S) < 1
    time.sleep(6)  # long enough for the delays between tries to have grown
    server.restart()
    assert site.wait_for_picture("cam", 10) < BACK_S
    assert site.reasons("cam")[0] is Reason.ENDED
    assert Reason.REFUSED in site.reasons("cam")


@read_in_every_way
def test_a_stopped_camera_is_seen_as_silent_and_back_soon_after_it_goes_on(
    site: Site, server: RtspServer, record: Record
) -> None:
    begin(site, server, record)
    server.stop()
    assert site.wait_for_state("cam", CameraState.OFFLINE, 10) < SEEN_S
    time.sleep(13)  # through the first try, which is silent too
    server.cont()
    assert site.wait_for_picture("cam", 10) < BACK_S
    assert set(site.reasons("cam")) == {Reason.TIMEOUT}


def test_a_connected_camera_that_sends_nothing_is_silent_too(site: Site, server: RtspServer, record: Record) -> None:
    begin(site, server, record)
    server.silence("/cam")
    assert site.wait_for_state("cam", CameraState.OFFLINE, 10) < SEEN_S
    time.sleep(4)
    server.resume("/cam")
    assert site.wait_for_picture("cam", 10) < BACK_S
    assert set(site.reasons("cam")) == {Reason.TIMEOUT}


@read_in_every_way
def test_a_frozen_picture_is_seen_and_its_frames_are_not_delivered(
    site: Site, server: RtspServer, record: Record
) -> None:
    begin(site, server, record)
    server.freeze_picture("/cam")
    assert site.wait_for_state("cam", CameraState.FROZEN, 10) < SEEN_S
    count = len(site.seen["cam"])
    time.sleep(8)  # through connections made anew, which show the same picture
    assert len(site.seen["cam"]) == count
    server.resume("/cam")
    assert site.wait_for_picture("cam", 10) < BACK_S
    assert set(site.reasons("cam")) == {Reason.FROZEN}
    assert site.counts("cam").dropped[Drop.FROZEN] > 100


def test_a_still_scene_is_not_a_frozen_one(site: Site, server: RtspServer, record: Record) -> None:
    server.add("/cam", record(Scene(frames=500, moving=False, numbered=False, noise=2.0)))
    site.add("cam", server.url("/cam"), frozen_after_s=1.0)
    site.wait_for_picture("cam", 10, more=200)
    assert site.reasons("cam") == []


def test_a_wrong_password_is_named_and_tried_less_and_less(record: Record, site: Site) -> None:
    with RtspServer(user="admin", password="right", life_s=120) as server:
        server.add("/cam", record(SCENE))
        site.add("cam", server.url("/cam", user="admin", password="wr0ng!canary"))
        site.wait_for_state("cam", CameraState.OFFLINE, 10)
        time.sleep(5)
        tries = [event.at_s for event in site.events if event.camera == "cam" and event.reason]
        assert set(site.reasons("cam")) == {Reason.AUTH}
        assert len(tries) <= 4  # a camera that is asked too often locks its account
        assert "canary" not in repr(site.events)


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_the_right_password_opens(auth: str, record: Record) -> None:
    with RtspServer(user="admin", password="p@ss/w#rd", auth=auth, life_s=60) as server, Site() as site:
        server.add("/cam", record(SCENE))
        site.add("cam", server.url("/cam", user="admin", password="p@ss/w#rd"))
        site.wait_for_picture("cam", 10)


@read_in_every_way
def test_a_missing_stream_and_one_without_pictures_are_named(site: Site, server: RtspServer) -> None:
    server.add("/sound", None, sound=True)
    site.add("cam", server.url("/nothing"))
    site.add("sound", server.url("/sound"))
    site.wait_for_state("cam", CameraState.OFFLINE, 10)
    site.wait_for_state("sound", CameraState.OFFLINE, 10)
    assert site.reasons("cam")[0] is Reason.NOT_FOUND
    assert site.reasons("sound")[0] is Reason.NO_VIDEO


@read_in_every_way
def test_corrupt_packets_are_survived_and_numbers_stay_right(site: Site, server: RtspServer, record: Record) -> None:
    server.add("/cam", record(SCENE), seed=7)
    site.add("cam", server.url("/cam"))
    site.wait_for_picture("cam", 10, more=10)
    server.corrupt("/cam", 0.3)
    time.sleep(6)
    server.corrupt("/cam", 0.0)
    back = time.monotonic()
    site.wait(lambda: len([one for one in since(site, back) if one.number is not None]) > 25, BACK_S + 2)


@read_in_every_way
def test_a_size_that_changes_in_the_middle_is_followed(site: Site, server: RtspServer, record: Record) -> None:
    begin(site, server, record)
    server.change("/cam", record(Scene(width=640, height=360)))
    site.wait(lambda: site.seen["cam"][-1].size == (640, 360), BACK_S)
    begun = time.monotonic()
    site.wait_for_picture("cam", 5, more=25)
    assert all(one.number is not None for one in since(site, begun))


def test_a_codec_that_changes_is_followed_by_a_new_connection(site: Site, server: RtspServer, record: Record) -> None:
    begin(site, server, record)
    server.change("/cam", record(Scene(codec="h265")))
    site.wait(lambda: sum(e.state is CameraState.LIVE for e in site.events if e.camera == "cam") == 2, BACK_S + 1)
    lives = [event for event in site.events if event.camera == "cam" and event.info]
    assert [event.info.codec for event in lives if event.info] == ["h264", "hevc"]
    assert site.reasons("cam") == [Reason.ENDED]


@read_in_every_way
def test_a_leap_of_the_streams_time_changes_nothing_but_a_count(site: Site, server: RtspServer, record: Record) -> None:
    server.add("/cam", record(SCENE))
    site.add("cam", server.url("/cam"))
    site.wait_for_picture("cam", 10, more=25)
    before = site.seen["cam"][-1]
    server.jump_pts("/cam", 500.0)
    site.wait_for_picture("cam", 10, more=75)
    after = site.seen["cam"][-1]
    assert after.pts_s - before.pts_s == pytest.approx(after.at_s - before.at_s, abs=0.3)
    assert site.counts("cam").healed["jumped"] == 1
    assert site.reasons("cam") == []


@read_in_every_way
def test_an_rtp_clock_that_wraps_is_no_leap(site: Site, server: RtspServer, record: Record) -> None:
    server.add("/cam", record(SCENE), timestamp_offset=wrapping_after(3.0), shared=False)
    site.add("cam", server.url("/cam"))
    site.wait_for_picture("cam", 10, more=150)  # six seconds, the wrap in their middle
    assert_own_times(site.seen["cam"][1:], SCENE.frames)
    assert {site.counts("cam").healed[what] for what in ("jumped", "backwards")} == {0}
    assert site.reasons("cam") == []


def test_the_wall_time_of_a_frame_is_that_of_its_taking(server: RtspServer, record: Record) -> None:
    server.add("/cam", record(SCENE))
    offset = time.time() - time.monotonic()
    with Site() as site:
        site.add("cam", server.url("/cam"))
        site.wait(lambda: site.seen["cam"] and site.seen["cam"][-1].clock is ClockSource.RTCP, 15)
        site.wait_for_picture("cam", 10, more=50)
        frames = list(site.seen["cam"])
        assert {one.clock for one in frames[:5]} == {ClockSource.ARRIVAL}  # until the camera tells its time
        for one in frames[10:]:
            assert one.number is not None
            pushed_at = server.pushed_at("/cam", one.number)
            assert pushed_at is not None
            assert one.captured_at == pytest.approx(pushed_at + offset, abs=max(one.clock_error_s, 0.08))
