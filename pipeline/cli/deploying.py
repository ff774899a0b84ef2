"""`watchline deploy`: what runs watchline as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

_FILES: Final = ("watchline.service", "Dockerfile", "compose.yaml")


def deploy(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it is missing.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")] = False,
) -> None:
    """Write a systemd unit, a Dockerfile, and a compose file with Prometheus and Grafana.

    Each says in its first lines what it wants beside it. Nothing is installed or started.

    \b
    Examples:
      watchline deploy deploy
      watchline dashboards export deploy/monitoring --target watchline:8770 --prometheus http://prometheus:9090
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline import deploy as package
    from watchline.pipeline.cli.exporting import export

    source = Path(package.__file__).parent
    export(folder, {name: (source / name).read_text("utf-8") for name in _FILES}, overwrite=overwrite)
