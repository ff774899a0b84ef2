"""The HTTP server: a thread of its own that starts, shows that it advances, and stops in time."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import uvicorn
from fastapi import FastAPI

from watchline.pipeline.web.connection import BoundedConnection
from watchline.streams.errors import UsageError
from watchline.streams.redact import redact

_log = logging.getLogger(__name__)

MOST_CONNECTIONS: Final = 256
_MOST_HEADER_BYTES: Final = 16 * 1024
_SEND_BUFFER_BYTES: Final = 256 * 1024  # the system keeps so much of what a client has not read
_START_S: Final = 10.0
_STOP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate, with those that vouch for it, and its key: PEM files."""

    certificate: Path
    key: Path


class WebServer:
    """Serves an application of `build_app`; a context manager that starts and stops it.

    Args:
        app: what answers.
        host: address to listen at.
        port: 0 for any that is free.
        tls: None for plain HTTP.
        connection: what bounds a client; tests have less patience.
        handshake_s: within which a client must have shaken hands, with TLS.
    """

    def __init__(
        self,
        app: FastAPI,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Tls | None = None,
        connection: type[BoundedConnection] = BoundedConnection,
        handshake_s: float = 10.0,
    ) -> None:
        self._app, self._host, self._port, self._tls = app, host, port, tls
        self._connection, self._handshake_s = connection, handshake_s
        self._server: _Beating | None = None
        self._thread: threading.Thread | None = None
        self._bound: tuple[str, int] = (host, port)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        return self._bound

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._bound
        return f"http{'s' if self._tls else ''}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def advanced_s(self) -> float:
        """How long ago it last turned round, seconds; a server that is well does so ten times a second."""
        return time.monotonic() - self._server.beat_s if self._server is not None else 0.0

    def start(self) -> None:
        """Begins to answer.

        Raises:
            UsageError: the address is taken or not this machine's, certificate and key are no good, or the thread did
                not come up.
        """
        config = self._config()
        listener = _listen(self._host, self._port)
        self._bound = listener.getsockname()[:2]
        self._server = _Beating(config)
        self._thread = threading.Thread(target=self._run, args=(self._server, listener), name="web", daemon=True)
        self._thread.start()
        until_s = time.monotonic() + _START_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < until_s:
            time.sleep(0.005)
        if not self._server.started:
            raise UsageError(f"http.listen {self._host}:{self._port}: the server did not start; the log says why")

    def stop(self, timeout_s: float = _STOP_S) -> bool:
        """Ends all answers; returns whether that was done in time. Safe to call twice."""
        if self._server is None or self._thread is None:
            return True
        self._app.state.closing.set()
        self._server.should_exit = True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _config(self) -> uvicorn.Config:
        config = uvicorn.Config(
            self._app,
            http=self._connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what a port scanner sends is not worth a line
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            ssl_certfile=self._tls.certificate if self._tls else None,
            ssl_keyfile=self._tls.key if self._tls else None,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            files = f"{self._tls.certificate}, {self._tls.key}" if self._tls else ""
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"{files}: no certificate with its key ({reason}); want two PEM files") from None
        return config

    def _run(self, server: _Beating, listener: socket.socket) -> None:
        try:
            asyncio.run(_serve(server, listener, self._handshake_s if self._tls else None))
        except Exception as error:  # noqa: BLE001  # `advanced_s` tells the daemon; this tells a person
            _log.error("the HTTP server ended: %s: %s", type(error).__name__, redact(str(error)))
        finally:
            listener.close()


class _Beating(uvicorn.Server):
    """A server that shows that it advances."""

    beat_s = 0.0

    async def on_tick(self, counter: int) -> bool:
        self.beat_s = time.monotonic()
        return await super().on_tick(counter)


async def _serve(server: _Beating, listener: socket.socket, handshake_s: float | None) -> None:
    server.beat_s = time.monotonic()
    if handshake_s is not None:
        # Until then a client counts nowhere, and asyncio would wait a minute; uvicorn has no word for it.
        loop = asyncio.get_running_loop()
        create = partial(loop.create_server, ssl_handshake_timeout=handshake_s)
        loop.create_server = create  # type: ignore[method-assign]
    await server.serve(sockets=[listener])
    for connection in list(server.server_state.connections):  # whose clients read nothing
        if connection.transport is not None:
            connection.transport.abort()
    await asyncio.sleep(0)


def _listen(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound.

    Raises:
        UsageError: it cannot be.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listener.bind((host, port))
        # Listened to before the thread begins: two sockets may be bound to one port, but only one of them listens.
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"http.listen {host}:{port}: {reason}; choose another address or port") from None
    return listener
