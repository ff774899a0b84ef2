"""`watchline erase`: what was stored of somebody goes for good, and a search proves it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.pipeline.cli.erasure_lines import end, show, show_found
from watchline.pipeline.cli.store_options import StoreOption, opened
from watchline.streams.errors import OutputError, UsageError

if TYPE_CHECKING:
    from watchline.pipeline.erasure import Order, Proof
    from watchline.pipeline.store.seam import Selection, SightingStore

app = typer.Typer(
    no_args_is_help=True,
    help="Erase sightings for good: rows, crops, vectors and paths, from the store's files and from exports.",
    epilog="Copies that you made yourself, backups among them, are not found. See docs/sightings.md.",
)

ExportsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--exports",
        metavar="DIR",
        help="Folder with exports: files of `watchline sightings` that hold what is erased are deleted, and all files "
        "there are searched; may be given several times.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ProofOption = Annotated[
    Path | None, typer.Option("--proof", metavar="FILE", help="Write what was erased and searched, as JSON.")
]


@app.command()
def sighting(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of sightings, 32 hex digits each.")],
    store: StoreOption,
    exports: ExportsOption = None,
    yes: YesOption = False,
    proof: ProofOption = None,
) -> None:
    """Erase sightings by their ids. A long track is several sightings; `erase track` takes them all.

    One that is no longer in the store is still searched for in --exports.

    \b
    Examples:
      watchline erase sighting 0192f4c8e1b07d3c9a5512ab34cd56ef --store site.db
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.store.asking import is_id
    from watchline.pipeline.store.seam import Selection

    wrong = next((each for each in ids if not is_id(each)), None)
    if wrong is not None:
        raise UsageError(
            f"{wrong}: want a sighting's id, 32 hex digits; `watchline sightings show CAMERA:TRACK` has it"
        )
    selection = Selection(ids=tuple(dict.fromkeys(each.lower() for each in ids)))

    def meant(kept: SightingStore) -> tuple[Selection, str]:
        if not exports and not kept.count(selection):
            raise UsageError(f"{ids[0]}: no such sighting in {store}; `watchline sightings list` shows what is there")
        return selection, ""

    _erase(f"sighting {' '.join(selection.ids)}", meant, store, exports, yes, proof)


@app.command()
def camera(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The camera.")],
    store: StoreOption,
    exports: ExportsOption = None,
    yes: YesOption = False,
    proof: ProofOption = None,
) -> None:
    """Erase all sightings of a camera.

    \b
    Examples:
      watchline erase camera dock --store site.db --exports exports/ --proof erased.json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.store.seam import Selection

    _erase(f"camera {name}", lambda _: (Selection(cameras=(name,)), ""), store, exports, yes, proof)


@app.command()
def before(
    at: Annotated[str, typer.Argument(metavar="TIME", help="See below.")],
    store: StoreOption,
    exports: ExportsOption = None,
    yes: YesOption = False,
    proof: ProofOption = None,
) -> None:
    """Erase all sightings that began before a time.

    TIME is ISO 8601, such as 2026-11-22T14:30+01:00 or 2026-11-22T13:30Z; one without a zone is local time, and a day
    alone is its first moment. It may be an age too (90s, 15m, 2h, 3d, 2w), now, today or yesterday, or seconds since
    1970. A long track that began before that and went on is erased as far as its parts began before.

    \b
    Examples:
      watchline erase before 30d --store site.db --yes
      watchline erase before 2026-11-01 --store site.db
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.store.asking import moment
    from watchline.pipeline.store.seam import Selection

    selection = Selection(until=moment(at, "before", time.time()))
    _erase(f"before {at}", lambda _: (selection, ""), store, exports, yes, proof)


@app.command()
def track(
    name: Annotated[str, typer.Argument(metavar="CAMERA:TRACK|ID", help="The track: dock:17, or a sighting of it.")],
    store: StoreOption,
    exports: ExportsOption = None,
    yes: YesOption = False,
    proof: ProofOption = None,
) -> None:
    """Erase a track with all its parts.

    Track ids begin anew with each run of watchline. Where CAMERA:TRACK means several tracks, nothing is erased and
    their ids are told; one of these means one track.

    \b
    Examples:
      watchline erase track dock:17 --store site.db --exports exports/ --proof erased.json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.store.reading import the_one
    from watchline.pipeline.store.seam import Selection

    def meant(kept: SightingStore) -> tuple[Selection, str]:
        found = the_one(kept, name)
        return Selection(ids=found.ids), f"track {found.camera}:{found.track_id}"

    _erase(f"track {name}", meant, store, exports, yes, proof)


@app.command()
def check(
    proof: Annotated[Path, typer.Argument(metavar="PROOF", help="What --proof wrote.")],
    exports: Annotated[
        list[Path], typer.Option("--exports", metavar="DIR", help="Folder to search; may be given several times.")
    ],
) -> None:
    """Search folders again for what was erased, by a proof; nothing is changed.

    \b
    Examples:
      watchline erase check erased.json --exports exports/ --exports /srv/share
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cli.sighting_tables import count, size
    from watchline.pipeline.erasure import still_found, traces_in
    from watchline.pipeline.export_erasure import search

    _check(tuple(exports), None)
    searched = search(exports, traces_in(proof))
    show_found(searched)
    if searched.found:
        raise OutputError(f"{still_found(searched)}; delete {'it' if len(searched.found) == 1 else 'them'}")
    files = f"{count(searched.files, 'file')}, {size(searched.size_bytes)}"
    typer.echo(f"searched {files}: found nothing of what was erased")


@app.command()
def finish(store: StoreOption, proof: ProofOption = None) -> None:
    """Finish an erasure that was broken off: by a kill, a loss of power, or as something was in its way.

    The folders of exports and the proof are those that it was begun with; --proof writes it elsewhere. Every other
    `watchline erase` does this first.

    \b
    Examples:
      watchline erase finish --store site.db
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    _check((), proof)
    with opened(store) as kept:
        if not _finish(kept, store, proof):
            typer.echo("no erasure is unfinished")


def _finish(kept: SightingStore, store: Path, out: Path | None) -> Proof | None:
    """Finishes an erasure that was broken off, and says so; None where there is none."""
    from watchline.pipeline.cli.sighting_tables import count
    from watchline.pipeline.erasure import finish, finishing
    from watchline.pipeline.store.asking import utc_text

    left = kept.unfinished()
    if left is None:
        return None
    what = f"the erasure of {count(left.sightings, 'sighting')}, begun {utc_text(left.at)}"
    typer.echo(f"{store}: {what}, is not proven yet; finishing it")
    with finishing(_tell_finishing):
        done = finish(kept, store, out)
    if done:
        end(done)
    return done


def _erase(
    said: str,
    meant: Callable[[SightingStore], tuple[Selection, str]],
    store: Path,
    exports: list[Path] | None,
    yes: bool,
    out: Path | None,
) -> None:
    """Shows what goes, asks, erases just that, and says what was found afterwards.

    Args:
        said: what the user asked for, to be known again where it was broken off.
        meant: returns what is to go, and a better name for it, "" for none.
        store: from where.
        exports: folders, too.
        yes: ask nobody.
        out: file of the proof; None for none.
    """
    from watchline.pipeline.erasure import erase, finishing
    from watchline.pipeline.store.asking import told

    with opened(store) as kept:
        finished = _finish(kept, store, None)
        folders = tuple(exports or ())
        if finished and out and finished.order.is_of(said, folders, out):
            return  # the same again: it was this one that was broken off
        _check(folders, out)
        asked, name = meant(kept)
        order = replace(_order(kept, asked, store, folders, out), said=said)
        show(order, name or told(asked))
        if order.ids or order.plan.files:
            _ask(yes)
        with finishing(_tell_finishing):
            done = erase(kept, order)
        end(done)
        if came := kept.count(asked):
            typer.echo(f"watchline: {came} more came meanwhile, and stayed; erase again", err=True)


def _order(kept: SightingStore, asked: Selection, store: Path, folders: tuple[Path, ...], out: Path | None) -> Order:
    """Returns what goes: what is there now; what is stored while the user is asked is not part of it."""
    from watchline.pipeline.erasure import Order
    from watchline.pipeline.export_erasure import planned, traces_of
    from watchline.pipeline.store.counting import ids_of
    from watchline.pipeline.store.seam import Selection

    order = Order(asked, ids_of(store, asked), store, folders, out=out)
    ids = asked.ids or order.ids  # some may be in exports alone
    if not ids or not (folders or out):
        return order
    traces = traces_of(kept, Selection(ids=ids))
    return replace(order, traces=traces, plan=planned(folders, traces.ids))


def _check(folders: tuple[Path, ...], out: Path | None) -> None:
    """Refuses what could not be searched or written, before anything goes."""
    from watchline.pipeline.erasure import check_outside

    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--exports {folder}: no such folder")
    if out is not None:
        if out.is_dir() or not out.absolute().parent.is_dir():
            raise UsageError(f"--proof {out}: want the name of a file, in a folder that is there")
        if out.exists():
            raise UsageError(f"--proof {out}: is there already, and a proof is never replaced; choose another name")
        check_outside(out, folders)


def _ask(yes: bool) -> None:
    """Asks whether to go on.

    Raises:
        UsageError: nobody can be asked.
    """
    if yes:
        return
    if not _has_terminal():
        raise UsageError("erasing asks first, and there is no terminal to ask at; add --yes. Nothing was erased")
    if not typer.confirm("Erase this for good?"):
        typer.echo("nothing was erased")
        raise typer.Exit(1)


def _has_terminal() -> bool:
    return sys.stdin.isatty()


def _tell_finishing() -> None:
    typer.echo(
        "watchline: finishing the erasure; Ctrl-C again breaks it off, and the next `watchline erase` goes on", err=True
    )
