"""`watchline config`: the file that says what a site is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.pipeline.cli.camera_options import Backend, Hardware, Insecure, OpenTimeout, Transport, Urls
from watchline.streams.address import Address, Kind
from watchline.streams.camera_settings import Backend as BackendName
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.camera_settings import Hardware as HardwareUse
from watchline.streams.camera_settings import Transport as TransportName

if TYPE_CHECKING:
    from watchline.pipeline.site.first import Found

app = typer.Typer(
    help="The file of a site: write a first one, show it, and every key that it may have.", no_args_is_help=True
)

_PARTIAL = 3
_EXAMPLE = Path(__file__).parent.parent / "site" / "example.yaml"


@app.command("init")
def init(
    urls: Urls,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")] = Path("site.yaml"),
    site: Annotated[str, typer.Option(metavar="NAME", help="Name of the place, in logs and metrics.")] = "site",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    backend: Backend = BackendName.AUTO,
    transport: Transport = TransportName.AUTO,
    hardware: Hardware = HardwareUse.NEVER,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, metavar="S", help="How long to look at each.")] = 2.0,
    timeout: OpenTimeout = 10.0,
    insecure: Insecure = False,
) -> None:
    """Write a first site's file: look at each camera, and note what it sends or why it sends nothing.

    A password that is given is not written: the file names an environment variable in its place, and the output says
    which. Cameras that give no picture now are in the file too. Only you may read the file (mode 600).

    \b
    Examples:
      watchline config init 'rtsp://admin:${DOCK_PASSWORD}@10.0.0.7/h264' rtsp://10.0.0.8/stream1
      watchline config init --site north-gate -o /etc/watchline/site.yaml rtsp://10.0.0.8/stream1

    Exit codes: 0 all cameras gave pictures, 1 none did, 2 wrong usage, 3 some did.
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.site.first import (
        bound_of,
        first_site,
        look_at_all,
        name_cameras,
        refuse_to_replace,
        write_first,
    )
    from watchline.streams.connecting import open_connection
    from watchline.streams.probe import probe

    refuse_to_replace(out, overwrite=overwrite)
    nowhere = Address(Kind.FILE, "file", "", 0, "")
    like = CameraSettings(
        "camera", nowhere, backend, transport, hardware, open_timeout_s=timeout, tls_verify=not insecure
    )
    cameras = name_cameras(urls, like)
    first_site(cameras, site)  # what cannot be written is known before the looking
    found, ended = look_at_all(
        cameras, lambda camera: probe(camera, seconds, open_connection), bound_of(timeout, seconds), _tell
    )
    write_first(out, first_site(found, site), overwrite=overwrite)
    _tell_end(out, found)
    answered = [camera.probe is not None for camera in found]
    code = 0 if all(answered) else _PARTIAL if any(answered) else 1
    if not ended:  # an orderly end would wait for a library that hangs, or take it apart while it works
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)


def _tell(camera: Found) -> None:
    typer.echo(f"{camera.settings.camera}: {camera.sentence}")


def _tell_end(out: Path, found: list[Found]) -> None:
    typer.echo(f"{out}: written, {len(found)} camera{'s' if len(found) > 1 else ''}")
    variables = dict(item for camera in found for item in camera.variables)
    if variables:
        typer.echo("The service needs these environment variables; put them into a file that only it may read:")
        for name, what in variables.items():
            typer.echo(f"  {name}=({what})")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a site's file, for editors.

    \b
    Example: watchline config schema > site.schema.json
    With yaml-language-server the file's first line is then: # yaml-language-server: $schema=site.schema.json
    """  # noqa: D301
    from watchline.pipeline.site.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command("example")
def example() -> None:
    """Print a site's file with every key that there is, and what it means."""
    typer.echo(_EXAMPLE.read_text(encoding="utf-8"), nl=False)


@app.command("show")
def show(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The site's file.")],
) -> None:
    """Print a site as it is understood: all defaults filled in, all paths whole, no secrets.

    Neither cameras nor secrets nor files that it names need be there. Exit codes: 0 good, 2 the file cannot be used.
    """
    from watchline.pipeline.site.dumping import show as shown
    from watchline.pipeline.site.loading import read_site

    typer.echo(shown(read_site(config)), nl=False)
