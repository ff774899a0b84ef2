"""The fault proxy does to a connection what it was asked to do, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from tests.kit.datagram_proxy import DatagramFaultProxy
from tests.kit.fault_proxy import FaultProxy

Serve = Callable[[socket.socket], None]


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65_536):
        connection.sendall(data)


def pour(connection: socket.socket) -> None:
    while True:
        connection.sendall(bytes(65_536))


class Server:
    """A TCP server on loopback; keeps what ended each connection."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self.ended: list[str] = []
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._run, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _run(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
            connection.shutdown(socket.SHUT_WR)
            self.ended.append("end")
        except OSError as error:
            self.ended.append(type(error).__name__)

    def close(self) -> None:
        for end in (self._listener, *self._connections):
            with suppress(OSError):  # it may be over already
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        for end in (self._listener, *self._connections):
            end.close()


@contextmanager
def proxied(serve: Serve = echo, cap_bytes: int = 2_000_000) -> Iterator[tuple[Server, FaultProxy]]:
    with closing(Server(serve)) as server, FaultProxy(server.address, cap_bytes=cap_bytes) as proxy:
        yield server, proxy


def connect(proxy: FaultProxy, timeout_s: float = 3.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout_s)


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def wait_for(holds: Callable[[], object]) -> None:
    give_up = time.monotonic() + 3
    while not holds():
        assert time.monotonic() < give_up, "waited 3 s in vain"
        time.sleep(0.005)


def test_without_faults_everything_passes_and_is_counted() -> None:
    sent = bytes(range(256)) * 2000
    with proxied() as (server, proxy), connect(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert receive(client, len(sent)) == sent
        sender.join()
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        wait_for(lambda: proxy.open_connections == 0)
        counters = proxy.counters
    assert server.ended == ["end"]
    assert (counters.connections, counters.bytes_up, counters.bytes_down) == (1, len(sent), len(sent))
    assert counters.dropped == counters.corrupted == 0


def test_the_delay_is_what_was_asked_in_each_direction() -> None:
    with proxied() as (_, proxy), connect(proxy) as client:
        proxy.delay_s = 0.2
        took_s = []
        for _ in range(3):
            start = time.monotonic()
            client.sendall(b"ping")
            assert receive(client, 4) == b"ping"
            took_s.append(time.monotonic() - start)
    assert 0.4 <= min(took_s) < 0.55  # the quickest: a busy machine only adds to it


def test_jitter_never_changes_the_order() -> None:
    sent = b"".join(b"%05d" % number for number in range(200))
    with proxied() as (_, proxy), connect(proxy) as client:
        proxy.jitter_s = 0.05
        for at in range(0, len(sent), 5):
            client.sendall(sent[at : at + 5])
            time.sleep(0.0005)
        assert receive(client, len(sent)) == sent


def test_the_bandwidth_is_kept_within_fifteen_percent() -> None:
    with proxied(pour) as (_, proxy):
        proxy.bandwidth_bytes_per_s = 400_000
        with connect(proxy) as client:
            receive(client, 40_000)
            start = time.monotonic()
            size = len(receive(client, 400_000))
            speed = size / (time.monotonic() - start)
    assert 340_000 < speed < 460_000


def test_spoilt_chunks_arrive_in_full_length_and_are_counted() -> None:
    with proxied() as (_, proxy), connect(proxy) as client:
        proxy.corrupt = 1.0
        for _ in range(20):
            client.sendall(bytes(100))
            answer = receive(client, 100)
            assert len(answer) == 100
            assert any(answer)
        assert proxy.counters.corrupted >= 20
        proxy.restore()
        client.sendall(bytes(100))
        assert receive(client, 100) == bytes(100)


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_is_seen_at_both_ends(reset: bool) -> None:
    with proxied() as (server, proxy), connect(proxy) as client:
        client.sendall(b"x")
        receive(client, 1)
        proxy.cut(reset=reset)
        if reset:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        else:
            assert client.recv(1) == b""
        wait_for(lambda: server.ended)
        assert server.ended == ["ConnectionResetError" if reset else "end"]
        with connect(proxy) as again:
            again.sendall(b"y")
            assert receive(again, 1) == b"y"


def test_in_a_black_hole_connections_stay_and_are_silent() -> None:
    with proxied() as (_, proxy), connect(proxy, 0.3) as old:
        old.sendall(b"x")
        receive(old, 1)
        proxy.blackhole()
        with connect(proxy, 0.3) as new:
            for client in (old, new):
                client.sendall(b"y")
                with pytest.raises(TimeoutError):
                    client.recv(1)
            proxy.restore()
            for client in (old, new):
                client.settimeout(3)
                assert receive(client, 1) == b"y"


def test_a_closed_port_refuses_and_opens_again_under_its_number() -> None:
    with proxied() as (_, proxy), connect(proxy) as old:
        port = proxy.port
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        old.sendall(b"x")
        assert receive(old, 1) == b"x"
        proxy.accept()
        assert proxy.port == port
        with connect(proxy) as new:
            new.sendall(b"y")
            assert receive(new, 1) == b"y"


def test_a_server_that_is_not_there_resets_the_client() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        address = gone.getsockname()
    with FaultProxy(address) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_a_reader_that_stalls_does_not_make_the_proxy_grow() -> None:
    cap = 300_000
    with proxied(pour, cap) as (_, proxy):
        proxy.delay_s = 0.05
        with connect(proxy) as client:
            receive(client, 1000)
            most, passed = 0, -1
            while passed != proxy.counters.bytes_down or most == 0:  # until the kernel's buffers are full too
                passed = proxy.counters.bytes_down
                for _ in range(20):
                    most = max(most, proxy.waiting_bytes)
                    time.sleep(0.01)
            assert 0 < most <= cap
            assert len(receive(client, 10_000_000)) == 10_000_000


@contextmanager
def datagrams() -> Iterator[tuple[socket.socket, DatagramFaultProxy, socket.socket]]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        for end in (server, client):
            end.settimeout(0.5)
        with DatagramFaultProxy(server.getsockname(), seed=3) as proxy:
            client.connect(("127.0.0.1", proxy.port))
            yield server, proxy, client


def test_datagrams_pass_both_ways_with_the_delay() -> None:
    with datagrams() as (server, proxy, client):
        proxy.delay_s = 0.1
        took_s = []
        for _ in range(3):
            start = time.monotonic()
            client.send(b"ping")
            data, sender = server.recvfrom(100)
            server.sendto(data + b" pong", sender)
            assert client.recv(100) == b"ping pong"
            took_s.append(time.monotonic() - start)
    assert 0.2 <= min(took_s) < 0.35  # the quickest: a busy machine only adds to it


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_the_share_of_lost_datagrams_is_what_was_asked_and_the_order_stays(loss: float) -> None:
    with datagrams() as (server, proxy, client):
        proxy.loss, proxy.jitter_s = loss, 0.01
        seen: list[int] = []
        receiver = threading.Thread(target=_take_numbers, args=(server, seen))
        receiver.start()
        for number in range(2000):
            client.send(number.to_bytes(4))
            if number % 20 == 0:
                time.sleep(0.002)
        receiver.join()
        assert len(seen) + proxy.counters.dropped == 2000
    assert abs(1 - len(seen) / 2000 - loss) < 0.03
    assert seen == sorted(seen)


def _take_numbers(server: socket.socket, seen: list[int]) -> None:
    while True:
        try:
            seen.append(int.from_bytes(server.recv(4)))
        except TimeoutError:
            return


def test_a_slow_line_drops_the_newest_datagrams_when_its_queue_is_full() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.5)
        with DatagramFaultProxy(server.getsockname(), cap_bytes=10_000) as proxy:
            client.connect(("127.0.0.1", proxy.port))
            proxy.bandwidth_bytes_per_s = 50_000
            seen: list[int] = []
            for number in range(30):
                client.send(number.to_bytes(4) + bytes(996))
            _take_numbers(server, seen)
            assert proxy.counters.dropped == 30 - len(seen)
        assert 10 <= len(seen) < 20
        assert seen == sorted(seen)


def test_a_black_hole_swallows_datagrams_and_a_closed_port_refuses_them() -> None:
    with datagrams() as (server, proxy, client):
        proxy.blackhole()
        client.send(b"x")
        with pytest.raises(TimeoutError):
            server.recv(100)
        proxy.restore()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            for _ in range(3):
                client.send(b"y")
                time.sleep(0.02)
        proxy.accept()
        client.send(b"z")
        assert server.recv(100) == b"z"
