"""The options that the commands about models share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from watchline.detectors.fetch import default_cache
from watchline.detectors.layout import FAMILIES
from watchline.detectors.opening import DEVICES
from watchline.streams.errors import UsageError

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
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME[,NAME]",
        envvar="WATCHLINE_DEVICE",
        help=f"Where the networks run, in turn until one works: {', '.join(DEVICES)}.",
    ),
]
FamilyOption = Annotated[
    str, typer.Option("--family", metavar="NAME", help=f"What an .onnx is that does not say it: {', '.join(FAMILIES)}.")
]


def image_size(text: str) -> tuple[int, int] | None:
    """Returns (height, width) px of "HxW" or of "N", a square; None for nothing.

    >>> image_size("384x640")
    (384, 640)
    """
    if not text:
        return None
    sides = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if not sides:
        raise UsageError(f"--imgsz {text}: want height x width in pixels, such as 384x640, or one number for a square")
    return int(sides[1]), int(sides[2] or sides[1])
