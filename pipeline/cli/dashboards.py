"""`watchline dashboards`: what Prometheus and Grafana need to show a site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchline.pipeline.cli import exporting

app = typer.Typer(help="What Prometheus and Grafana need to show a site.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("export")
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it is missing.")],
    target: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where watchline answers, as Prometheus reaches it.")
    ] = "127.0.0.1:8770",
    prometheus: Annotated[
        str, typer.Option(metavar="URL", help="Where Prometheus answers, as Grafana reaches it.")
    ] = "http://127.0.0.1:9090",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")] = False,
) -> None:
    """Write dashboards, alert rules, and the configuration that makes Grafana and Prometheus find them.

    \b
    Examples:
      watchline dashboards export monitoring
      watchline dashboards export monitoring --target watchline:8770 --prometheus http://prometheus:9090
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.dashboards.files import files

    exporting.export(folder, files(target, prometheus), overwrite=overwrite)
