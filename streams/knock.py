"""Asks a host that did not answer whether it does again, so that a returned camera need not wait out its delay."""

from __future__ import annotations

import socket

from watchline.streams.address import Address, Kind

EVERY_S = 0.75
_PATIENCE_S = 0.5
_ANSWER_BYTES = 64


class Knock:
    """Looks for a change from silence to an answer; a host that answers from the start is left to the backoff.

    RTSP is asked for its OPTIONS, which needs no password and opens no session; for other protocols, and for files and
    devices, a connection or their being there is enough.
    """

    every_s = EVERY_S

    def __init__(self, address: Address) -> None:
        self._address = address
        self._answers = self._ask()

    def began_to_answer(self) -> bool:
        """Asks again; returns whether there is an answer where there was none. Takes half a second at most, or two."""
        before, self._answers = self._answers, self._ask()
        return self._answers and not before

    def _ask(self) -> bool:
        address = self._address
        if address.kind in (Kind.FILE, Kind.DEVICE):
            return _exists(address.path)
        if address.scheme in ("rtsps", "rtmps"):
            return True  # only a whole handshake would tell
        try:
            with socket.create_connection((address.host.strip("[]"), address.port), _PATIENCE_S) as door:
                if address.kind is not Kind.RTSP:
                    return True
                door.settimeout(_PATIENCE_S)
                door.sendall(f"OPTIONS rtsp://{address.host}:{address.port}/ RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
                return bool(door.recv(_ANSWER_BYTES))
        except OSError:
            return False


def _exists(path: str) -> bool:
    from pathlib import Path

    try:
        return Path(path).exists()
    except OSError:
        return False
