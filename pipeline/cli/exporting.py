"""Writes files that come with watchline into a folder of the user's, and never over what differs unasked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from watchline.pipeline.files import write_whole, writing
from watchline.streams.errors import OutputError


def export(folder: Path, texts: Mapping[str, str], *, overwrite: bool) -> None:
    """Writes each text under its name, whole, and prints where.

    Raises:
        OutputError: one is there already and differs, before any is written; or the system refuses.
    """
    made = {folder / name: text for name, text in texts.items()}
    for path, text in made.items():
        if path.exists() and not overwrite and (not path.is_file() or path.read_bytes() != text.encode()):
            raise OutputError(f"{path}: is there already and differs; add --overwrite or choose another DIR")
    for path, text in made.items():
        with writing(path, "DIR"):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text, "DIR")
        typer.echo(path)
