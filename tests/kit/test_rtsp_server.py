"""The RTSP server of the kit, seen by a plain client: every fault it offers must really be one."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from tests.kit import barcode, rtsp_server
from tests.kit.recordings import Codec, Record, Scene
from tests.kit.rtsp_server import RtspServer, RtspServerError, wrapping_after

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

pytestmark = pytest.mark.usefixtures("require_rtsp_server")

SMALL = Scene(frames=500)


@pytest.fixture
def server() -> Iterator[RtspServer]:
    with RtspServer(life_s=120) as server:
        yield server


def watch(url: str, transport: str = "tcp", read_s: float = 3) -> InputContainer:
    options = {"rtsp_transport": transport, "fpsprobesize": "0", "analyzeduration": "100000"}
    return av.open(url, options=options, timeout=(10, read_s))


def frames_of(url: str, transport: str = "tcp", *, read_s: float = 3) -> Iterator[VideoFrame]:
    with watch(url, transport, read_s) as container:
        yield from container.decode(video=0)


def numbers(frames: Iterator[VideoFrame], count: int) -> list[int | None]:
    return [barcode.read_frame(frame) for _, frame in zip(range(count), frames, strict=False)]


def wait_until_none_watches(server: RtspServer) -> None:
    until = time.monotonic() + 3
    while server.clients() and time.monotonic() < until:
        time.sleep(0.02)
    assert server.clients() == 0


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_every_frame_comes_in_order_with_its_number(
    server: RtspServer, record: Record, codec: Codec, transport: str
) -> None:
    server.add("/gate", record(Scene(codec=codec)), shared=False)
    started = time.monotonic()
    frames = frames_of(server.url("/gate"), transport)
    first = barcode.read_frame(next(frames))
    assert first == 0
    assert time.monotonic() - started < 1.5
    assert numbers(frames, 50) == list(range(1, 51))


def test_a_loop_starts_again_at_the_first_number(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(Scene(frames=20, gop=10, first_number=100)))
    seen = numbers(frames_of(server.url("/gate")), 45)
    assert seen == [100 + number % 20 for number in range(45)]


def test_two_clients_of_a_shared_camera_see_the_same_frames(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(Scene(codec="mjpeg")))
    one = frames_of(server.url("/gate"))
    before = numbers(one, 10)[-1]
    other = frames_of(server.url("/gate"))
    start = barcode.read_frame(next(other))
    assert before is not None
    assert start is not None
    assert before < start < before + 40
    assert server.clients("/gate") == 2


def test_the_time_of_each_push_is_known(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL))
    latencies = []
    for frame in frames_of(server.url("/gate")):
        latency = server.latency_of("/gate", barcode.read_frame(frame) or 0)
        assert latency is not None
        latencies.append(latency)
        if len(latencies) == 50:
            break
    assert 0 < np.median(latencies) < 0.3
    assert server.pushed_at("/gate", 499) is None
    newest = server.pushes("/gate")
    steps = -np.diff([at for _, at in newest])
    assert np.median(steps) == pytest.approx(1 / 25, rel=0.2)


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_only_the_right_password_opens(record: Record, auth: str) -> None:
    with RtspServer(user="guard", password="p@ss:w/rd", auth=auth, life_s=60) as server:
        server.add("/gate", record(SMALL))
        for url in (server.url("/gate"), server.url("/gate", user="guard", password="wrong")):
            with pytest.raises(av.HTTPUnauthorizedError):
                watch(url).close()
        assert numbers(frames_of(server.url("/gate", user="guard", password="p@ss:w/rd")), 3) == [0, 1, 2]


def test_an_unknown_and_a_removed_camera_are_not_found(server: RtspServer, record: Record) -> None:
    with pytest.raises(av.HTTPNotFoundError):
        watch(server.url("/gate")).close()
    server.add("/gate", record(SMALL))
    frames = frames_of(server.url("/gate"))
    next(frames)
    server.remove("/gate")
    assert sum(1 for _ in frames) < 50
    with pytest.raises(av.HTTPNotFoundError):
        watch(server.url("/gate")).close()


def test_a_camera_with_sound_only_has_no_picture(server: RtspServer) -> None:
    server.add("/bell", None)
    with watch(server.url("/bell")) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        assert next(container.demux()).size > 0


def test_a_camera_with_sound_has_both(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL), sound=True)
    with watch(server.url("/gate")) as container:
        assert sorted(stream.type for stream in container.streams) == ["audio", "video"]
        assert numbers(container.decode(video=0), 10) == list(range(10))


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_a_frozen_picture_stays_the_same_while_packets_come(server: RtspServer, record: Record, codec: Codec) -> None:
    server.add("/gate", record(Scene(codec=codec)))
    frames = frames_of(server.url("/gate"))
    numbers(frames, 30)
    server.freeze_picture("/gate")
    pictures = [barcode.luma(frame).copy() for _, frame in zip(range(40), frames, strict=False)][20:]
    assert all(np.array_equal(pictures[0], picture) for picture in pictures)
    server.resume("/gate")
    after = [number for number in numbers(frames, 40)[20:] if number is not None]
    assert after == list(range(after[0], after[0] + 20))


def test_a_silent_camera_keeps_its_connection(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL))
    frames = frames_of(server.url("/gate"), read_s=5)
    last = numbers(frames, 30)[-1]
    server.silence("/gate")
    time.sleep(1.5)
    assert server.clients("/gate") == 1
    pushed = server.pushes("/gate")[0]
    assert time.monotonic() - pushed[1] > 1.2
    server.resume("/gate")
    after = [number for number in numbers(frames, 30) if number is not None]
    assert last is not None
    assert last < after[0] <= last + 3
    assert after == sorted(set(after))
    assert 50 in after


def test_corrupt_packets_spoil_pictures_and_end_when_told(server: RtspServer, record: Record) -> None:
    busy = record(Scene(frames=500, noise=8, bit_rate=2_000_000))
    server.add("/gate", busy)
    frames = frames_of(server.url("/gate"))
    sound = numbers(frames, 30)
    assert sound == list(range(30))
    server.corrupt("/gate", 1.0)
    spoilt = numbers(frames, 50)
    assert spoilt != list(range(30, 80))
    server.corrupt("/gate", 0.0)
    after = numbers(frames, 100)[-25:]
    assert None not in after
    assert [(number or 0) - (after[0] or 0) for number in after] == list(range(25))


@pytest.mark.parametrize("codec", ["h264", "h265", "mjpeg"])
def test_the_size_changes_within_a_session(server: RtspServer, record: Record, codec: Codec) -> None:
    larger = record(Scene(codec=codec, width=480, height=360, first_number=1000))
    server.add("/gate", record(Scene(codec=codec)))
    frames = frames_of(server.url("/gate"))
    numbers(frames, 10)
    assert server.change("/gate", larger) == 0
    seen = [(frame.width, barcode.read_frame(frame)) for _, frame in zip(range(60), frames, strict=False)]
    large = [number for width, number in seen if width == 480]
    assert large == list(range(1000, 1000 + len(large)))
    assert len(large) >= 20


def test_another_codec_ends_the_sessions_and_is_there_for_new_ones(server: RtspServer, record: Record) -> None:
    other = record(Scene(codec="h265"))
    server.add("/gate", record(SMALL))
    frames = frames_of(server.url("/gate"))
    numbers(frames, 5)
    assert server.change("/gate", other) == 1
    assert sum(1 for _ in frames) < 50
    with watch(server.url("/gate")) as container:
        assert container.streams.video[0].codec_context.name == "hevc"


@pytest.mark.parametrize("seconds", [30.0, -30.0])
def test_media_time_jumps_and_frames_go_on(server: RtspServer, record: Record, seconds: float) -> None:
    server.add("/gate", record(SMALL))
    times: list[float] = []
    seen = []
    for frame in frames_of(server.url("/gate")):
        times.append(frame.time or 0.0)
        seen.append(barcode.read_frame(frame))
        if len(times) == 50:
            server.jump_pts("/gate", seconds)
        if len(times) == 100:
            break
    assert seen == list(range(100))
    steps = np.diff(times)
    assert np.sum(np.abs(steps - seconds) < 1) == 1
    assert np.sum(np.abs(steps - 1 / 25) < 0.02) >= 95


def test_the_rtp_timestamp_wraps_in_the_middle(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL), shared=False, timestamp_offset=wrapping_after(1.0), seqnum_offset=65_500)
    times: list[float | None] = []
    seen = []
    for _, frame in zip(range(60), frames_of(server.url("/gate")), strict=False):
        times.append(frame.time)
        seen.append(barcode.read_frame(frame))
    assert seen == list(range(60))
    known = [time for time in times if time is not None]
    assert len(known) >= 58
    steps = np.abs(np.diff(known) - 1 / 25)
    assert np.sum(steps > 0.02) <= 1


def test_sender_reports_carry_the_wall_clock(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL))
    with watch(server.url("/gate")) as container:
        for _, frame in zip(range(150), container.decode(video=0), strict=False):
            if container.start_time_realtime is not None and frame.time is not None:
                break
        assert container.start_time_realtime is not None
        assert frame.time is not None
        assert abs(container.start_time_realtime / 1e6 + frame.time - time.time()) < 1


def test_sender_reports_are_true_again_after_media_time_jumped(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL))
    jumped_at = None
    with watch(server.url("/gate")) as container:
        for count, packet in enumerate(container.demux(video=0)):
            late = [time.time() - utc for utc in wall_clock_of(packet)]
            if late and jumped_at is None:
                assert abs(late[0]) < 1
                server.jump_pts("/gate", 100)
                jumped_at = count
            elif jumped_at is not None and count > jumped_at + 10 and abs(late[0]) < 1:
                break
            assert count < 250
    assert jumped_at is not None


def wall_clock_of(packet: av.Packet[VideoStream]) -> list[float]:
    """Returns the sender's UTC seconds of a packet; nothing before the first sender report."""
    found = [bytes(data) for data in packet.iter_sidedata() if "prft" in str(data.data_type)]
    return [struct.unpack_from("<q", data)[0] / 1e6 for data in found]


def test_a_killed_server_comes_back_on_the_same_port(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL))
    frames = frames_of(server.url("/gate"))
    numbers(frames, 5)
    port = server.port
    server.kill()
    assert sum(1 for _ in frames) < 20
    with pytest.raises(ConnectionRefusedError):
        watch(server.url("/gate")).close()
    server.restart()
    assert server.port == port
    assert numbers(frames_of(server.url("/gate")), 5) == list(range(5))


def test_a_stopped_server_says_nothing_until_it_goes_on(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL))
    frames = frames_of(server.url("/gate"), read_s=10)
    numbers(frames, 5)
    server.stop()
    stopped = time.monotonic()
    time.sleep(1)
    server.cont()
    numbers(frames, 25)
    gaps = -np.diff([at for _, at in server.pushes("/gate")])
    assert gaps.max() > 0.9
    assert time.monotonic() - stopped < 10


@pytest.mark.parametrize(("allowed", "refused"), [("tcp", "udp"), ("udp", "tcp")])
def test_a_transport_that_the_camera_lacks_is_refused(
    server: RtspServer, record: Record, allowed: str, refused: str
) -> None:
    server.add("/gate", record(SMALL), protocols=allowed)
    assert status_of_setup(server, "/gate", refused) == 461
    with pytest.raises(OSError, match="Protocol not supported"):
        watch(server.url("/gate"), refused).close()
    seen = numbers(frames_of(server.url("/gate"), allowed), 3)
    assert seen[1:] == [(seen[0] or 0) + 1, (seen[0] or 0) + 2]


def status_of_setup(server: RtspServer, mount: str, transport: str) -> int:
    """Returns how the server answers a client that asks for `transport`."""
    wanted = {"tcp": "RTP/AVP/TCP;unicast;interleaved=0-1", "udp": "RTP/AVP;unicast;client_port=40000-40001"}
    url = server.url(mount)
    requests = [
        f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n",
        f"SETUP {url}/stream=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: {wanted[transport]}\r\n\r\n",
    ]
    with socket.create_connection((server.host, server.port), timeout=5) as connection:
        answer = ""
        for request in requests:
            connection.sendall(request.encode())
            answer = connection.recv(65536).decode()
        return int(answer.split()[1])


def test_dropped_clients_may_come_again(server: RtspServer, record: Record) -> None:
    server.add("/gate", record(SMALL))
    server.add("/yard", record(SMALL))
    gate, yard = frames_of(server.url("/gate")), frames_of(server.url("/yard"))
    next(gate)
    next(yard)
    assert server.drop_clients("/gate") == 1
    assert sum(1 for _ in gate) < 50
    next(yard)
    assert next(frames_of(server.url("/gate"))).width == 320
    assert server.drop_clients() >= 1
    wait_until_none_watches(server)


def test_a_wrong_command_is_refused_in_words(server: RtspServer, record: Record) -> None:
    with pytest.raises(RtspServerError, match="/nowhere"):
        server.silence("/nowhere")
    server.kill()
    with pytest.raises(RtspServerError, match="restart"):
        server.silence("/gate")


def test_a_stopped_server_does_not_outlive_the_tests() -> None:
    leave = "\n".join(
        (
            "from tests.kit.rtsp_server import RtspServer",
            "server = RtspServer(life_s=60)",
            "server.start()",
            "server.stop()",
            "print(server.pid, flush=True)",
            f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})",
        )
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    left = subprocess.run([sys.executable, "-c", leave], cwd=root, env=environment, capture_output=True, check=False)
    pid = int(left.stdout)
    until = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_a_machine_that_cannot_serve_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: no gi' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(rtsp_server, "PYTHON", str(python))
    why = rtsp_server.why_no_rtsp_server.__wrapped__()
    assert why is not None
    assert "no gi" in why
    assert "gir1.2-gst-rtsp-server-1.0" in why
