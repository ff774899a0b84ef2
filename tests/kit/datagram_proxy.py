"""A bad network in front of a server that takes datagrams; the sister of `tests.kit.fault_proxy`.

RTSP over UDP does not pass through a relay: there the server sends past it. Use a network of the test's own for that.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

from tests.kit.fault_proxy import CHUNK_BYTES, HOST, MAX_CONNECTIONS, Address, Proxy, retry_bind

MAX_AT_ONCE = 64  # datagrams taken from one client's port before the others have their turn


class DatagramFaultProxy(Proxy):
    """The relay for UDP; each client has a port of its own towards the server.

    When more waits than it may hold, the newest datagrams are dropped, as in a router's queue.

    Attributes:
        loss: share of the datagrams that are dropped, in each direction, 0 to 1.
    """

    def __init__(self, target: Address, *, cap_bytes: int = 2_000_000, seed: int = 0) -> None:
        self._flows: dict[Address, _Flow] = {}
        self._listener: asyncio.DatagramTransport | None = None
        super().__init__(target, cap_bytes=cap_bytes, seed=seed)

    def _set_no_fault(self) -> None:
        super()._set_no_fault()
        self.loss = 0.0

    @property
    def waiting_bytes(self) -> int:
        return sum(sum(flow.waiting_bytes) for flow in list(self._flows.values()))

    async def _open(self) -> None:
        if self._listener is not None:
            return

        async def bind() -> asyncio.DatagramTransport:
            made = await self._loop.create_datagram_endpoint(lambda: _Door(self), local_addr=(HOST, self._port))
            return made[0]

        self._listener = await retry_bind(bind, self._port)
        self._port = self._listener.get_extra_info("sockname")[1]

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.abort()
            self._listener = None
            await asyncio.sleep(0)  # the socket is closed in the loop's next round

    async def _cut(self, reset: bool) -> None:
        while self._flows:
            self._flows.popitem()[1].close()

    def _flow_of(self, client: Address) -> _Flow | None:
        """Returns what serves this client, made when it is new; None when there are too many."""
        flow = self._flows.get(client)
        if flow is None and len(self._flows) < MAX_CONNECTIONS:
            flow = self._flows[client] = _Flow(self, client)
            self.counters.connections += 1
        return flow

    def _lost(self) -> bool:
        return not self._passing.is_set() or self._random.random() < self.loss

    def _to_client(self, data: bytes, client: Address) -> None:
        if self._listener is not None:
            self._listener.sendto(data, client)


class _Door(asyncio.DatagramProtocol):
    """Where the datagrams of all clients come in."""

    def __init__(self, proxy: DatagramFaultProxy) -> None:
        self._proxy = proxy

    def datagram_received(self, data: bytes, addr: Address) -> None:
        flow = self._proxy._flow_of(addr)
        if flow is None:
            self._proxy.counters.dropped += 1
        else:
            flow.take(data, down=False)


class _Flow:
    """One client's datagrams, both ways."""

    def __init__(self, proxy: DatagramFaultProxy, client: Address) -> None:
        self._proxy, self._client = proxy, client
        self._due = [0.0, 0.0]
        self.waiting_bytes = [0, 0]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(proxy.target)
        proxy._loop.add_reader(self._socket, self._receive)

    def _receive(self) -> None:
        with suppress(OSError):  # there are no more, or the server's port is closed
            for _ in range(MAX_AT_ONCE):
                self.take(self._socket.recv(CHUNK_BYTES), down=True)

    def take(self, data: bytes, down: bool) -> None:
        """Drops the datagram, or sends it on when it is due."""
        proxy = self._proxy
        if proxy._lost() or self.waiting_bytes[down] + len(data) > proxy._cap_bytes:
            proxy.counters.dropped += 1
            return
        through = proxy._pacers[down].through_at(len(data), proxy.bandwidth_bytes_per_s, time.monotonic())
        # A microsecond apart: timers of the very same time would not keep the order.
        self._due[down] = max(self._due[down] + 1e-6, through + proxy._travel_s())
        self.waiting_bytes[down] += len(data)
        proxy._loop.call_at(self._due[down], self._send, proxy._spoilt(data, down), down)

    def _send(self, data: bytes, down: bool) -> None:
        self.waiting_bytes[down] -= len(data)
        if not self._proxy._passing.is_set():
            self._proxy.counters.dropped += 1
            return
        self._proxy.counters.add(down, len(data))
        if down:
            self._proxy._to_client(data, self._client)
        else:
            with suppress(OSError):  # closed by a cut, or the server's port is closed: as lost as on a real network
                self._socket.send(data)

    def close(self) -> None:
        """Gives the port up."""
        self._proxy._loop.remove_reader(self._socket)
        self._socket.close()
