"""The `watchline` command: what it offers."""

from __future__ import annotations

from typing import Annotated

import typer

from watchline.pipeline.cli import (
    audit,
    config,
    dashboards,
    erase,
    evaluate,
    evidence,
    models,
    photo,
    reid,
    sightings,
    streams,
)
from watchline.pipeline.cli.check import check
from watchline.pipeline.cli.deploying import deploy
from watchline.pipeline.cli.doctor import doctor
from watchline.pipeline.cli.run import run
from watchline.pipeline.cli.serve import serve
from watchline.pipeline.cli.track import track

app = typer.Typer(
    name="watchline",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="CCTV into answers about people: who was seen, where and when.",
    epilog="Exit codes: 0 good, 1 failed, 2 wrong usage, 3 partial results (damaged or cancelled input).",
)
app.command("run")(run)
app.command("track")(track)
app.command("serve")(serve)
app.command("check")(check)
app.command("deploy")(deploy)
app.command("doctor")(doctor)
app.add_typer(config.app, name="config")
app.add_typer(dashboards.app, name="dashboards")
app.add_typer(streams.app, name="streams")
app.add_typer(models.app, name="models")
app.add_typer(sightings.app, name="sightings")
app.add_typer(erase.app, name="erase")
app.add_typer(audit.app, name="audit")
app.add_typer(evidence.app, name="export")
app.add_typer(evaluate.app, name="eval")
app.add_typer(reid.app, name="reid")
app.add_typer(photo.app, name="photo")


def _print_version(asked: bool) -> None:
    if asked:
        from watchline import __version__

        typer.echo(f"watchline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
