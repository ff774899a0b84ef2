"""`watchline eval`: how good are results, measured against a known truth?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from watchline.pipeline.cli.eval_reid import reid
from watchline.streams.errors import UsageError
from watchline.trackers.evaluate import Scores, tally

app = typer.Typer(no_args_is_help=True, help="Measure results against a known truth.")

_COMBINED = "combined"

app.command("reid")(reid)


@app.command("mot")
def mot(
    gt: Annotated[Path, typer.Option(metavar="FILE|DIR", help="The truth: a MOT file, or a folder of NAME.txt.")],
    tracks: Annotated[
        Path, typer.Option(metavar="FILE|DIR", help="The tracks: the same. A folder's names must match.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure tracks: HOTA, DetA, AssA, MOTA, IDF1 in percent, and ID switches, per sequence and combined.

    Sequences named MOT16-*, MOT17-* and MOT20-* get their benchmark's treatment of distractors. Needs the
    extra `eval`.

    \b
    Examples:
      watchline eval mot --gt MOT17-09-FRCNN.txt --tracks out/MOT17-09-FRCNN.txt
      watchline eval mot --gt truth/ --tracks out/ --json
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    tallies = {name: tally(name, *paths) for name, paths in _pairs(gt, tracks).items()}
    first, *others = tallies.values()
    scores = {name: each.scores() for name, each in tallies.items()}
    combined = sum(others, start=first).scores()
    if as_json:
        record = {"sequences": {name: _percent(each) for name, each in scores.items()}, _COMBINED: _percent(combined)}
        typer.echo(json.dumps(record))
    else:
        _show(scores | {_COMBINED: combined})


def _pairs(gt: Path, tracks: Path) -> Mapping[str, tuple[Path, Path]]:
    """Returns the files of truth and tracks by name of the sequence; says which of a folder's have no partner."""
    if gt.is_dir() != tracks.is_dir():
        raise UsageError(f"{gt} and {tracks}: one is a folder and one is not; give two files or two folders")
    if not gt.is_dir():
        return {tracks.stem if gt.stem == "gt" else gt.stem: (gt, tracks)}  # as in MOT17-09-FRCNN/gt/gt.txt
    known, found = ({path.stem: path for path in sorted(folder.glob("*.txt"))} for folder in (gt, tracks))
    both = known.keys() & found.keys()
    if not both:
        raise UsageError(f"{gt} and {tracks}: no NAME.txt is in both; name the tracks as the truth is named")
    for folder, names in ((gt, found.keys() - both), (tracks, known.keys() - both)):
        if names:
            typer.echo(f"watchline: not measured, not in {folder}: {', '.join(sorted(names))}", err=True)
    return {name: (known[name], found[name]) for name in sorted(both)}


def _percent(scores: Scores) -> dict[str, float | int]:
    shares = {"HOTA": scores.hota, "DetA": scores.deta, "AssA": scores.assa, "MOTA": scores.mota, "IDF1": scores.idf1}
    return {**{name: round(100 * share, 2) for name, share in shares.items()}, "IDSW": scores.switches}


def _show(scores: Mapping[str, Scores]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("sequence")
    for name, each in scores.items():
        record = _percent(each)
        if not table.row_count:
            for title in record:
                table.add_column(title, justify="right")
        table.add_row(name, *(f"{value:.2f}" if isinstance(value, float) else str(value) for value in record.values()))
    Console(soft_wrap=True).print(table)
