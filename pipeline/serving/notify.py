"""What the service manager of the system is told: ready, alive, stopping. By systemd's protocol of datagrams."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Self


class ServiceManager:
    """Tells the service manager how the daemon is; does nothing where none listens.

    Source: sd_notify(3) and sd_watchdog_enabled(3) of systemd.

    Args:
        address: of the socket; a name that begins with "@" is in Linux's abstract space; "" where nobody listens.
        watchdog_s: within which it must be told that the daemon is alive; 0 where it does not watch.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Returns the one that started this process, if any did."""
        period = environment.get("WATCHDOG_USEC", "")
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(environment.get("NOTIFY_SOCKET", ""), int(period) / 1e6 if watched and period.isdecimal() else 0.0)

    def ready(self, status: str) -> None:
        """Says that the daemon works, in a sentence."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Says that the configuration is read again; `ready` ends that."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def status(self, status: str) -> None:
        """Says how things are, in a sentence."""
        self._tell(f"STATUS={status}")

    def alive(self) -> None:
        """Says that every stage advances; without it the daemon is ended and started again."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Says that the daemon ends by itself."""
        self._tell("STOPPING=1")

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # One that does not listen any more is no reason to stop; its watchdog will do what it must.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), self._address)
