"""The options that the commands about stored sightings share, and how they open a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from watchline.pipeline.store.seam import SightingStore

StoreOption = Annotated[
    Path, typer.Option("--store", "-s", metavar="FILE", help="The store, as `watchline run --store FILE` made it.")
]
CameraOption = Annotated[
    list[str] | None, typer.Option("--camera", metavar="NAME", help="Only of this camera; may be given several times.")
]
SinceOption = Annotated[
    str, typer.Option("--since", metavar="T", help="Only what ended at T or later.", show_default=False)
]
UntilOption = Annotated[str, typer.Option("--until", metavar="T", help="Only what began before T.", show_default=False)]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source", metavar="FILE", help="Only from this file, or live: what cameras saw.", show_default=False
    ),
]


@contextmanager
def opened(path: Path) -> Iterator[SightingStore]:
    """Opens a store that is there, and closes it at the end.

    Raises:
        UsageError: there is none.
        OutputError: it is no store, a newer one, damaged, or another process does not let go of it.
    """
    from watchline.pipeline.store.sqlite import open_store

    store = open_store(path, create=False)
    try:
        yield store
    finally:
        store.close()
