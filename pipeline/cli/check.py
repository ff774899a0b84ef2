"""`watchline check`: proves a site before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchline.pipeline.cli.checks import tell
from watchline.pipeline.cli.site_options import CacheOption, ConfigOption, MirrorOption, networks_of


def check(
    config: ConfigOption,
    no_cameras: Annotated[bool, typer.Option("--no-cameras", help="Connect to no camera.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    cache: CacheOption = None,
    mirror: MirrorOption = "",
) -> None:
    """Say whether a site can run on this machine: its file, models, cameras, disk, memory, ports and clock.

    Nothing is started and nothing is kept. A model that is not here yet is fetched.

    \b
    Example:
      watchline check --config site.yaml && systemctl restart watchline

    Exit codes: 0 it can (warnings may stand there), 1 something must be mended first, 2 the file is wrong.
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.serving.checking import check_site
    from watchline.pipeline.site.loading import load_site

    site = load_site(Path(config))
    tell(list(check_site(site, networks_of(site, cache, mirror), probing=not no_cameras)), as_json)
