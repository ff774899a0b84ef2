"""`watchline streams`: looks at cameras."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from typing import Annotated, Any

import typer

from watchline.pipeline.cli import watching
from watchline.pipeline.cli.camera_options import Backend, Hardware, Insecure, OpenTimeout, Transport, Url
from watchline.pipeline.secrets import expand
from watchline.streams.address import Address
from watchline.streams.camera_settings import Backend as BackendName
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.camera_settings import Hardware as HardwareUse
from watchline.streams.camera_settings import Transport as TransportName
from watchline.streams.failure import CameraError
from watchline.streams.frame import ClockSource
from watchline.streams.probe import Probe

app = typer.Typer(help="Look at cameras: what they send, and whether it keeps coming.", no_args_is_help=True)
app.command("watch")(watching.watch)

_HEED_S = 0.1
_STOP_S = 1.0  # in which a look that has pictures comes to its end
_INTERRUPTED = 130
_STILL_S = 1.0  # a picture that is the same for so long is worth a word


@app.command("probe")
def probe(
    url: Url,
    backend: Backend = BackendName.AUTO,
    transport: Transport = TransportName.AUTO,
    hardware: Hardware = HardwareUse.NEVER,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, metavar="S", help="How long to look.")] = 4.0,
    timeout: OpenTimeout = 10.0,
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a camera sends: codec, size, frame rate, key frames, clock, time to the first picture; or why not.

    \b
    Examples:
      watchline streams probe 'rtsp://admin:${DOCK_PASSWORD}@10.0.0.7/h264'
      watchline streams probe http://cam-7/video.mjpg --seconds 10 --json

    Exit codes: 0 there are pictures, 1 there are none (the reason stands first), 2 wrong usage, 130 interrupted.
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.streams.connecting import open_connection
    from watchline.streams.probe import probe as look

    address = Address.parse(expand(url))
    settings = CameraSettings(
        address.default_name(),
        address,
        backend,
        transport,
        hardware,
        open_timeout_s=timeout,
        tls_verify=not insecure,
    )
    try:
        found = _interruptible(lambda stopped: look(settings, seconds, open_connection, stopped))
    except CameraError as error:
        if as_json:
            typer.echo(
                json.dumps({"address": str(address), "reason": error.reason, "error": address.redact(str(error))})
            )
            raise typer.Exit(1) from None
        raise CameraError(error.reason, f"{error.reason}: {address.redact(str(error))}") from None
    if as_json:
        typer.echo(json.dumps({"address": str(address), "reason": None, **_plain(asdict(found))}))
        return
    typer.echo(str(address))
    for name, text in _lines(found):
        typer.echo(f"  {name:<14} {text}")


def _interruptible(look: Callable[[Callable[[], bool]], Probe]) -> Probe:
    """Returns what `look` finds; at Ctrl-C what it found so far, or ends this process where it is still connecting.

    A library that connects heeds nothing, so that it does so in a thread that is left behind then.
    """
    stop, answer = threading.Event(), Future[Probe]()

    def run() -> None:
        try:
            answer.set_result(look(stop.is_set))
        except BaseException as error:  # noqa: BLE001  # it is raised again where it is waited for
            answer.set_exception(error)

    thread = threading.Thread(target=run, name="probe", daemon=True)
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    thread.start()
    while thread.is_alive() and not stop.is_set():
        thread.join(_HEED_S)
    thread.join(_STOP_S)
    if thread.is_alive():
        typer.echo("watchline: interrupted", err=True)
        sys.stdout.flush()
        os._exit(_INTERRUPTED)  # an orderly end would wait for the library, or take it apart while it works
    return answer.result()


def _lines(found: Probe) -> list[tuple[str, str]]:
    info, healed = found.info, found.healed
    announced = f" (announced {info.fps:.4g})" if info.fps else ""
    keys = "one seen, or none" if found.gop is None else f"every {found.gop} pictures"
    lines = [
        ("read by", found.backend),
        ("video", f"{info.codec}, {info.width}x{info.height}"),
        ("frame rate", f"{found.fps:.2f} fps{announced}, {found.pictures} pictures in {found.seconds:.1f} s"),
        ("key frames", keys),
        ("first picture", f"after {found.first_picture_s:.2f} s"),
        ("time", _time(found)),
    ]
    wrong = {
        "damaged pictures": found.damaged,
        "undecodable packets": found.undecodable,
        "missing times": healed.missing,
        "times running backwards": healed.backwards,
        "times that jumped": healed.jumped,
    }
    told = [f"{name}: {count}" for name, count in wrong.items() if count]
    if found.still_s >= _STILL_S:
        told.append(f"the very same picture for {found.still_s:.1f} s")
    lines.append(("faults", ", ".join(told) or "none seen"))
    return lines


def _time(found: Probe) -> str:
    bound = f"within {max(1, math.ceil(found.clock_error_s * 1000))} ms"
    if found.clock is ClockSource.RTCP:
        return f"the camera's own clock (RTCP), {bound} of this machine's"
    wrong = "; the camera's own clock is wrong" if found.healed.distrusted else ""
    return f"by arrival, {bound} plus the road's constant delay{wrong}"


def _plain(value: Any) -> Any:
    """Returns `value` with numbers that JSON takes."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return round(value, 6) if isinstance(value, float) else value
