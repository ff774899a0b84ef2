"""Options of the commands that work on a site."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from watchline.detectors.fetch import default_cache

if TYPE_CHECKING:
    from watchline.pipeline.serving.networks import Networks
    from watchline.pipeline.site.site import Site

ConfigOption: TypeAlias = Annotated[
    Path,
    typer.Option("--config", "-c", metavar="FILE", help="The site's file; `watchline config init` writes a first."),
]
CacheOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of fetched models; else storage.models, else the user's cache folder."),
]
MirrorOption: TypeAlias = Annotated[
    str,
    typer.Option(metavar="DIR|URL", envvar="WATCHLINE_MODELS_MIRROR", help="Tried first when a model must be fetched."),
]


def networks_of(site: Site, cache: Path | None, mirror: str) -> Networks:
    """Returns what finds the models of a site."""
    from watchline.pipeline.cli.progress import fetch_shown
    from watchline.pipeline.serving.networks import Networks

    folder = cache or site.storage.models or default_cache()
    return Networks(folder, partial(fetch_shown, cache=folder, mirror=mirror))
