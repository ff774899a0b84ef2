"""`watchline sightings`: what is stored of whom was seen where and when."""

from __future__ import annotations

import dataclasses
import difflib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.pipeline.cli.catalog_options import JsonOption
from watchline.pipeline.cli.store_options import (
    CameraOption,
    SinceOption,
    SourceOption,
    StoreOption,
    UntilOption,
    opened,
)
from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.pipeline.store.seam import Selection

_YEAR_S = 365 * 86_400.0
_MOST_LISTED = 100_000  # in memory at once; `export` has no such bound

app = typer.Typer(
    no_args_is_help=True,
    help="List, show and export what was seen; say what a store holds; erase what is older than it may get.",
    epilog="To erase somebody for good, see `watchline erase`.",
)


@app.command("list")
def list_sightings(
    store: StoreOption,
    camera: CameraOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    source: SourceOption = "",
    limit: Annotated[int, typer.Option(min=1, max=_MOST_LISTED, help="At most so many tracks.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List tracks, newest first; parts of one track are told as one.

    A time T is ISO 8601, such as 2026-11-22T14:30+01:00 or 2026-11-22T13:30Z; one without a zone, such as
    "2026-11-22 14:30", is local time, and a day alone is its first moment. It may be an age too (90s, 15m, 2h, 3d, 2w),
    now, today or yesterday (local midnight), or seconds since 1970. All times that are printed are UTC.

    The quality of a track is that of its best crop, from 0 to 1. A track without crops has the reason in the place of
    the model that describes it. The column "at" says where in its file a track begins. A terminal of 130 columns or
    more shows ids, too, as does a pipe; one of less than 100 has no room for all columns, but --json tells all.

    \b
    Examples:
      watchline sightings list --store site.db --camera dock --since 2h
      watchline sightings list --store site.db --since 2026-11-22T14:00 --until 2026-11-22T15:00
      watchline sightings list --store site.db --source shop.mp4 --json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cli.sighting_tables import show_list
    from watchline.pipeline.sighting_records import summary_record
    from watchline.pipeline.store.asking import selected
    from watchline.pipeline.store.reading import describers

    selection = selected(camera or (), since, until, source, time.time())
    with opened(store) as kept:
        found = kept.find(selection, limit + 1)
        names = describers(kept)
    _note_unknown(store, selection.cameras)
    if as_json:
        typer.echo(json.dumps([summary_record(each) for each in found[:limit]], indent=2))
    elif found:
        show_list(found[:limit], names)
    else:
        typer.echo(_nothing(store, selection))
    if len(found) > limit:
        typer.echo(f"watchline: these are the newest {limit}, there are more; see --limit", err=True)


@app.command()
def show(
    track: Annotated[str, typer.Argument(metavar="ID|CAMERA:TRACK", help="A sighting's id, or the track: dock:17.")],
    store: StoreOption,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with its crops and its way over the frame.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page, if it is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one track with all its parts: crops, path, what describes it and what made it.

    Track ids begin anew with each run of watchline, so CAMERA:TRACK may mean several tracks; then their ids are told,
    and one of these names one. The page works offline. Beside it lies a manifest, by which `watchline erase` finds it.

    \b
    Examples:
      watchline sightings show dock:17 --store site.db
      watchline sightings show dock:17 --store site.db --html dock-17.html
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cli.sighting_tables import show_track
    from watchline.pipeline.sighting_records import track_record
    from watchline.pipeline.store.reading import the_one, whole

    with opened(store) as kept:
        found = whole(kept, the_one(kept, track))
    if html is not None:
        from watchline.pipeline.exports import check_out, export_track

        if html.suffix.lower() != ".html":
            raise UsageError(f"--html {html}: want the name of a page, such as {html.stem}.html")
        check_out(html, crops=False, overwrite=overwrite, option="--html")
        export_track(found, store.name, html, time.time())
    if as_json:
        typer.echo(json.dumps(track_record(found), indent=2))
    else:
        show_track(found)
    if html is not None:
        typer.echo(f"wrote {html}", err=as_json)


@app.command()
def export(
    store: StoreOption,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR|FILE", help="A folder, or a file: .html, .json or .jsonl.")
    ],
    camera: CameraOption = None,
    since: SinceOption = "",
    until: UntilOption = "",
    source: SourceOption = "",
    crops: Annotated[bool, typer.Option("--crops", help="Into a folder: write each crop as a JPEG, too.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what an export left there.")] = False,
) -> None:
    """Write tracks to files: a contact sheet, and all but the crops as lines of JSON.

    A folder gets sheet.html and sightings.jsonl; a file whose name ends in .html, .jsonl or .json is one of these
    alone. The sheet works offline. It is split into pages of at most 500 tracks or 32 MB of crops. A record has the
    vectors as base64 of little-endian float16, and the SHA-256 of each crop. With --crops they lie in crops/SHA256.jpg.

    Beside the files lies a manifest, watchline-export.json. It says which sightings are in which file, so that
    `watchline erase --exports DIR` can delete those that hold somebody who is erased. Files that you copy elsewhere are
    yours to look after.

    Times are said as in `watchline sightings list`.

    \b
    Examples:
      watchline sightings export --store site.db --out dock.html --camera dock --since today
      watchline sightings export --store site.db --out export/ --since 2d --crops
      watchline sightings export --store site.db --out all.jsonl
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cli.sighting_tables import count
    from watchline.pipeline.exports import Origin, check_out
    from watchline.pipeline.exports import export as exported
    from watchline.pipeline.store.asking import selected

    now = time.time()
    selection = selected(camera or (), since, until, source, now)
    with opened(store) as kept:
        is_folder = check_out(out, crops=crops, overwrite=overwrite)
        done = exported(kept, Origin(store.name, selection, now), out, is_folder=is_folder, crops=crops)
    _note_unknown(store, selection.cameras)
    if not done.tracks:
        typer.echo(f"watchline: {_nothing(store, selection)}", err=True)
    typer.echo(f"{count(done.tracks, 'track')} written to {out}, {count(len(done.files), 'file')}")
    if done.pages > 1:
        typer.echo(f"the sheet is split into {done.pages} pages, linked to each other; it begins with the newest")
    if done.gone:
        typer.echo(f"{count(done.gone, 'track')} left out: erased while the export ran", err=True)


@app.command()
def stats(store: StoreOption, as_json: JsonOption = False) -> None:
    """Say what a store holds: by camera, by kind of data with its bytes, by model; its oldest and newest, its schema.

    \b
    Examples:
      watchline sightings stats --store site.db
      watchline sightings stats --store site.db --json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cli.sighting_tables import show_facts
    from watchline.pipeline.store.counting import facts_of
    from watchline.pipeline.store.unfinished import unfinished_line

    with opened(store) as kept:
        models = sorted(kept.models(), key=lambda each: (each[0].name, each[0].sha256))
        facts = facts_of(store)
    if left := unfinished_line(store):
        typer.echo(f"watchline: {left}", err=True)
    if as_json:
        record = dataclasses.asdict(facts)
        record["models"] = [dataclasses.asdict(model) | {"vectors": many} for model, many in models]
        typer.echo(json.dumps({"store": str(store), **record}, indent=2))
    else:
        show_facts(store, facts, models)


@app.command()
def purge(
    store: StoreOption,
    keep_crops: Annotated[str, typer.Option(metavar="AGE", help="Keep crops so long.", show_default=False)] = "",
    keep_vectors: Annotated[str, typer.Option(metavar="AGE", help="Keep vectors so long.", show_default=False)] = "",
    keep_paths: Annotated[
        str, typer.Option(metavar="AGE", help="Keep boxes over time so long.", show_default=False)
    ] = "",
    keep_sightings: Annotated[
        str, typer.Option(metavar="AGE", help="Keep sightings so long; then all of them goes.", show_default=False)
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")] = False,
) -> None:
    """Erase what is older than it may get, each kind by its own age; what is left out is kept.

    An AGE is 90s, 15m, 72h, 30d or 4w. It is counted from the moment at which a sighting ended, by the clock of its
    camera or file. What is erased is overwritten in the store's files. Without any age nothing is too old, and only the
    store's log is emptied.

    \b
    Examples:
      watchline sightings purge --store site.db --keep-crops 72h --keep-vectors 30d --dry-run
      watchline sightings purge --store site.db --keep-crops 72h --keep-vectors 30d --keep-sightings 90d
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.cli.sighting_tables import count
    from watchline.pipeline.store.asking import span_s
    from watchline.pipeline.store.counting import overdue
    from watchline.pipeline.store.seam import Keep

    said = {"crops": keep_crops, "vectors": keep_vectors, "paths": keep_paths, "sightings": keep_sightings}
    keep = Keep(**{f"{kind}_s": span_s(age, f"--keep-{kind}") if age else None for kind, age in said.items()})
    now = time.time()
    with opened(store) as kept:
        _doubt_clock(store, now)
        if dry_run:
            due = overdue(store, keep, now)
            paths = f"{count(due.paths, 'path')}, {count(due.sightings, 'sighting')} altogether"
            typer.echo(f"would erase {count(due.crops, 'crop')}, {count(due.vectors, 'vector')}, {paths}")
            return
        if any(said.values()):
            kept.reach(now, surely=False)  # who erases by this clock believes it
        done = kept.purge(keep, now)
    if not any(said.values()):
        typer.echo("watchline: nothing was too old, as no age was said, such as --keep-crops 72h", err=True)
    typer.echo(
        f"erased {count(done.crops, 'crop')}, {count(done.vectors, 'vector')}, "
        f"{count(len(done.sightings), 'sighting')} altogether"
    )
    if done.in_log:
        typer.echo(
            f"watchline: {store}-wal may still hold what was erased: another program uses the store all the time; "
            "end it, or purge again later",
            err=True,
        )


def _doubt_clock(store: Path, now: float) -> None:
    """Says so where the newest sighting is years older than the clock."""
    from watchline.pipeline.store.asking import utc_text
    from watchline.pipeline.store.counting import extent_of

    tracks, _, newest = extent_of(store)
    if tracks and now - newest > _YEAR_S:
        typer.echo(
            f"watchline: the newest sighting ended at {utc_text(newest)}, and now it is {utc_text(now)}: is this "
            "machine's clock right?",
            err=True,
        )


def _note_unknown(store: Path, cameras: Sequence[str]) -> None:
    """Says which cameras there is nothing of: a name mistyped, or one that has seen nothing yet."""
    if not cameras:
        return
    from watchline.pipeline.cli.sighting_tables import plain
    from watchline.pipeline.store.counting import cameras_of

    known = cameras_of(store)
    for camera in cameras:
        if camera not in known:
            near = difflib.get_close_matches(camera, known, 1)
            hint = f"; did you mean {plain(near[0])}?" if near else ""
            typer.echo(f"watchline: camera {plain(camera)}: not in the store{hint}", err=True)


def _nothing(store: Path, selection: Selection) -> str:
    """Returns the line for one who found nothing: what was looked for, and what there is."""
    from watchline.pipeline.cli.sighting_tables import count
    from watchline.pipeline.store.asking import told, utc_text
    from watchline.pipeline.store.counting import extent_of
    from watchline.pipeline.store.seam import Selection

    tracks, start, end = extent_of(store)
    span = f", from {utc_text(start)} to {utc_text(end)}" if tracks else ""
    asked = f": {told(selection)}" if selection != Selection() else " yet"
    return f"nothing was seen{asked}; {store} holds {count(tracks, 'track')}{span}"
