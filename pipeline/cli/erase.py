"""`watchline erase`: what was stored of somebody goes for good, and a search proves it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.pipeline.cli.store_options import StoreOption, opened
from watchline.streams.errors import OutputError, UsageError

if TYPE_CHECKING:
    from watchline.pipeline.erasure import Proof
    from watchline.pipeline.export_erasure import Plan, Searched
    from watchline.pipeline.store.counting import Weight
    from watchline.pipeline.store.seam import Selection, SightingStore

_MOST_SHOWN = 3  # exported files that are to go
_MOST_FOUND = 20  # of those that hold something afterwards

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
    with opened(store) as kept:
        if not exports and not kept.count(selection):
            raise UsageError(f"{ids[0]}: no such sighting in {store}; `watchline sightings list` shows what is there")
        _erase(kept, store, selection, exports, yes, proof)


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

    with opened(store) as kept:
        _erase(kept, store, Selection(cameras=(name,)), exports, yes, proof)


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
    with opened(store) as kept:
        _erase(kept, store, selection, exports, yes, proof)


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

    with opened(store) as kept:
        found = the_one(kept, name)
        _erase(kept, store, Selection(ids=found.ids), exports, yes, proof, f"track {found.camera}:{found.track_id}")


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
    _show_found(searched)
    if searched.found:
        raise OutputError(f"{still_found(searched)}; delete {'it' if len(searched.found) == 1 else 'them'}")
    files = f"{count(searched.files, 'file')}, {size(searched.size_bytes)}"
    typer.echo(f"searched {files}: found nothing of what was erased")


def _erase(
    kept: SightingStore,
    store: Path,
    selection: Selection,
    exports: list[Path] | None,
    yes: bool,
    out: Path | None,
    what: str = "",
) -> None:
    """Shows what goes, asks, erases, and says what was found afterwards; `what` names it better than the selection."""
    from watchline import __version__
    from watchline.pipeline.erasure import Order, erase, finishing
    from watchline.pipeline.export_erasure import Traces, planned, traces_of
    from watchline.pipeline.store.asking import told
    from watchline.pipeline.store.counting import weighed
    from watchline.pipeline.store.proof import write_proof

    folders = tuple(exports or ())
    _check(folders, out)
    weight = weighed(store, selection)
    told_apart = bool(folders or out)
    traces = traces_of(kept, selection) if told_apart else Traces(frozenset(), frozenset())
    plan = planned(folders, traces.ids)
    _show(store, what or told(selection), weight, plan)
    if weight.sightings or plan.files:
        _ask(yes)
    order = Order(selection, store, folders, traces, plan)
    with finishing(_tell_finishing):
        done = erase(kept, order)
        if out is not None:
            write_proof(out, done.record(__version__))
    _end(done, out, weight)


def _check(folders: tuple[Path, ...], out: Path | None) -> None:
    """Refuses what could not be searched or written, before anything goes."""
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"--exports {folder}: no such folder")
    if out is not None:
        if out.is_dir() or not out.absolute().parent.is_dir():
            raise UsageError(f"--proof {out}: want the name of a file, in a folder that is there")
        if out.exists():
            raise UsageError(f"--proof {out}: is there already, and a proof is never replaced; choose another name")
        if any(out.resolve().is_relative_to(folder.resolve()) for folder in folders):
            raise UsageError(
                f"--proof {out}: lies in --exports, where what it names is searched for; choose another place"
            )


def _show(store: Path, what: str, weight: Weight, plan: Plan) -> None:
    """Says what is about to go."""
    from watchline.pipeline.cli.sighting_tables import count, plain, weight_text
    from watchline.pipeline.exports import CROPS

    typer.echo(f"{store}: {plain(what)}: {weight_text(weight)}")
    if plan.files:
        shown = sorted(plan.files, key=lambda path: path.parent.name == CROPS)[:_MOST_SHOWN]  # pages tell more
        others = f", in which {count(plan.others, 'other sighting')} are too" if plan.others else ""
        typer.echo(
            f"{count(len(plan.files), 'exported file')}{others}: {', '.join(map(str, shown))}"
            f"{', ...' if len(plan.files) > len(shown) else ''}"
        )


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
    typer.echo("watchline: finishing the erasure; Ctrl-C again breaks it off, and running it again goes on", err=True)


def _show_found(searched: Searched) -> None:
    """Names the files in which something is still found."""
    for path, what in searched.found[:_MOST_FOUND]:
        typer.echo(f"watchline: {path}: holds {what}", err=True)
    if len(searched.found) > _MOST_FOUND:
        typer.echo(f"watchline: and {len(searched.found) - _MOST_FOUND} more files", err=True)


def _end(done: Proof, out: Path | None, weight: Weight) -> None:
    """Says how it ended.

    Raises:
        OutputError: something is still found, or could not be erased.
    """
    from watchline.pipeline.cli.sighting_tables import count, size

    _show_found(done.searched)
    if done.failure:
        again = f"watchline erase check {out or 'PROOF'} --exports DIR"
        hint = f"; delete what is named above; `{again}` looks again" if done.searched.found else ""
        raise OutputError(done.failure + hint)
    erased = done.erased
    if not erased.sightings and not done.deleted and not weight.sightings:
        typer.echo("nothing to erase")
        return
    files = f", {count(len(done.deleted), 'exported file')}" if done.deleted else ""
    searched = size(erased.bytes_searched + done.searched.size_bytes)
    typer.echo(
        f"erased {count(len(erased.sightings), 'sighting')}, {count(erased.crops, 'crop')}, "
        f"{count(erased.vectors, 'vector')}{files}; searched {searched}, found nothing of them"
        f"{f'; proof in {out}' if out else ''}"
    )
