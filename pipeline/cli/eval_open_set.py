"""`watchline eval reid --open-set`: how many of a watch list are found, at which rate of false alarms?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from watchline.streams.errors import UsageError

if TYPE_CHECKING:
    from watchline.reid.features import FeatureSet
    from watchline.reid.open_set import LeftOut, Pool, Result

_TOLD: Final = (0.01, 0.001)  # rates of the table


def measure_open_set(
    path: Path, features: FeatureSet, draws: int, people_only: bool, plot: Path | None, as_json: bool
) -> None:
    """Draws watch lists from `features` of `path` and prints what they showed.

    Raises:
        UsageError: the features do not say who is in the pictures, or are too few for every watch list.
    """
    from watchline.reid.open_set import LeftOut, Pool, Result, evaluate

    pool = Pool.of(features, distractors=not people_only)
    found = list(evaluate(pool, draws=draws))
    results = [each for each in found if isinstance(each, Result)]
    left_out = [each for each in found if isinstance(each, LeftOut)]
    if not results:
        raise UsageError(f"too few people for any watch list: {left_out[0].why}")
    if plot is not None:
        from watchline.pipeline.files import write_whole
        from watchline.pipeline.open_set_plot import draw_open_set

        write_whole(plot, draw_open_set(path.name, results), "--plot")
    if as_json:
        typer.echo(json.dumps(_record(pool, draws, results, left_out)))
    else:
        _show(pool, results, left_out)


def _record(pool: Pool, draws: int, results: Sequence[Result], left_out: Sequence[LeftOut]) -> dict[str, object]:
    return {
        "draws": draws,
        "tracklets": len(pool.vectors),
        "watch_lists": [_row(each) for each in results],
        "left_out": [{"size": each.size, "enrolled_by": each.enrolled_by, "why": each.why} for each in left_out],
    }


def _row(result: Result) -> dict[str, object]:
    """Returns one result as JSON has it: all shares in percent."""
    from watchline.reid.open_set import RATES

    columns = {"target_fpir": _percent(RATES)}
    for name, told in (
        ("found", "dir"),
        ("people", "people"),
        ("realised", "realised_fpir"),
        ("at_rate", "dir_at_fpir"),
    ):
        columns[told] = _percent(result.mean(name))
        columns[f"{told}_spread"] = _percent(result.spread(name))
    return {
        "size": result.size,
        "enrolled_by": result.enrolled_by,
        "scored_by": str(result.way),
        "first": round(100 * result.first, 2),
        "probes": [draw.probes for draw in result.draws],
        "others": [draw.others for draw in result.draws],
        **columns,
    }


def _percent(shares: Iterable[float]) -> list[float]:
    return [round(100 * float(share), 3) for share in shares]


def _show(pool: Pool, results: Sequence[Result], left_out: Sequence[LeftOut]) -> None:
    titles = [title for rate in _TOLD for title in (f"DIR@{100 * rate:g} %", "realised", "people")]
    typer.echo(_line("scored by", [*titles, "first"]))
    told = ""
    for result in results:
        heading = _list(result.size, result.enrolled_by)
        if heading != told:
            typer.echo(f"\n{heading}")
        typer.echo(_line(f"  {result.way}", [*_cells(result), f"{100 * result.first:.1f}"]))
        told = heading
    for line in _notes(pool, results, left_out):
        typer.echo(line)


def _line(name: str, cells: Sequence[str]) -> str:
    widths = (11, 12, 8) * len(_TOLD) + (7,)
    return f"{name:9s}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _cells(result: Result) -> list[str]:
    from watchline.reid.open_set import RATES

    cells = []
    for rate in _TOLD:
        at = min(range(len(RATES)), key=lambda i: abs(RATES[i] - rate))
        for name, digits in (("found", 1), ("realised", 2)):
            mean, spread = 100 * result.mean(name)[at], 100 * result.spread(name)[at]
            cells.append(f"{mean:.{digits}f} ±{spread:{digits + 3}.{digits}f}")
        cells.append(f"{100 * result.mean('people')[at]:.0f}")
    return cells


def _notes(pool: Pool, results: Sequence[Result], left_out: Sequence[LeftOut]) -> list[str]:
    draws, distractors = len(results[0].draws), int((~pool.named).sum())
    rare = 100 * _TOLD[-1]
    fewest = min(draw.others for result in results for draw in result.draws)
    tracklets = f"{len(pool.vectors):,} tracklets, {distractors:,} of them distractors"
    lines = [
        f"\nmean and deviation over {draws:,} draw{'s' if draws > 1 else ''}, in percent; {tracklets}",
        "DIR: tracklets of the watch list that are found. people: of the watch list, found at least once",
        "first: the right one is the best. The threshold is set for the rate by half of the others;",
        "realised: the rate that the other half showed",
    ]
    if fewest * _TOLD[-1] < 1:
        lines.append(f"the other half is {fewest:,} tracklets or more: of so few {rare:g} % is less than one")
    return lines + [f"left out: {_list(each.size, each.enrolled_by)}: {each.why}" for each in left_out]


def _list(size: int, cameras: int) -> str:
    """Returns a watch list in words.

    >>> _list(1, 2)
    '1 person, enrolled by 2 cameras'
    """
    return f"{size} {'person' if size == 1 else 'people'}, enrolled by {cameras} camera{'' if cameras == 1 else 's'}"
