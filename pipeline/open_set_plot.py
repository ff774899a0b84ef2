"""The picture of `watchline eval reid --open-set`: how many are found, and do thresholds keep their word, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from watchline.pipeline.templating import render
from watchline.reid.open_set import RATES, Result, Way
from watchline.reid.rates import F64

_TOP, _BOTTOM = 92.0, 352.0  # of the axes, in units of the picture
_LEFTS: Final = (56.0, 448.0)  # of both pictures
_WIDTH: Final = 290.0
_FLOOR, _CEILING = 1e-4, 0.3  # of realised rates
_LONGEST_NAME: Final = 48


@dataclass(frozen=True, slots=True)
class _Curve:
    size: int
    hue: int
    plain: bool  # by cosine alone
    found: str
    realised: str


def draw_open_set(name: str, results: Sequence[Result]) -> str:
    """Returns an SVG document, readable on light and on dark pages.

    Args:
        name: of the file that was measured.
        results: at least one; drawn are those enrolled by most cameras, scored with everything and by cosine alone.
    """
    cameras = max(each.enrolled_by for each in results)
    drawn = [each for each in results if each.enrolled_by == cameras and each.way in (Way.COSINE, Way.COHORT)]
    drawn = drawn or [each for each in results if each.enrolled_by == cameras]
    sizes = sorted({each.size for each in drawn})
    curves = [
        _Curve(
            each.size,
            sizes.index(each.size),
            each.way is Way.COSINE,
            _points(_LEFTS[0], each.mean("at_rate"), _share_y),
            _points(_LEFTS[1], each.mean("realised"), _rate_y),
        )
        for each in drawn
    ]
    return render(
        "open_set.svg.j2",
        name=name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…",
        draws=len(drawn[0].draws),
        cameras=cameras,
        curves=curves,
        sizes=list(enumerate(sizes)),
        lefts=_LEFTS,
        width=_WIDTH,
        top=_TOP,
        bottom=_BOTTOM,
        ticks=[(f"{100 * rate:g}", _x(0, rate)) for rate in (0.001, 0.01, 0.1)],
        shares=[(f"{20 * i}", _share_y(i / 5)) for i in range(6)],
        rates=[(f"{100 * rate:g}", _rate_y(rate)) for rate in (0.0001, 0.001, 0.01, 0.1)],
        wanted=_points(_LEFTS[1], RATES, _rate_y),
        twice=_points(_LEFTS[1], [2 * rate for rate in RATES], _rate_y),
        half=_points(_LEFTS[1], [rate / 2 for rate in RATES], _rate_y),
    )


def _points(left: float, values: F64 | Sequence[float], place: Callable[[float], float]) -> str:
    return " ".join(f"{_x(left, rate)},{place(float(value))}" for rate, value in zip(RATES, values, strict=True))


def _x(left: float, rate: float) -> float:
    return round(left + _WIDTH * math.log(rate / RATES[0]) / math.log(RATES[-1] / RATES[0]), 1)


def _share_y(share: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * share, 1)


def _rate_y(rate: float) -> float:
    within = min(max(rate, _FLOOR), _CEILING)  # none at all is drawn at the floor
    return round(_BOTTOM - (_BOTTOM - _TOP) * math.log(within / _FLOOR) / math.log(_CEILING / _FLOOR), 1)
