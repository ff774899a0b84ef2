"""The RTMP server is a camera to PyAV."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import suppress

import av
import pytest

from tests.clips import U8, read_number
from tests.kit.fault_proxy import FaultProxy
from tests.kit.rtmp_server import RtmpServer

QUICK = {"analyzeduration": "100000", "probesize": "5000"}


def numbers(url: str, count: int) -> list[int]:
    """Returns the numbers in the first `count` pictures, fewer where the stream ends."""
    seen: list[int] = []
    with av.open(url, options=QUICK, timeout=(5.0, 2.0)) as container:
        for picture in itertools.islice(container.decode(video=0), count):
            rgb: U8 = picture.to_ndarray(format="rgb24").astype("uint8", copy=False)
            seen.append(read_number(rgb))
    return seen


def test_several_clients_see_every_picture_in_real_time_and_over_the_seam() -> None:
    seen: list[list[int]] = []
    with RtmpServer(frames=50, fps=50) as server:
        clients = [threading.Thread(target=lambda: seen.append(numbers(server.url, 80))) for _ in range(2)]
        start = time.monotonic()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        took_s = time.monotonic() - start
    assert seen == [[number % 50 for number in range(80)]] * 2
    assert 1.4 < took_s < 5.0


def test_another_stream_is_not_found() -> None:
    with RtmpServer(frames=25) as server:
        with pytest.raises(av.error.FFmpegError):
            numbers(server.url.replace("cam", "other"), 1)
        assert server.refused == 1


def test_a_stream_may_end() -> None:
    with RtmpServer(frames=50, fps=50) as server:
        server.end_after_s = 0.6
        with av.open(server.url, options=QUICK, timeout=(3.0, 3.0)) as container, pytest.raises(av.error.OSError):
            for _ in container.decode(video=0):
                pass


def test_a_frozen_stream_is_silent_and_goes_on() -> None:
    with RtmpServer(frames=100, fps=50) as server, av.open(server.url, options=QUICK, timeout=(3.0, 3.0)) as container:
        pictures = container.decode(video=0)
        next(pictures)
        server.frozen = True
        threading.Timer(0.5, lambda: setattr(server, "frozen", False)).start()
        longest_s = 0.0
        for _ in range(15):
            start = time.monotonic()
            next(pictures)
            longest_s = max(longest_s, time.monotonic() - start)
        assert longest_s > 0.35


def test_it_plays_through_the_fault_proxy() -> None:
    with RtmpServer(frames=50, fps=50) as server, FaultProxy(("127.0.0.1", server.port)) as proxy:
        proxy.delay_s = 0.05
        assert numbers(f"rtmp://127.0.0.1:{proxy.port}/live/cam", 20) == list(range(20))


def test_noise_from_a_client_ends_only_that_client() -> None:
    before = threading.active_count()
    with RtmpServer(frames=25) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=3) as client:
            client.sendall(b"\xff" * 4000)
            with suppress(ConnectionResetError):
                while client.recv(4000):
                    pass
        assert numbers(server.url, 3) == [0, 1, 2]
    assert threading.active_count() == before
