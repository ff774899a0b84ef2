"""Damaged files give what they hold and say what is missing; wrong ones are refused in one line."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clips import Clip, write_clip, write_sound
from tests.streams.reading import numbers, read_all, read_file
from watchline.streams.errors import StreamError
from watchline.streams.libav import FileSource


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.97])
def test_a_truncated_file_gives_what_it_holds_and_says_what_is_missing(share: float, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip(b_frames=2, faststart=True, frames=60))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    frames, report = read_file(path)
    assert 0 < len(frames) < 60
    intact = numbers(frames[:-4])  # the cut picture and those that lean on it
    assert intact == list(range(len(intact)))
    assert report.decoded == len(frames)
    assert report.missing == 60 - len(frames)
    assert f"announced 60 frames, decoded {len(frames)}: the file is cut short after" in report.damage[-1]


@pytest.mark.parametrize("name", ["a.mkv", "fragmented.mp4", "a.flv", "mpeg4.avi"])
def test_a_truncated_file_of_another_kind_says_that_it_is_cut_short(name: str, tmp_path: Path) -> None:
    clip = Clip(fragmented=name.endswith("mp4"), codec="mpeg4" if name.endswith("avi") else "libx264")
    path = write_clip(tmp_path / name, clip)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    frames, report = read_file(path)
    assert 0 < len(frames) < 40
    assert numbers(frames[:-1]) == list(range(len(frames) - 1))
    assert "the file is cut short" in report.damage[-1]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("samples")
    clips = {
        "h264.mp4": Clip(b_frames=2, faststart=True),
        "h264.mkv": Clip(b_frames=2),
        "h264.ts": Clip(b_frames=2),
        "hevc.mp4": Clip(codec="libx265", b_frames=2),
        "mpeg4.avi": Clip(codec="mpeg4"),
        "vp9.webm": Clip(codec="libvpx-vp9"),
        "jpeg.mov": Clip(codec="mjpeg", pix_fmt="yuvj420p"),
    }
    return {name: write_clip(folder / name, clip).read_bytes() for name, clip in clips.items()}


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_never_raise_after_opening_and_never_hang(
    data: st.DataObject, samples: dict[str, bytes], tmp_path: Path
) -> None:
    name = data.draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=40)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(content)
    try:
        source = FileSource(path, "c", threads=data.draw(st.sampled_from([1, 2])))
    except StreamError as error:
        assert str(error).startswith(f"{path}: ")
        return
    times = [frame.pts_s for frame in read_all(source)]
    assert times == sorted(times)
    assert source.report().decoded == len(times)
    assert len(source.report().damage) <= 20
    source.close()


def test_packets_that_cannot_be_decoded_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", Clip(codec="mjpeg", pix_fmt="yuvj420p"))
    content = bytearray(path.read_bytes())
    third = [place for place in range(len(content)) if content[place : place + 2] == b"\xff\xd8"][2]
    content[third : third + 600] = bytes(600)
    path.write_bytes(content)
    frames, report = read_file(path)
    assert numbers(frames) == [0, 1, *range(3, 40)]
    assert (report.decoded, report.damaged, report.missing) == (39, 1, 1)
    assert report.damage[0].startswith("packets that could not be decoded: 1, the first after 0.1 s")
    assert report.damage[1] == "announced 40 frames, decoded 39: 1 could not be decoded"


def refusal(path: Path) -> str:
    with pytest.raises(StreamError) as caught:
        FileSource(path, "c")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert refusal(tmp_path / "none.mp4") == "no such file; check the name"
    assert refusal(tmp_path) == "is a folder; name a file in it"
    assert refusal(tmp_path / "empty.mp4") == "is empty (0 bytes); record or copy it again"


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is a device or a pipe" in refusal(tmp_path / "pipe.mp4")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no permission bits here")
def test_a_file_that_may_not_be_read_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        path = write_clip(Path(folder) / "a.mp4", Clip(frames=1))
        path.chmod(0)
        user = os.geteuid()
        if user == 0:  # root may read everything: be somebody else for a moment
            os.seteuid(65534)
        try:
            assert refusal(path) == "cannot be read (Permission denied); check its permissions"
        finally:
            os.seteuid(user)


@pytest.mark.parametrize("content", [b"hello, this is no video\n" * 50, bytes(5000), b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_video_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    refusal(tmp_path / "a.mp4")


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    message = "holds audio only, no video; name a file with moving pictures"
    assert refusal(write_sound(tmp_path / "a.mp4")) == message


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    import av
    from av.stream import Disposition

    cover = write_clip(tmp_path / "cover.mov", Clip(frames=1, codec="mjpeg", pix_fmt="yuvj420p"))
    sound = write_sound(tmp_path / "sound.mp4")
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as song, av.open(str(cover)) as art, av.open(str(sound)) as voice:
        copies = {source: song.add_stream_from_template(source.streams[0]) for source in (voice, art)}
        copies[art].disposition = Disposition.attached_pic
        for source, copy in copies.items():
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copy
                    song.mux(packet)
    assert "no video" in refusal(path)


def test_an_unknown_codec_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", Clip(frames=2, codec="mjpeg", pix_fmt="yuvj420p"))
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"QQQQ"))
    assert "codec" in refusal(path)


def test_an_mp4_without_its_index_is_refused_with_the_likely_reason(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-2000])
    assert "without its index" in refusal(path)


def test_a_file_without_one_decodable_picture_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mov", Clip(frames=1, codec="mjpeg", pix_fmt="yuvj420p"))
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xd8")
    content[start : start + 400] = bytes(400)
    path.write_bytes(content)
    assert "holds no decodable picture" in refusal(path)


@pytest.mark.parametrize("name", ["list.m3u8", "list.ffconcat", "looks_like.mp4"])
def test_playlists_reach_neither_the_network_nor_other_files(name: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "other.ts", Clip(frames=2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        for target in (place, "other.ts"):
            if name.endswith("ffconcat"):
                text = f"ffconcat version 1.0\nfile {target}\n"
            else:
                text = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"
            (tmp_path / name).write_text(text)
            assert "playlists are not followed" in refusal(tmp_path / name)
            with pytest.raises(TimeoutError):
                server.accept()


@pytest.mark.skipif(sys.platform == "win32", reason="no colon in names")
def test_a_name_that_looks_like_an_address_is_still_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "plain.mp4", Clip(frames=2)).rename("http:cam%03d.mp4")
    assert len(read_all(FileSource(Path("http:cam%03d.mp4"), "c"))) == 2


def test_nothing_is_written_to_stderr_about_damage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip(faststart=True))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    capfd.readouterr()
    path.write_bytes(content[:-500])
    read_file(path)
    assert capfd.readouterr() == ("", "")
