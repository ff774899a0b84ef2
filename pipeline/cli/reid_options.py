"""Options that have people recognised, and what they ask for, opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from watchline.reid.embeddings import Kind
from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.detectors.catalog import Entry
    from watchline.pipeline.recognition import Recognition
    from watchline.pipeline.run import RunOptions

DEFAULT_MODEL = "osnet-x0-25"

Reid: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--reid/--no-reid",
        help="Describe people, so that they can be found again: vectors go to features.npz, or to the --store.",
        show_default=False,
    ),
]
ReidModel: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME|FILE", help=f"What describes people; {DEFAULT_MODEL}, if left out.")
]
FaceReid: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE", help="Describe faces too, by this model, such as sface; a --model must find them."
    ),
]
Store: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep every track as a sighting, with pictures and vectors, in this store; made if missing.",
    ),
]


def model_of(reid: bool | None, reid_model: str, store: Path | None) -> str:
    """Returns the model that is to describe people; "" for none.

    Raises:
        UsageError: the options contradict each other.

    >>> model_of(None, "", Path("site.db")), model_of(False, "", Path("site.db")), model_of(None, "", None)
    ('osnet-x0-25', '', '')
    """
    if reid is False and reid_model:
        raise UsageError(f"--no-reid and --reid-model {reid_model} exclude each other; give one of them")
    if reid or reid_model or (store is not None and reid is None):
        return reid_model or DEFAULT_MODEL
    return ""


def open_recognition(options: RunOptions, cache: Path, obtain: Callable[[Entry], Path]) -> Recognition | None:
    """Returns what recognises people, as the options ask for; None where they do not.

    A store that is not there yet is not made: see `Recognition.make_store`.

    Args:
        options: of the run.
        cache: folder of fetched files.
        obtain: brings the file of a catalog entry.

    Raises:
        WatchlineError: a model or the store cannot be had; says which.
    """
    if not (options.reid or options.face_reid or options.store):
        return None
    from contextlib import ExitStack

    from watchline.pipeline.embedding import open_embedder
    from watchline.pipeline.recognition import Recognition

    with ExitStack() as stack:
        store = None
        if options.store:  # first: a store that cannot be had is told before a model is fetched
            from watchline.pipeline.store.connecting import check_place
            from watchline.pipeline.store.sqlite import open_store

            check_place(Path(options.store))
            if Path(options.store).exists():  # else it is made once nothing is refused any more
                store = stack.enter_context(closing(open_store(Path(options.store))))
        body, face = (
            open_embedder(name, cache, obtain, options.device, kind) if name else None
            for name, kind in ((options.reid, Kind.BODY), (options.face_reid, Kind.FACE))
        )
        stack.pop_all()
    return Recognition(body, face, store, options.store)
