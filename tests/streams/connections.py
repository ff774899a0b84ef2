"""How the tests of connections read one, whichever library connects and decodes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit import barcode
from watchline.streams.address import Address
from watchline.streams.camera_settings import Backend, CameraSettings, Transport
from watchline.streams.connecting import open_connection
from watchline.streams.connection import Arrival, Connection
from watchline.streams.failure import CameraError
from watchline.streams.frame import Picture

SILENT_S = 1.0
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Seen:
    """One picture that a connection gave, with the number in it."""

    number: int | None
    arrival: Arrival
    picture: Picture


def settings(url: str, backend: Backend, transport: Transport = Transport.TCP, **others: Any) -> CameraSettings:
    wanted = {"open_timeout_s": 5.0, "silent_after_s": SILENT_S, **others}
    return CameraSettings("gate", Address.parse(url), backend, transport, **wanted)


def read(connection: Connection, count: int) -> list[Seen]:
    seen = []
    for _ in range(count):
        arrival = connection.read()
        picture = arrival.picture()
        seen.append(Seen(barcode.read(picture.planes[0]), arrival, picture))
    return seen


def watch(url: str, backend: Backend, count: int, transport: Transport = Transport.TCP) -> list[Seen]:
    with closing(open_connection(settings(url, backend, transport))) as connection:
        return read(connection, count)


def failure(connect: Callable[[], Connection]) -> CameraError:
    """Returns why the connection failed or ended; one that goes on for 10 seconds is a failure of the test."""
    until_s = time.monotonic() + PATIENCE_S
    with pytest.raises(CameraError) as caught, closing(connect()) as connection:
        while time.monotonic() < until_s:
            connection.read()
    return caught.value


def held() -> tuple[int, int]:
    """Returns how many threads and descriptors this process has."""
    return len(list(Path("/proc/self/task").iterdir())), len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
