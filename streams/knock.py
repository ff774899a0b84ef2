"""Asks a host that took no connection whether it does again, so that a returned camera need not wait out its delay."""

from __future__ import annotations

import socket
from pathlib import Path

from watchline.streams.address import Address

EVERY_S = 0.75
_PATIENCE_S = 0.5


class Knock:
    """Looks for a change from a closed door to an open one; a host whose door is open from the start is left alone.

    The door is a TCP port, or the being there of a file or device.
    """

    every_s = EVERY_S

    def __init__(self, address: Address) -> None:
        self._address = address
        self._open = self._ask()

    def opened(self) -> bool:
        """Asks again where the door was closed; returns whether it is open now. Takes half a second at most."""
        return not self._open and self._ask()

    def _ask(self) -> bool:
        address = self._address
        try:
            if not address.host:
                return Path(address.path).exists()
            socket.create_connection((address.host.strip("[]"), address.port), _PATIENCE_S).close()
        except (OSError, ValueError):  # the latter for a name that no resolver takes
            return False
        return True
