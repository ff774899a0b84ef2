"""What every connection must do with a playlist (HLS), whichever library decodes: what it plays and what it refuses."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.kit.web_server import WebServer, append_hls, write_hls
from tests.streams.connections import failure, read, settings
from tests.streams.web_cameras import FPS, Content, follow_on, numbers
from watchline.streams.camera_settings import Backend, CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.failure import Reason

WAYS = ("segment", "start", "key", "list")
HEAD = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n"


def wanted(server: WebServer, backend: Backend, name: str = "live.m3u8", **others: Any) -> CameraSettings:
    return settings(server.url(f"/hls/{name}"), backend, **others)


def play(folder: Path, backend: Backend, count: int, name: str = "live.m3u8") -> list[int]:
    """Returns the numbers in the first `count` pictures."""
    with WebServer(hls=folder) as server, closing(open_connection(wanted(server, backend, name))) as connection:
        return numbers(read(connection, count))


@pytest.mark.parametrize("fmp4", [False, True])
def test_it_begins_at_the_newest_segment(web_content: Content, backend: Backend, fmp4: bool) -> None:
    with WebServer(hls=web_content.fmp4 if fmp4 else web_content.hls) as server:
        assert server.playlist is not None
        newest = {server.playlist.newest(time.monotonic())}
        with closing(open_connection(wanted(server, backend))) as connection:
            first = numbers(read(connection, 1))[0]
        newest.add(server.playlist.newest(time.monotonic()))
    assert first in {number * FPS for number in newest}


@pytest.mark.parametrize("name", ["live.m3u8", "all.m3u8", "live.m3u8?session=1#x", "stream"])
def test_it_is_known_by_its_name_or_its_content_and_may_lead_to_another(
    web_content: Content, backend: Backend, tmp_path: Path, name: str
) -> None:
    for part in web_content.hls.iterdir():
        (tmp_path / part.name).symlink_to(part)
    for other in ("all.m3u8", "stream"):
        (tmp_path / other).write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\nlive.m3u8\n")
    assert follow_on(play(tmp_path, backend, 10, name))


@pytest.mark.parametrize("fmp4", [False, True])
@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 2), ("libx265", 0), ("libx265", 2)])
def test_pictures_come_in_their_order_whatever_the_order_of_their_packets(
    backend: Backend, tmp_path: Path, fmp4: bool, codec: str, b_frames: int
) -> None:
    folder = write_hls(tmp_path, 200, FPS, fmp4=fmp4, codec=codec, b_frames=b_frames)
    assert follow_on(play(folder, backend, 35))


def test_a_change_of_size_behind_a_discontinuity_is_followed(backend: Backend, tmp_path: Path) -> None:
    folder = write_hls(tmp_path / "a", 100, FPS)
    append_hls(folder, write_hls(tmp_path / "b", 100, FPS, size=(320, 240)))
    with WebServer(hls=folder) as server, closing(open_connection(wanted(server, backend))) as connection:
        seen = read(connection, 60)
        assert (connection.info.width, connection.info.height) == (320, 240)
    changed = numbers([one for one in seen if one.picture.width == 320])
    assert len(changed) > 10
    assert follow_on(changed)


def test_a_camera_that_begins_anew_loses_no_picture_and_its_times_are_its_own(backend: Backend, tmp_path: Path) -> None:
    folder = write_hls(tmp_path, 50, FPS)
    with WebServer(hls=folder) as server, closing(open_connection(wanted(server, backend))) as connection:
        seen = read(connection, 60)
        assert connection.undecodable == 0
    found = numbers(seen)
    assert found == [(found[0] + index) % 50 for index in range(60)]
    times_s = {number: one.arrival.pts_s for number, one in zip(found, seen, strict=True)}
    assert [times_s[number] for number in range(50)] == pytest.approx([number / FPS for number in range(50)], abs=0.002)


def write_playlists(folder: Path, content: Content, target: str) -> None:
    """Writes playlists that lead to `target` in each of `WAYS`; those that name more play without it."""
    (folder / "part000.ts").symlink_to(content.hls / "part000.ts")
    (folder / "live.m3u8").symlink_to(content.hls / "live.m3u8")
    lists = (
        f"{HEAD}#EXTINF:1.0,\n{target}\n#EXTINF:1.0,\n{target}\n",
        f'{HEAD}#EXT-X-MAP:URI="{target}"\n#EXTINF:1.0,\npart000.ts\n',
        f'{HEAD}#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1.0,\npart000.ts\n',
        f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\n{target}\n",
    )
    for name, text in zip(WAYS, lists, strict=True):
        (folder / f"{name}.m3u8").write_text(text)


def test_a_playlist_may_lead_to_the_web(web_content: Content, backend: Backend, tmp_path: Path) -> None:
    with WebServer(hls=web_content.hls) as other:
        write_playlists(tmp_path, web_content, other.url("/hls/part002.ts"))
        assert play(tmp_path, backend, 3, "segment.m3u8") == [50, 51, 52]


@pytest.mark.parametrize("way", WAYS)
def test_a_playlist_cannot_lead_to_files_of_this_machine(
    web_content: Content, backend: Backend, tmp_path: Path, way: str
) -> None:
    secret = web_content.hls / ("live.m3u8" if way == "list" else "part001.ts")
    write_playlists(tmp_path, web_content, f"file://{secret}")
    with WebServer(hls=tmp_path) as server:
        error = failure(lambda: open_connection(wanted(server, backend, f"{way}.m3u8", open_timeout_s=1.0)))
    assert error.reason in (Reason.PROTOCOL, Reason.TIMEOUT, Reason.ENDED, Reason.CORRUPT)


# A list may lead to bare TCP: what HTTP is made of must be allowed, and FFmpeg asks no further. Nothing is sent there.
@pytest.mark.parametrize(
    ("scheme", "way"),
    [("rtsp", "segment"), ("tcp", "segment"), ("ftp", "start"), ("tcp", "key"), ("rtmp", "key"), ("rtsp", "list")],
)
def test_a_playlist_cannot_lead_to_other_protocols(
    web_content: Content, backend: Backend, tmp_path: Path, scheme: str, way: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        write_playlists(tmp_path, web_content, f"{scheme}://127.0.0.1:{other.getsockname()[1]}/live/x")
        with WebServer(hls=tmp_path) as server:
            failure(lambda: open_connection(wanted(server, backend, f"{way}.m3u8", open_timeout_s=1.0)))
        with pytest.raises(BlockingIOError):
            other.accept()
