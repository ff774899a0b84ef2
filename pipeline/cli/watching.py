"""`watchline streams watch`: a live table of cameras."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from watchline.pipeline.cli.camera_options import Backend, Hardware, Insecure, OpenTimeout, Transport, Urls
from watchline.pipeline.secrets import expand
from watchline.streams.address import Address
from watchline.streams.camera import CameraState
from watchline.streams.camera_settings import Backend as BackendName
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.camera_settings import Hardware as HardwareUse
from watchline.streams.camera_settings import Transport as TransportName

if TYPE_CHECKING:
    from rich.table import Table

    from watchline.streams.ingest import Ingest
    from watchline.streams.ingest_status import CameraStatus

_REFRESH_S = 0.5
_PARTIAL = 3
_INTERRUPTED = 130
_LEAVE_S = 2.9  # from Ctrl-C on; all readers are stopped within two
_PAGE = 140  # letters a line where there is no terminal
_WIDE = 100
_COLUMNS = ("camera", "state", "fps", "taken fps", "age", "received", "dropped", "reconnects", "why")
_FOLDED = ("camera", "dropped", "reconnects", "why")
_COUNTERS = ("taken fps", "received", "dropped", "reconnects")
_COLOURS = {CameraState.LIVE: "green", CameraState.CONNECTING: "yellow", CameraState.FROZEN: "red"}


def watch(
    urls: Urls,
    fps: Annotated[float, typer.Option(min=0, max=240, help="Frames a second to take of each; 0 for all.")] = 5.0,
    backend: Backend = BackendName.AUTO,
    transport: Transport = TransportName.AUTO,
    hardware: Hardware = HardwareUse.NEVER,
    timeout: OpenTimeout = 10.0,
    silent_after: Annotated[
        float, typer.Option(min=0.5, max=600, metavar="S", help="Without a packet for so long a camera is offline.")
    ] = 3.0,
    frozen_after: Annotated[
        float, typer.Option(min=0, max=86400, metavar="S", help="The same picture for so long is frozen; 0: never.")
    ] = 4.0,
    insecure: Insecure = False,
    group_size: Annotated[int, typer.Option(min=0, max=64, help="Cameras a process; 0 reads all in this one.")] = 0,
    seconds: Annotated[float, typer.Option(min=0, metavar="S", help="End after so long; 0: at Ctrl-C.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a camera and second.")] = False,
) -> None:
    """Watch cameras: frame rate, age, drops, reconnects, and why one gives no picture.

    A terminal shows a table that renews itself; elsewhere each change of a camera's state is one line, and the table
    comes at the end. No picture is stored or shown.

    \b
    Examples:
      watchline streams watch 'rtsp://admin:${DOCK_PASSWORD}@10.0.0.7/h264' rtsp://10.0.0.8/h264
      watchline streams watch yard.mp4 --seconds 10 --json

    Exit codes: 0 all cameras gave pictures, 1 none did, 2 wrong usage, 3 some did.
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    cameras = [
        CameraSettings(
            name,
            address,
            backend,
            transport,
            hardware,
            fps,
            open_timeout_s=timeout,
            silent_after_s=silent_after,
            frozen_after_s=frozen_after,
            tls_verify=not insecure,
        )
        for name, address in _named([Address.parse(expand(url)) for url in urls])
    ]
    statuses = _watched(cameras, group_size, seconds or float("inf"), as_json)
    seen = [status.counts.delivered > 0 for status in statuses.values()]
    if not all(seen):
        raise typer.Exit(_PARTIAL if any(seen) else 1)


def _watched(cameras: list[CameraSettings], group_size: int, seconds: float, as_json: bool) -> dict[str, CameraStatus]:
    """Reads and shows the cameras for so long, or until Ctrl-C; returns how they stood at the end."""
    from watchline.streams.ingest import Ingest
    from watchline.streams.ingest_settings import IngestSettings

    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: _interrupt(stop))
    with Ingest(IngestSettings(group_size=group_size)) as ingest:
        for camera in cameras:
            ingest.add(camera)
        taker = threading.Thread(target=_drain, args=(ingest, stop), name="taker", daemon=True)
        taker.start()
        until_s = time.monotonic() + seconds
        with _shown(as_json) as show:
            while time.monotonic() < until_s and not stop.wait(min(show.every_s, max(0.0, until_s - time.monotonic()))):
                show(ingest.status())
            stop.set()
            taker.join()
            statuses = ingest.status()
            show.end(statuses)
    return statuses


def _interrupt(stop: threading.Event) -> None:
    """Begins the end, and sees to it that it comes: a reader of our lines who takes none, say, holds it up for ever."""
    stop.set()
    guard = threading.Timer(_LEAVE_S, os._exit, (_INTERRUPTED,))
    guard.daemon = True
    guard.start()


def _named(addresses: list[Address]) -> list[tuple[str, Address]]:
    """Returns each address with a name of its own."""
    names: dict[str, Address] = {}
    for address in addresses:
        name, number = address.default_name(), 1
        while name in names:
            number += 1
            name = f"{address.default_name()}-{number}"
        names[name] = address
    return list(names.items())


def _drain(ingest: Ingest, stop: threading.Event) -> None:
    while not stop.is_set():
        ingest.take(0.2)


class _Show:
    """Where the statuses go: what differs between a terminal, a pipe and JSON."""

    every_s = _REFRESH_S

    def __call__(self, statuses: dict[str, CameraStatus]) -> None:
        """Shows them now."""

    def end(self, statuses: dict[str, CameraStatus]) -> None:
        """Shows them for the last time."""


class _Json(_Show):
    every_s = 1.0

    def __call__(self, statuses: dict[str, CameraStatus]) -> None:
        for status in statuses.values():
            typer.echo(json.dumps(_record(status)))

    end = __call__


class _Lines(_Show):
    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def __call__(self, statuses: dict[str, CameraStatus]) -> None:
        for name, status in statuses.items():
            line = f"{status.state}{f' ({status.reason})' if status.reason else ''}"
            if self._told.get(name) != line:
                self._told[name] = line
                text = status.sentence or status.backend
                typer.echo(f"{name}: {line}{f': {text}' if text else ''}")

    def end(self, statuses: dict[str, CameraStatus]) -> None:
        from rich.console import Console

        self(statuses)
        Console(width=_PAGE).print(_table(statuses, _PAGE))


@contextmanager
def _shown(as_json: bool) -> Iterator[_Show]:
    if as_json or not sys.stdout.isatty():
        yield _Json() if as_json else _Lines()
        return
    from rich.live import Live

    class _Screen(_Show):
        def __call__(self, statuses: dict[str, CameraStatus]) -> None:
            live.update(_table(statuses, live.console.width), refresh=True)

        end = __call__

    with Live(auto_refresh=False) as live:
        yield _Screen()


def _table(statuses: dict[str, CameraStatus], width: int) -> Table:
    """Returns the table; one that is narrow, in letters, does without the counters."""
    from rich.table import Table
    from rich.text import Text

    names = _COLUMNS if width >= _WIDE else [name for name in _COLUMNS if name not in _COUNTERS]
    table = Table(box=None, pad_edge=False)
    for name in names:
        justify: Literal["left", "right"] = "left" if name in ("camera", "state", "why") else "right"
        most = width // 3 if name == "camera" else None  # a long name leaves room for why it gives no picture
        table.add_column(name, justify=justify, no_wrap=name not in _FOLDED, overflow="fold", max_width=most)
    for status in statuses.values():
        cells = _cells(status)
        # As text: what a camera or an address holds in brackets is no markup.
        colour = _COLOURS.get(status.state, "red")
        table.add_row(*[Text(cells[name], style=colour if name == "state" else "") for name in names])
    return table


def _cells(status: CameraStatus) -> dict[str, str]:
    return {
        "camera": status.camera,
        "state": str(status.state),
        "fps": f"{status.fps:.1f}",
        "taken fps": f"{status.delivered_fps:.1f}",
        "age": _age(status.age_s),
        "received": str(status.counts.received),
        "dropped": _told({drop: n for drop, n in status.counts.dropped.items() if n}) or "0",
        "reconnects": _told(status.reconnects) or "0",
        "why": f"{status.reason}: {status.sentence}" if status.reason else "",
    }


def _age(age_s: float | None) -> str:
    if age_s is None:
        return ""
    return f"{age_s * 1000:.0f} ms" if age_s < 10 else f"{age_s:.0f} s"


def _told(counts: dict[Any, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())


def _record(status: CameraStatus) -> dict[str, Any]:
    from dataclasses import asdict

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        return round(value, 4) if isinstance(value, float) else value

    return {"at": round(time.time(), 3), **plain(asdict(status))}
