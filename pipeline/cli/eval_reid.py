"""`watchline eval reid`: how good are features of people at finding them again?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.reid.evaluate import Scores
    from watchline.reid.variants import Trial

_RANKS: Final = (1, 5, 10, 20, 50)


def reid(
    path: Annotated[
        Path, typer.Argument(metavar="FEATURES.npz", show_default=False, help="A file of features, with who is who.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", show_default=False, help="Draw the curves.")] = None,
    open_set: Annotated[
        bool, typer.Option("--open-set", help="Watch lists: how many are found, at which rate of false alarms?")
    ] = False,
    draws: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=1000, show_default=False, help="Of people, for --open-set; else 8."),
    ] = None,
    people_only: Annotated[
        bool, typer.Option("--people-only", help="Leave distractors (person 0) out of --open-set.")
    ] = False,
) -> None:
    """Measure features of people: CMC rank 1 to 50 and mean average precision, in percent.

    By the protocol of Market-1501: pictures of the query's person from the
    query's camera are left out, junk (person -1) counts nowhere, distractors
    (person 0) are wrong answers. A query whose person no other camera saw is
    not counted; the table says how many these are.

    \b
    Ways to rank, each with one change but the last:
      cosine          likeness of the vectors
      euclidean       distance of the vectors, not scaled to length 1
      camera_centred  after the mean of each camera's gallery was taken off
      multi_shot      asked by the mean of what the camera saw of the person
      tracklets       over means of tracklets; mAP compares with combined alone
      reranked        by k-reciprocal neighbours; lifts mAP, lowers rank 20
      combined        camera_centred, multi_shot and tracklets at once

    With --open-set most who pass are on no list: 1, 10, 50 and 100 people
    are enrolled by their tracklets of one or two cameras; half of the others
    set the threshold for a rate of false alarms, the other half tell the
    rate that it really has. Nobody is on two sides. Watch lists that there
    are too few people for are left out, with the reason.

    The file is one of `watchline reid extract` with person and camera, or of
    the Market-1501 form: features qf and gf, names qn and gn such as
    0002_c1s1_000451_03.jpg. Where no picture is marked as a query, each is
    asked for, against all others.

    \b
    Examples:
      watchline eval reid features.npz
      watchline eval reid features.npz --json --plot cmc.svg
      watchline eval reid features.npz --open-set --plot open-set.svg
    """  # noqa: D301 - \b is click's mark for lines to leave as they are
    from watchline.reid.features import read_features
    from watchline.reid.variants import Trial

    if plot is not None:
        _refuse_plot(plot)
    if not open_set and (draws is not None or people_only):
        raise UsageError(
            f"{'--people-only' if people_only else '--draws'} belongs to --open-set; add that or leave it out"
        )
    features = read_features(path)
    if open_set:
        from watchline.pipeline.cli.eval_open_set import measure_open_set

        try:
            measure_open_set(path, features, 8 if draws is None else draws, people_only, plot, as_json)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        return
    try:
        trial = Trial.of(features)
        scores = dict(trial.scores())
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if plot is not None:
        from watchline.pipeline.cmc_plot import draw_cmc
        from watchline.pipeline.files import write_whole

        write_whole(plot, draw_cmc(path.name, scores), "--plot")
    if as_json:
        typer.echo(json.dumps({name: _record(each) for name, each in scores.items()}))
    else:
        _show(trial, scores)


def _refuse_plot(plot: Path) -> None:
    """Says what is wrong with the name of the plot before the work is done."""
    if plot.suffix.lower() != ".svg":
        raise UsageError(f"--plot {plot}: only .svg can be drawn, which every browser shows; name it NAME.svg")
    if not plot.parent.is_dir():
        raise UsageError(f"--plot {plot}: there is no folder {plot.parent}; make it first")


def _record(scores: Scores) -> dict[str, float | int]:
    shares = {f"rank{depth}": scores.rank(depth) for depth in _RANKS} | {"mAP": scores.mean_ap}
    counts = {"queries": scores.queries, "unmatched": scores.unmatched, "gallery": scores.gallery}
    return {**{name: round(100 * share, 2) for name, share in shares.items()}, **counts}


def _show(trial: Trial, scores: Mapping[str, Scores]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("ranked by")
    for title in (*(f"rank-{depth}" for depth in _RANKS), "mAP", "gallery"):
        table.add_column(title, justify="right")
    for name, each in scores.items():
        shares = (*map(each.rank, _RANKS), each.mean_ap)
        table.add_row(name, *(f"{100 * share:.2f}" for share in shares), f"{each.gallery:,}")
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(_counts(trial, next(iter(scores.values()))), highlight=False)


def _counts(trial: Trial, scores: Scores) -> str:
    """Returns what was counted and what was not, as lines."""
    lines = [f"\n{_many(scores.queries, 'query')}" + (", each picture against all others" if trial.all_ask else "")]
    for why, count, what in (
        ("not counted, their person seen by no other camera of the gallery", scores.unmatched, "query"),
        ("left out as junk (person -1)", trial.junk, "picture"),
        ("left out, nobody said who it is", trial.unknown, "picture"),
    ):
        if count:
            lines.append(f"{why}: {_many(count, what)}")
    return "\n".join(lines)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what if count == 1 else {'query': 'queries'}.get(what, f'{what}s')}"
