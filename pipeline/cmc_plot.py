"""The picture of `watchline eval reid`: share of queries found against how far one looks down the list, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchline.reid.evaluate import DEPTH, Scores

_TICKS: Final = (1, 2, 5, 10, 20, 50)
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 476.0, 64.0, 372.0  # of the axes, in units of the picture
_LONGEST_NAME: Final = 48


@dataclass(frozen=True, slots=True)
class _Curve:
    name: str
    points: str
    rank1: str
    mean_ap: str
    hue: int  # place in the palette of the template: the same for a variant in every picture


def draw_cmc(name: str, scores: Mapping[str, Scores]) -> str:
    """Returns an SVG document, readable on light and on dark pages; the best at rank 1 stands first in its list.

    Args:
        name: of the file that was measured.
        scores: of at least one way to rank.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    lowest = min(each.rank(1) for each in scores.values())
    floor = min(math.floor(10 * lowest) / 10, 0.9)
    curves = [
        _Curve(variant, _points(each, floor), f"{100 * each.rank(1):.2f}", f"{100 * each.mean_ap:.2f}", hue)
        for hue, (variant, each) in enumerate(scores.items())
    ]
    first = next(iter(scores.values()))
    step = 0.1 if floor >= 0.4 else 0.2
    levels = [1 - step * i for i in range(round((1 - floor) / step + 0.49) + 1) if 1 - step * i >= floor - 1e-9]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("cmc.svg.j2").render(
        name=name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…",
        queries=f"{first.queries:,}",
        gallery=f"{first.gallery:,}",
        curves=sorted(curves, key=lambda curve: -float(curve.rank1)),
        ticks=[(rank, _x(rank)) for rank in _TICKS],
        levels=[(f"{100 * level:.0f}", _y(level, floor)) for level in levels],
        left=_LEFT,
        right=_RIGHT,
        bottom=_BOTTOM,
    )


def _points(scores: Scores, floor: float) -> str:
    return " ".join(f"{_x(rank)},{_y(scores.rank(rank), floor)}" for rank in range(1, DEPTH + 1))


def _x(rank: int) -> float:
    # By the logarithm: the difference between ranks 1 and 2 is as large as that between 25 and 50.
    return round(_LEFT + (_RIGHT - _LEFT) * math.log(rank) / math.log(DEPTH), 1)


def _y(share: float, floor: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * (share - floor) / (1 - floor), 1)
