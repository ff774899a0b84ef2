"""A bad network in front of a server: a relay on loopback that delays, slows, spoils, cuts, or swallows what passes.

One thread with an event loop per proxy. What is set from the test's thread holds for what arrives from then on.
`FaultProxy` relays TCP; RTSP over TCP passes through it with its pictures, since they share one connection.
`DatagramFaultProxy`, in the file beside this one, relays UDP.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
MAX_CONNECTIONS = 256
CALL_S = 5.0
LINGER_NONE = struct.pack("ii", 1, 0)  # close() then sends a reset
REOPEN_S = 2.0
BURST_S = 0.05  # a bandwidth is kept over spans of this length

T = TypeVar("T")
Address = tuple[str, int]


@dataclass(slots=True)
class Counters:
    """What passed since the start; up is towards the server, down towards the client."""

    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    chunks_up: int = 0
    chunks_down: int = 0
    dropped: int = 0
    corrupted: int = 0

    def add(self, down: bool, size: int) -> None:
        """Counts one chunk or datagram of `size` bytes."""
        if down:
            self.bytes_down += size
            self.chunks_down += 1
        else:
            self.bytes_up += size
            self.chunks_up += 1


class _Pacer:
    """One direction of the line, shared by all connections: says when the next bytes are through."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def through_at(self, size: int, bytes_per_s: float | None, now: float) -> float:
        """Books `size` bytes; returns the time at which the last of them is through."""
        if bytes_per_s is None:
            return now
        # A line that was idle has no right to catch up, but a late wake-up must not cost bandwidth.
        self._free_at = max(self._free_at, now - BURST_S) + size / bytes_per_s
        return self._free_at


class Proxy:
    """The thread, the settings and the faults that TCP and UDP have in common.

    Args:
        target: host and port of the server.
        cap_bytes: most bytes that wait in the proxy, for each direction of a connection.
        seed: of everything random.

    Attributes:
        delay_s: how long each chunk is under way, in each direction.
        jitter_s: added to it, from 0 to this, at random; the order is kept.
        bandwidth_bytes_per_s: of all connections together, in each direction, more than 0; None for no limit.
        corrupt: share of the chunks towards the client in which a byte is flipped, 0 to 1.
        counters: what passed.
    """

    def __init__(self, target: Address, *, cap_bytes: int = 2_000_000, seed: int = 0) -> None:
        self.target = target
        self.counters = Counters()
        self._cap_bytes = cap_bytes
        self._random = random.Random(seed)
        self._pacers = (_Pacer(), _Pacer())
        self._port = 0
        self._loop = asyncio.SelectorEventLoop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._set_no_fault()

    def _set_no_fault(self) -> None:
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.bandwidth_bytes_per_s: float | None = None
        self.corrupt = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.accept()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.refuse()
            self.cut()
        finally:
            self._end()

    @property
    def port(self) -> int:
        """Where clients connect to, on 127.0.0.1; the same after `refuse` and `accept`."""
        return self._port

    @property
    def waiting_bytes(self) -> int:
        """How much waits in the proxy at this moment."""
        raise NotImplementedError

    def accept(self) -> None:
        """Opens the port, again after `refuse`."""
        self._call(self._open())

    def refuse(self) -> None:
        """Closes the port: new connections are refused, those that exist go on."""
        self._call(self._close())

    def blackhole(self) -> None:
        """Lets nothing through; connections stay, and new ones are made but silent."""
        self._call(self._let_pass(False))

    def restore(self) -> None:
        """Ends every fault that is set; connections that were cut stay cut."""
        self._set_no_fault()
        self.accept()
        self._call(self._let_pass(True))

    def cut(self, reset: bool = False) -> None:
        """Ends all connections at once; with `reset` by RST, else by FIN where nothing was left unread."""
        self._call(self._cut(reset))

    async def _open(self) -> None:
        raise NotImplementedError

    async def _close(self) -> None:
        raise NotImplementedError

    async def _cut(self, reset: bool) -> None:
        raise NotImplementedError

    async def _let_pass(self, passing: bool) -> None:
        if passing:
            self._passing.set()
        else:
            self._passing.clear()

    def _spoilt(self, data: bytes, down: bool) -> bytes:
        """Returns `data`, or now and then a copy with one bit pattern flipped in one byte."""
        if not down or not data or self._random.random() >= self.corrupt:
            return data
        self.counters.corrupted += 1
        copy = bytearray(data)
        copy[self._random.randrange(len(copy))] ^= self._random.randrange(1, 256)
        return bytes(copy)

    def _travel_s(self) -> float:
        return self.delay_s + (self.jitter_s * self._random.random() if self.jitter_s else 0.0)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` in the proxy's thread and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        if not self._thread.is_alive():
            self._loop.close()


async def retry_bind(bind: Callable[[], Awaitable[T]], port: int) -> T:
    """Binds; a port that was given up for a while may be somebody else's for a moment."""
    give_up = time.monotonic() + REOPEN_S
    while True:
        try:
            return await bind()
        except OSError as error:
            if time.monotonic() > give_up:
                raise OSError(error.errno, f"port {port} cannot be opened again: {error.strerror}") from error
            await asyncio.sleep(0.05)


class FaultProxy(Proxy):
    """The relay for TCP.

    When as much waits as it may hold, it reads no more, and the sender feels it.

    Example:
        with FaultProxy(("127.0.0.1", server_port)) as proxy:
            source = open_source(f"rtsp://127.0.0.1:{proxy.port}/cam")
            proxy.delay_s = 0.2
            proxy.cut()
    """

    def __init__(self, target: Address, *, cap_bytes: int = 2_000_000, seed: int = 0) -> None:
        super().__init__(target, cap_bytes=cap_bytes, seed=seed)
        self._listener: socket.socket | None = None
        self._links: dict[asyncio.Task[None], list[socket.socket]] = {}
        self._pipes: set[_Pipe] = set()

    @property
    def waiting_bytes(self) -> int:
        return sum(pipe.waiting_bytes for pipe in list(self._pipes))

    @property
    def open_connections(self) -> int:
        """How many connections there are at this moment."""
        return len(self._links)

    async def _open(self) -> None:
        if self._listener is not None:
            return

        async def bind() -> socket.socket:
            return socket.create_server((HOST, self._port), backlog=64)

        self._listener = await retry_bind(bind, self._port)
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._accept_waiting, self._listener)

    async def _close(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._accept_waiting(self._listener)  # to the client they are connected already
            self._listener.close()
            self._listener = None

    async def _cut(self, reset: bool) -> None:
        links = dict(self._links)
        for sockets in links.values() if reset else ():
            for end in sockets:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        for task in links:
            task.cancel()
        if links:
            await asyncio.wait(links)
            await asyncio.sleep(0)  # the sockets are closed in the loop's next round

    def _accept_waiting(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):  # there are no more
            while True:
                client, _ = listener.accept()
                if len(self._links) >= MAX_CONNECTIONS:
                    self.counters.dropped += 1
                    client.close()
                    continue
                self.counters.connections += 1
                sockets = [client]
                task = self._loop.create_task(self._relay(sockets))
                self._links[task] = sockets
                task.add_done_callback(self._over)

    async def _relay(self, sockets: list[socket.socket]) -> None:
        """Serves one client; closes both ends when both directions are over, or one of them broke."""
        pumps: list[asyncio.Task[None]] = []
        try:
            await self._passing.wait()
            server = socket.socket()
            sockets.append(server)
            for end in sockets:
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(server, self.target)
            up, down = (_Pipe(self, sockets[0], server, False), _Pipe(self, server, sockets[0], True))
            self._pipes |= {up, down}
            pumps = [self._loop.create_task(work) for pipe in (up, down) for work in (pipe.read(), pipe.write())]
            try:
                await asyncio.gather(*pumps)
            finally:
                self._pipes -= {up, down}
        except OSError:
            for end in sockets:  # one end is broken or was never there: the other is to see that
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        finally:
            for pump in pumps:
                pump.cancel()
            if pumps:
                await asyncio.wait(pumps)

    def _over(self, task: asyncio.Task[None]) -> None:
        # Not within the task: one that is cancelled before its first step never gets there.
        for end in self._links.pop(task):
            end.close()


class _Pipe:
    """One direction of one connection: a reader that stops at the cap, and a writer that keeps the due times."""

    def __init__(self, proxy: FaultProxy, source: socket.socket, sink: socket.socket, down: bool) -> None:
        self._proxy = proxy
        self._source, self._sink = source, sink
        self._down = down
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._changed = asyncio.Event()
        self.waiting_bytes = 0

    async def read(self) -> None:
        """Takes what the source sends, to its end."""
        proxy, due = self._proxy, 0.0
        while True:
            await proxy._passing.wait()
            while (room := proxy._cap_bytes - self.waiting_bytes) <= 0:
                await self._wait_for_change()
            data = await proxy._loop.sock_recv(self._source, min(CHUNK_BYTES, room))
            due = max(due, time.monotonic() + proxy._travel_s())
            self._chunks.append((due, proxy._spoilt(data, self._down)))
            self.waiting_bytes += len(data)
            self._changed.set()
            if not data:
                return

    async def write(self) -> None:
        """Hands each chunk on at its time; after the last one, says that no more comes."""
        proxy = self._proxy
        while True:
            while not self._chunks:
                await self._wait_for_change()
            due, data = self._chunks.popleft()
            await _sleep_until(due)
            await proxy._passing.wait()
            if not data:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await self._send(data)
            proxy.counters.add(self._down, len(data))

    async def _send(self, data: bytes) -> None:
        proxy, at = self._proxy, 0
        while at < len(data):
            speed = proxy.bandwidth_bytes_per_s
            piece = data[at:] if speed is None else data[at : at + max(1, int(speed * BURST_S))]
            await _sleep_until(proxy._pacers[self._down].through_at(len(piece), speed, time.monotonic()))
            await proxy._passing.wait()
            await proxy._loop.sock_sendall(self._sink, piece)
            at += len(piece)
            self.waiting_bytes -= len(piece)
            self._changed.set()

    async def _wait_for_change(self) -> None:
        # Reader and writer share the event: at most one of them waits, since there is room or there is data.
        self._changed.clear()
        await self._changed.wait()


async def _sleep_until(when: float) -> None:
    wait_s = when - time.monotonic()
    if wait_s > 0:
        await asyncio.sleep(wait_s)
