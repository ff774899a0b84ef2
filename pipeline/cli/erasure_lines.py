"""What `watchline erase` says: what is about to go, what is still found, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from watchline.streams.errors import OutputError

if TYPE_CHECKING:
    from watchline.pipeline.erasure import Order, Proof
    from watchline.pipeline.export_erasure import Searched

_MOST_SHOWN = 3  # exported files that are to go
_MOST_FOUND = 20  # of those that hold something afterwards


def show(order: Order, what: str) -> None:
    """Says what is about to go."""
    from watchline.pipeline.cli.sighting_tables import count, plain, weight_text
    from watchline.pipeline.exports import CROPS
    from watchline.pipeline.store.counting import weighed
    from watchline.pipeline.store.seam import Selection

    held = weight_text(weighed(order.store, Selection(ids=order.ids))) if order.ids else "no sighting"
    typer.echo(f"{order.store}: {plain(what)}: {held}")
    plan = order.plan
    if plan.files:
        shown = sorted(plan.files, key=lambda path: path.parent.name == CROPS)[:_MOST_SHOWN]  # pages tell more
        others = f", in which {count(plan.others, 'other sighting')} are too" if plan.others else ""
        typer.echo(
            f"{count(len(plan.files), 'exported file')}{others}: {', '.join(map(str, shown))}"
            f"{', ...' if len(plan.files) > len(shown) else ''}"
        )


def show_found(searched: Searched) -> None:
    """Names the files in which something is still found."""
    for path, what in searched.found[:_MOST_FOUND]:
        typer.echo(f"watchline: {path}: holds {what}", err=True)
    if len(searched.found) > _MOST_FOUND:
        typer.echo(f"watchline: and {len(searched.found) - _MOST_FOUND} more files", err=True)


def end(done: Proof) -> None:
    """Says how it ended.

    Raises:
        OutputError: something is still found in exports, or they could not be searched.
    """
    from watchline.pipeline.cli.sighting_tables import count, size

    show_found(done.searched)
    erased, deleted, out = done.erased, done.order.plan.files, done.order.out
    if done.failure:
        again = f"watchline erase check {out or 'PROOF'} --exports DIR"
        hint = f"; delete what is named above; `{again}` looks again" if done.searched.found else ""
        raise OutputError(done.failure + hint)
    if not erased.sightings and not deleted:
        typer.echo("nothing to erase")
        return
    files = f", {count(len(deleted), 'exported file')}" if deleted else ""
    searched = size(erased.bytes_searched + done.searched.size_bytes)
    typer.echo(
        f"erased {count(len(erased.sightings), 'sighting')}, {count(erased.crops, 'crop')}, "
        f"{count(erased.vectors, 'vector')}{files}; searched {searched}, found nothing of them"
        f"{f'; proof in {out}' if out else ''}"
    )
