"""The options that the commands about models share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchline.detectors.fetch import default_cache
from watchline.detectors.layout import FAMILIES

CacheOption = Annotated[
    Path,
    typer.Option(
        "--cache",
        metavar="DIR",
        default_factory=default_cache,
        show_default="the cache folder of this user",
        help="Folder that holds the files.",
    ),
]
MirrorOption = Annotated[
    str,
    typer.Option(
        "--mirror",
        metavar="DIR|URL",
        envvar="WATCHLINE_MODELS_MIRROR",
        help="Folder or http(s) URL that holds files under their catalog file names; tried before all other sources.",
        show_default=False,
    ),
]
ManifestOption = Annotated[
    Path | None,
    typer.Option("--manifest", metavar="FILE", help="TOML file that says what the model does not; see docs/models.md."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
FamilyOption = Annotated[
    str, typer.Option("--family", metavar="NAME", help=f"What an .onnx is that does not say it: {', '.join(FAMILIES)}.")
]
