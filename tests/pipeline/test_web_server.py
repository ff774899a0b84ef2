"""The HTTP server on real connections: clients that are slow, silent, greedy or gone."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from tests.kit.web_server import make_certificate
from tests.pipeline.live_app import ScriptedDaemon
from watchline.pipeline.web.connection import BoundedConnection
from watchline.pipeline.web.server import MOST_CONNECTIONS, Tls, WebServer
from watchline.streams.errors import UsageError

ASK = b"GET /cameras/gate/live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Hasty(BoundedConnection):
    """Has little patience."""

    request_s = 0.5
    stall_s = 0.5


@pytest.fixture
def daemon() -> ScriptedDaemon:
    made = ScriptedDaemon("gate")
    made.site.advance(5.0)
    return made


@pytest.fixture
def server(daemon: ScriptedDaemon) -> Iterator[WebServer]:
    with WebServer(daemon.app(), connection=Hasty) as made:
        yield made


def ended_within(client: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection in that time."""
    client.settimeout(0.05)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if not client.recv(65536):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def wait_for(what: str, seconds: float, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def test_it_starts_at_a_free_port_turns_round_and_stops_in_two_seconds(daemon: ScriptedDaemon) -> None:
    server = WebServer(daemon.app())
    server.start()
    assert server.address[1] > 0
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    time.sleep(0.3)
    assert server.advanced_s < 1
    begun = time.monotonic()
    assert server.stop()
    assert time.monotonic() - begun < 2
    assert server.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]


def test_it_stops_in_time_while_clients_look_and_while_some_read_nothing(daemon: ScriptedDaemon) -> None:
    daemon.pictures.period_s, daemon.pictures.padding = 0.005, 100_000
    with WebServer(daemon.app()) as server, ExitStack() as clients:
        for _ in range(5):
            client = clients.enter_context(socket.create_connection(server.address))
            client.sendall(ASK)
        wait_for("all look", 5, lambda: daemon.pictures.looking() == 5)
        time.sleep(0.5)
        begun = time.monotonic()
        assert server.stop()
        assert time.monotonic() - begun < 2
    wait_for("nobody looks", 3, lambda: daemon.pictures.looking() == 0)


def test_an_address_that_is_taken_is_said_to_be(daemon: ScriptedDaemon, server: WebServer) -> None:
    port = server.address[1]
    with pytest.raises(UsageError, match=rf"http.listen 127.0.0.1:{port}: address already in use; choose another"):
        WebServer(daemon.app(), port=port).start()


def test_it_answers_at_an_address_of_version_six(daemon: ScriptedDaemon) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with WebServer(daemon.app(), "::1") as server:
        assert httpx.get(f"{server.url}/api/cameras").status_code == 200


def test_it_speaks_tls_with_a_certificate_of_the_site(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(made.certificate))
    with WebServer(daemon.app(), tls=Tls(made.certificate, made.key)) as server:
        assert server.url.startswith("https://")
        assert httpx.get(f"{server.url}/healthz", verify=context).status_code == 200
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(UsageError, match=r"empty.pem, .*: no certificate with its key"):
        WebServer(daemon.app(), tls=Tls(tmp_path / "empty.pem", made.key)).start()
    with pytest.raises(UsageError, match=r"absent.pem, .*no such file"):
        WebServer(daemon.app(), tls=Tls(tmp_path / "absent.pem", made.key)).start()


def test_a_client_that_never_shakes_hands_is_cut_off(daemon: ScriptedDaemon, tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    with (
        WebServer(daemon.app(), tls=Tls(made.certificate, made.key), handshake_s=0.3) as server,
        socket.create_connection(server.address) as silent,
    ):
        silent.settimeout(5)
        assert silent.recv(1) == b""


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_a_client_that_sends_no_whole_request_is_cut_off(server: WebServer, sent: bytes) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(sent)
        assert ended_within(client, 3)


def test_a_client_that_drips_a_second_request_is_cut_off(server: WebServer) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in client.recv(4096)
        begun, cut = time.monotonic(), False
        while time.monotonic() - begun < 4 and not cut:
            try:
                client.sendall(b"G" if time.monotonic() - begun < 0.1 else b"")
            except OSError:
                cut = True
            cut = cut or ended_within(client, 0.1)
        assert cut


def test_a_form_that_drips_is_given_up(daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchline.pipeline.web.pages._BODY_S", 0.3)
    with WebServer(daemon.app()) as server, socket.create_connection(server.address) as client:
        client.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntok")
        client.settimeout(3)
        assert b"408" in client.recv(4096)


def test_headers_without_end_are_refused(server: WebServer) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 40_000)
        client.settimeout(3)
        try:
            answer = client.recv(4096)
        except ConnectionError:  # the rest of what was sent was not read
            answer = b"400"
        assert b"400" in answer


def test_a_client_that_reads_nothing_is_cut_off_and_its_view_closed(daemon: ScriptedDaemon, server: WebServer) -> None:
    daemon.pictures.period_s, daemon.pictures.padding = 0.002, 200_000
    with socket.create_connection(server.address) as client:
        client.sendall(ASK)
        wait_for("it looks", 5, lambda: daemon.pictures.looking() == 1)
        wait_for("it is cut off", 10, lambda: daemon.pictures.looking() == 0)


def test_fifty_clients_that_read_nothing_cost_no_memory(daemon: ScriptedDaemon) -> None:
    daemon.pictures.period_s, daemon.pictures.padding = 0.05, 100_000
    own = psutil.Process()
    with WebServer(daemon.app()) as server, ExitStack() as clients:
        assert httpx.get(f"{server.url}/cameras/gate/snapshot.jpg").status_code == 200
        empty = own.memory_info().rss
        for _ in range(50):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            clients.enter_context(client).connect(server.address)
            client.sendall(ASK)
        wait_for("all look", 10, lambda: daemon.pictures.looking() == 50)
        given = -1
        while given != daemon.pictures.given:  # until all buffers are full
            given = daemon.pictures.given
            time.sleep(0.5)
        before = own.memory_info().rss
        time.sleep(3.0)
        grown = own.memory_info().rss - before
        assert daemon.pictures.given == given
        assert httpx.get(f"{server.url}/metrics").status_code == 200
        assert server.advanced_s < 1
    assert grown < 2 * 2**20, f"{grown / 2**20:.1f} MiB in 3 s"
    assert before - empty < 64 * 2**20, f"{(before - empty) / 2**20:.1f} MiB for 50 clients"


def test_large_answers_that_nobody_reads_are_few(daemon: ScriptedDaemon) -> None:
    daemon = ScriptedDaemon(*(f"camera-{number}" for number in range(1000)))
    own = psutil.Process()
    with WebServer(daemon.app(), connection=Hasty) as server, ExitStack() as clients:
        assert httpx.get(f"{server.url}/metrics").status_code == 200
        before = own.memory_info().rss
        for _ in range(60):
            client = clients.enter_context(socket.create_connection(server.address))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert httpx.get(f"{server.url}/healthz", timeout=10).status_code == 200
        wait_for("some are refused", 10, lambda: httpx.get(f"{server.url}/metrics", timeout=10).status_code == 503)
        grown = own.memory_info().rss - before
        wait_for("they are cut off", 10, lambda: httpx.get(f"{server.url}/metrics", timeout=10).status_code == 200)
    assert grown < 150 * 2**20, f"{grown / 2**20:.0f} MiB"


def test_only_so_many_clients_look_at_once_and_numbers_are_still_told(daemon: ScriptedDaemon) -> None:
    daemon.pictures.most = 3
    with WebServer(daemon.app()) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(httpx.stream("GET", f"{server.url}/cameras/gate/live.mjpg"))
        answer = httpx.get(f"{server.url}/cameras/gate/live.mjpg")
        assert (answer.status_code, answer.json()["detail"]) == (503, 'camera "gate": 3 look already')
        assert httpx.get(f"{server.url}/metrics").status_code == 200


def test_there_are_only_so_many_connections(daemon: ScriptedDaemon) -> None:
    with WebServer(daemon.app()) as server, ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(server.address)) for _ in range(MOST_CONNECTIONS + 10)]
        time.sleep(0.5)
        assert sum(ended_within(client, 0.06) for client in clients[-10:]) == 10
        for client in clients:
            client.close()
        wait_for("it answers again", 5, lambda: httpx.get(f"{server.url}/healthz").status_code == 200)


def test_it_leaves_no_descriptors_behind(daemon: ScriptedDaemon) -> None:
    def once() -> None:
        with WebServer(daemon.app()) as server:
            assert httpx.get(f"{server.url}/metrics").status_code == 200

    once()
    before = psutil.Process().num_fds()
    for _ in range(3):
        once()
    assert psutil.Process().num_fds() <= before
