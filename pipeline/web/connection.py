"""One client's connection, with bounds on how slow it may be."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

REQUEST_S: Final = 10.0  # within which a request has to be sent
STALL_S: Final = 10.0  # for which a client may leave what it asked for unread


class BoundedConnection(H11Protocol):
    """An HTTP connection that is cut off where its client sends no request, or reads no answer, for too long.

    There may be `limit_concurrency` of them; any more are cut off at once.
    """

    request_s = REQUEST_S
    stall_s = STALL_S

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._overdue: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begins to wait for a request."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the client."""
        self._cancel_overdue()
        self._cancel_stalled()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._cancel_stalled()

    def _watch(self) -> None:
        """Counts the time while a request is not whole."""
        if not self._is_waiting():
            self._cancel_overdue()
        elif self._overdue is None:
            self._overdue = self.loop.call_later(self.request_s, self._give_up)

    def _give_up(self) -> None:
        self._overdue = None
        if self._is_waiting():
            self.transport.abort()

    def _is_waiting(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # it is None before the first, whatever its type says
        return cycle is None or cycle.response_complete

    def _cancel_overdue(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _cancel_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
