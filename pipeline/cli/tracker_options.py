"""The options by which every command is told which tracker to use."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Name: TypeAlias = Annotated[
    str, typer.Option("--tracker", metavar="NAME", help="How objects are followed: bytetrack or ocsort.")
]
Preset: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="default: our best; reference: the published program to the last digit.")
]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An option of the tracker; may be given several times."),
]
Backend: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="What runs the tracker: auto, native or python; same answers.")
]
