"""`watchline audit`: who did what with a store, and whether the log of it is whole."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from watchline.pipeline.cli.audit_options import PublicKeyOption
from watchline.pipeline.cli.catalog_options import JsonOption
from watchline.pipeline.cli.store_options import StoreOption
from watchline.streams.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

    from watchline.pipeline.audit.record import Record
    from watchline.pipeline.signing import PublicKey

app = typer.Typer(
    no_args_is_help=True,
    help="Who opened, searched, looked, decided, exported and erased: the audit log, and whether it is whole.",
    epilog="What the log can prove and what it cannot: docs/custody.md.",
)


@app.command()
def verify(
    store: StoreOption,
    head: Annotated[
        list[str] | None,
        typer.Option(metavar="N:HASH", help="A head that was noted elsewhere; may be given several times."),
    ] = None,
    key: PublicKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the whole log, and name by number what was changed, moved or removed; then the exit status is 1.

    At its end it prints the head: the newest record's number and hash. Note it down where nobody who can write to the
    store can write, and give it later as --head: that is what finds a log that was cut or written anew together with
    its head mark. Without --key, the site's key on this machine is taken, if there is one.

    \b
    Examples:
      watchline audit verify --store site.db
      watchline audit verify --store site.db --head 17:5a3f...e1 --key site.pub
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.audit.head import Mark
    from watchline.pipeline.audit.verifying import verify as verified

    done = verified(store, [Mark.of(each) for each in head or ()], _public_key(key))
    if as_json:
        typer.echo(json.dumps({**asdict(done), "end": str(done.end), "store": str(store)}, indent=2))
    else:
        from watchline.pipeline.cli.sighting_tables import count, plain

        for text in done.problems:
            typer.echo(f"watchline: {plain(text)}", err=True)
        for text in done.notes:
            typer.echo(plain(text))
        if done.backwards:
            typer.echo(f"{count(done.backwards, 'record')} written while the clock stood before the record before")
        span = f", from {plain(done.first_at)} to {plain(done.last_at)}" if done.records else ""
        typer.echo(f"{count(done.records, 'record')}{span}")
        typer.echo(f"head {done.end}")
    wrong = len(done.problems) + done.untold
    if wrong:
        more = f" ({done.untold} of them not named)" if done.untold else ""
        raise OutputError(f"{store}: the audit log is not as it was written: {wrong} found{more}")


@app.command()
def show(
    store: StoreOption,
    case: Annotated[str, typer.Option(metavar="ID", help="Only what belongs to this case.", show_default=False)] = "",
    since: Annotated[str, typer.Option(metavar="T", help="Only from T on.", show_default=False)] = "",
    until: Annotated[str, typer.Option(metavar="T", help="Only before T.", show_default=False)] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print each record as a line of JSON.")] = False,
) -> None:
    """Print the records of the log, oldest first. It does not check them; `watchline audit verify` does.

    Times are said as in `watchline sightings list`; those that are printed are UTC. An exclamation mark behind a time
    says that the clock then stood before the time of the record before.

    \b
    Examples:
      watchline audit show --store site.db --since 2d
      watchline audit show --store site.db --case C-2026-17 --json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.pipeline.audit.reading import snapshot
    from watchline.pipeline.store.asking import selected

    asked = selected((), since, until, "", time.time())
    unread = 0
    for record in snapshot(store).records():
        if record is None:
            unread += 1
        elif (not case or record.case == case) and _within(record, asked.since, asked.until):
            typer.echo(record.line().decode().rstrip("\n") if as_json else _told(record))
    if unread:
        lines = "1 line in it is no record" if unread == 1 else f"{unread} lines in it are no records"
        typer.echo(f"watchline: {store}: {lines}; `watchline audit verify` tells more", err=True)


def _within(record: Record, since: float | None, until: float | None) -> bool:
    return (since is None or record.time >= since) and (until is None or record.time < until)


def _told(record: Record) -> str:
    """Returns a record on one line."""
    from watchline.pipeline.cli.sighting_tables import plain

    details = " ".join(f"{name}={json.dumps(value)}" for name, value in sorted(record.details.items()))
    who = record.who if record.who == record.account else f"{record.who} ({record.account})"
    at = f"{record.at[:19].replace('T', ' ')}Z{'!' if record.back_s else ''}"
    return plain("  ".join([str(record.number), at, who, record.action, record.case or "-", details]).rstrip())


def _public_key(path: Path | None) -> PublicKey | None:
    """Returns the key to check with: the one given, or that of this machine, or None where it has none."""
    from watchline.pipeline.signing import PublicKey, SiteKey, default_key

    if path is not None:
        return PublicKey.read(path)
    own = default_key()
    return SiteKey.load(own).public if own.exists() else None
