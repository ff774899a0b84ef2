"""The web server is a camera to PyAV, and does wrong what it was told to do wrong."""

from __future__ import annotations

import http.client
import itertools
import ssl
import threading
import time
from pathlib import Path

import av
import pytest

from tests.clips import U8, read_number
from tests.kit.web_server import LivePlaylist, WebServer, make_certificate, write_hls, write_jpegs

PASSWORD = "operator:s3cret"


@pytest.fixture(scope="module")
def hls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hls(tmp_path_factory.mktemp("hls"))


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    return write_jpegs(50)


def numbers(url: str, count: int, **options: str) -> list[int]:
    """Returns the numbers in the first `count` pictures, fewer where the stream ends."""
    seen: list[int] = []
    with av.open(url, options=options, timeout=(5.0, 5.0)) as container:
        for picture in itertools.islice(container.decode(video=0), count):
            rgb: U8 = picture.to_ndarray(format="rgb24").astype("uint8", copy=False)
            seen.append(read_number(rgb))
    return seen


def ask(server: WebServer, path: str) -> http.client.HTTPResponse:
    """Returns the head of the answer, with redirects not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=3)
    connection.request("GET", path, headers={"Connection": "close"})
    answer = connection.getresponse()
    if answer.length == 0:
        answer.read()
    connection.close()
    return answer


def test_several_clients_see_motion_jpeg_in_real_time(jpegs: list[bytes]) -> None:
    seen: list[list[int]] = []
    with WebServer(jpegs, fps=50) as server:
        url = server.url("/mjpeg")
        clients = [threading.Thread(target=lambda: seen.append(numbers(url, 60))) for _ in range(3)]
        start = time.monotonic()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        took_s = time.monotonic() - start
    assert seen == [[number % 50 for number in range(60)]] * 3
    assert 1.0 < took_s < 4.0


@pytest.mark.parametrize("fmp4", [False, True])
def test_live_hls_plays_in_order_and_no_faster_than_it_grows(tmp_path: Path, fmp4: bool) -> None:
    write_hls(tmp_path, frames=200, fmp4=fmp4)
    with WebServer(hls=tmp_path) as server:
        start = time.monotonic()
        seen = numbers(server.url("/hls/live.m3u8"), 125)
        took_s = time.monotonic() - start
        assert {status for _, status in server.requests} == {200}
    assert seen == list(range(seen[0], seen[0] + 125))
    assert seen[0] > 0, "a live stream begins near its end"
    assert 1.0 < took_s < 6.0


def test_the_playlist_grows_and_its_old_segments_go(hls: Path) -> None:
    playlist, now = LivePlaylist(hls, window=3), time.monotonic()
    early, late, next_round = (playlist.text(now + elapsed_s) for elapsed_s in (0.5, 2.5, 9.5))
    assert [line for line in early.splitlines() if line.endswith(".ts")] == ["part000.ts", "part001.ts", "part002.ts"]
    assert [line for line in late.splitlines() if line.endswith(".ts")] == ["part002.ts", "part003.ts", "part004.ts"]
    assert "#EXT-X-MEDIA-SEQUENCE:2" in late
    assert "DISCONTINUITY\n" not in late
    assert "part009.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.000000,\npart000.ts" in next_round
    assert not any("ENDLIST" in text for text in (early, late, next_round))


def test_a_frozen_playlist_grows_no_more(hls: Path) -> None:
    with WebServer(hls=hls) as server:
        server.frozen = True
        first = server.playlist_text()
        time.sleep(1.1)
        assert server.playlist_text() == first
        server.frozen = False
        assert server.playlist_text() != first


@pytest.mark.parametrize("auth", ["basic", "digest"])
@pytest.mark.parametrize("path", ["/mjpeg", "/hls/live.m3u8"])
def test_only_the_right_password_opens_it(jpegs: list[bytes], hls: Path, auth: str, path: str) -> None:
    with WebServer(jpegs, hls=hls) as server:
        server.auth = "basic" if auth == "basic" else "digest"
        for wrong in ("", "operator:wrong", "other:s3cret"):
            with pytest.raises(av.error.HTTPUnauthorizedError):
                numbers(server.url(path, wrong), 1)
        assert len(numbers(server.url(path, PASSWORD), 3)) == 3


def test_it_fails_as_it_was_told(jpegs: list[bytes]) -> None:
    with WebServer(jpegs) as server:
        assert ask(server, "/nothing").status == 404
        for status, error in ((404, av.error.HTTPNotFoundError), (500, av.error.HTTPServerError)):
            server.status = status
            assert ask(server, "/mjpeg").status == status
            with pytest.raises(error):
                numbers(server.url("/mjpeg"), 1)
        server.status = None
        for place in ("file:///etc/hostname", "http://127.0.0.1:9/other"):
            server.redirect = place
            answer = ask(server, "/mjpeg")
            assert (answer.status, answer.headers["Location"]) == (302, place)
            with pytest.raises(av.error.FFmpegError):
                numbers(server.url("/mjpeg"), 1)
        server.redirect = None
        assert next(iter(server.requests)) == ("/nothing", 404)


def test_a_redirect_to_the_right_place_is_followed(jpegs: list[bytes]) -> None:
    with WebServer(jpegs) as there, WebServer() as here:
        here.redirect = there.url("/mjpeg")
        assert numbers(here.url("/mjpeg"), 2) == [0, 1]


def test_a_silent_answer_has_a_head_and_no_end(jpegs: list[bytes]) -> None:
    with WebServer(jpegs) as server:
        server.silent = True
        start = time.monotonic()
        with pytest.raises(av.error.ExitError):
            av.open(server.url("/stream.ts"), timeout=(0.5, 0.5))
        assert time.monotonic() - start >= 0.4
        assert list(server.requests) == [("/stream.ts", 200)]


def test_an_answer_may_end_and_the_next_one_begins_anew(jpegs: list[bytes]) -> None:
    with WebServer(jpegs, fps=100) as server:
        server.end_after = 5
        for _ in range(2):
            with av.open(server.url("/mjpeg"), timeout=(3.0, 3.0)) as container, pytest.raises(av.error.OSError):
                seen = 0
                for _ in container.decode(video=0):
                    seen += 1
            assert seen == 5


def test_frozen_pictures_stop_and_go_on_in_the_same_answer(jpegs: list[bytes]) -> None:
    with WebServer(jpegs, fps=50) as server:
        with av.open(server.url("/mjpeg"), timeout=(3.0, 3.0)) as container:
            pictures = container.decode(video=0)
            next(pictures)
            server.frozen = True
            threading.Timer(0.5, lambda: setattr(server, "frozen", False)).start()
            waits_s = []
            for _ in range(10):
                start = time.monotonic()
                next(pictures)
                waits_s.append(time.monotonic() - start)
        assert max(waits_s) > 0.4
        assert len(server.requests) == 1


def test_a_certificate_nobody_vouches_for_is_refused_only_by_clients_that_check(
    jpegs: list[bytes], tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    with WebServer(jpegs, certificate=certificate) as server:
        url = server.url("/mjpeg")
        assert url.startswith("https://")
        assert numbers(url, 2, tls_verify="0") == [0, 1]
        assert numbers(url, 2, tls_verify="1", ca_file=str(certificate.certificate)) == [0, 1]
        with pytest.raises(av.error.FFmpegError):
            numbers(url, 1, tls_verify="1")
        with pytest.raises(ssl.SSLError):
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=3)
            try:
                connection.request("GET", "/mjpeg")
            finally:
                connection.close()


def test_it_ends_its_threads_and_connections(jpegs: list[bytes]) -> None:
    before = threading.active_count()
    with WebServer(jpegs) as server:
        container = av.open(server.url("/mjpeg"), timeout=(3.0, 3.0))
        assert server.clients == 1
    assert threading.active_count() == before
    container.close()
