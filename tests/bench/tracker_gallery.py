"""The same crowd followed by each tracker: every person a line, every id a colour, every switch a ring."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.bench.tracker_look import COLOURS, INK, PAPER, QUIET, RULE, pyplot, save
from tests.bench.tracker_scenes import Row, Scene, square
from tests.bench.tracker_side import FAMILIES, Side
from tests.bench.tracker_sides import REFERENCE, sorted_out
from watchline.detectors.boxes import iou_matrix
from watchline.trackers.kalman import F64
from watchline.trackers.tracks import I64

_COLUMNS: Final = 4
_CROSSING: Final = 48  # people
_PEOPLE: Final = (
    "#0b6bcb", "#e07b00", "#2c8a4b", "#8048c9", "#c0307f", "#0c8590", "#a38600", "#5a6fd6", "#b5532a", "#4f9d2f",
    "#9b4db0", "#1f9ac0",
)  # fmt: skip
_OTHER: Final = 5  # steps to the colour of a second id that is nobody else's
_SWITCH: Final = "#d1242f"


def draw_gallery(path: Path) -> None:
    """Draws one panel for each tracker that runs here, and one that says how to read them."""
    scene = square(_CROSSING)
    chosen = sorted((side for family in FAMILIES for side in _one_of_each(family)), key=_ours_first)
    lines = -(-(len(chosen) + 1) // _COLUMNS)
    plt = pyplot()
    size = (12, 0.25 + 2.25 * lines)
    figure, grid = plt.subplots(lines, _COLUMNS, figsize=size, facecolor=PAPER, squeeze=False)
    panels = list(grid.flat)
    _draw_legend(panels[0], scene)
    for axes, side in zip(panels[1:], chosen, strict=False):
        _draw_panel(axes, side, scene)
    for axes in panels[len(chosen) + 1 :]:
        axes.set_axis_off()
    figure.subplots_adjust(
        left=0.01, right=0.99, top=1 - 0.55 / size[1], bottom=0.1 / size[1], wspace=0.06, hspace=0.36
    )
    save(figure, path)


def _ours_first(side: Side) -> tuple[bool, bool]:
    return not side.ours, side.ours and side.name.startswith(REFERENCE)


def _one_of_each(family: str) -> list[Side]:
    """Returns the trackers of a family that run here; of twins the native one."""
    here, _ = sorted_out(family)
    native = {side.twin for side in here}
    return [side for side in here if side.name not in native]


def _draw_panel(axes: Any, side: Side, scene: Scene) -> None:
    rows = side.follow(scene.frames)
    scores = scene.scores(side.tracks(scene))
    _ground(axes, scene)
    name = side.name.removesuffix(", Python")
    axes.text(0, 1.16, name, transform=axes.transAxes, color=COLOURS[name], fontsize=10.5, fontweight="bold")
    axes.text(1, 1.16, side.family, transform=axes.transAxes, color=QUIET, fontsize=9, ha="right")
    switched = f"{scores.switches} switch{'' if scores.switches == 1 else 'es'}"
    axes.text(0, 1.04, f"HOTA {100 * scores.hota:.1f}", transform=axes.transAxes, color=INK, fontsize=9)
    axes.text(1, 1.04, switched, transform=axes.transAxes, color=_SWITCH, fontsize=9, ha="right")
    known = _who_is_who(scene, rows)
    owner: dict[int, int] = {}
    for person, frames in known.items():
        for _, track, _ in frames:
            owner.setdefault(track, person)
    for person, frames in known.items():
        _draw_person(axes, person, frames, owner)


def _draw_person(axes: Any, person: int, frames: list[tuple[int, int, F64]], owner: dict[int, int]) -> None:
    """Draws where a person was followed: a line breaks where nobody was reported, and changes colour with the id."""
    first = frames[0][1]
    begin = 0
    for i in range(1, len(frames) + 1):
        if i == len(frames) or frames[i][1] != frames[i - 1][1] or frames[i][0] != frames[i - 1][0] + 1:
            track = frames[begin][1]
            index = owner[track] if owner[track] != person or track == first else person + _OTHER
            way = np.array([place for _, _, place in frames[begin:i]])
            axes.plot(way[:, 0], way[:, 1], color=_PEOPLE[index % len(_PEOPLE)], linewidth=1.4, solid_capstyle="round")
            begin = i
        if i < len(frames) and frames[i][1] != frames[i - 1][1]:
            x, y = frames[i][2]
            axes.plot(
                x, y, "o", markersize=7, markerfacecolor="none", markeredgecolor=_SWITCH, markeredgewidth=1.5, zorder=4
            )


def _draw_legend(axes: Any, scene: Scene) -> None:
    _ground(axes, scene)
    head = f"{scene.people} people cross a square"
    axes.text(0, 1.16, head, transform=axes.transAxes, color=INK, fontsize=10.5, fontweight="bold")
    axes.text(0, 1.04, "one who walks behind another is missed", transform=axes.transAxes, color=QUIET, fontsize=9)
    legend = importlib.import_module("matplotlib.lines").Line2D
    ring = {"marker": "o", "markerfacecolor": "none", "markeredgecolor": _SWITCH, "markeredgewidth": 1.5}
    signs = {
        "where they walked": legend([], [], color="#c9ced4", linewidth=1.5),
        "followed; a colour is an id": legend([], [], color=_PEOPLE[0], linewidth=2),
        "the id switched": legend([], [], linestyle="none", markersize=7, **ring),
    }
    key = axes.legend(
        signs.values(), signs.keys(), loc="center", fontsize=9, labelcolor=INK, facecolor=PAPER, framealpha=0.94,
        edgecolor=RULE, borderpad=0.8,
    )  # fmt: skip
    key.set_zorder(5)


def _ground(axes: Any, scene: Scene) -> None:
    """Draws where everybody really walked."""
    axes.set(xlim=(-20, 980), ylim=(565, 105), xticks=[], yticks=[], facecolor="#f8f9fb")
    for spine in axes.spines.values():
        spine.set_color(RULE)
    table = _truth(scene)
    for person in np.unique(table[:, 1]):
        way = table[table[:, 1] == person]
        axes.plot(way[:, 2] + way[:, 4] / 2, way[:, 3] + way[:, 5], color="#c9ced4", linewidth=1, zorder=1)


def _truth(scene: Scene) -> F64:
    return np.array([line.split(",")[:6] for line in scene.truth.splitlines()], np.float64)


def _who_is_who(scene: Scene, rows: list[Row]) -> dict[int, list[tuple[int, int, F64]]]:
    """Returns of each person the frames that it is followed in, with the id and the place of the feet.

    As CLEAR MOT has it: a pair overlaps by half; the pair of the frame before stays while it does; of the others those
    that overlap most.
    """
    assign = importlib.import_module("scipy.optimize").linear_sum_assignment
    table, last = _truth(scene), dict[int, int]()
    known: dict[int, list[tuple[int, int, F64]]] = {}
    for frame, (tracks, boxes) in enumerate(rows, 1):
        here = table[table[:, 0] == frame]
        people: I64 = here[:, 1].astype(np.int64)
        overlap = iou_matrix(np.column_stack([here[:, 2:4], here[:, 2:4] + here[:, 4:6]]), boxes)
        same = np.array([last.get(int(person), -1) for person in people])[:, None] == tracks[None]
        worth = np.where(overlap >= 0.5, overlap + 1000 * same, 0)
        for i, j in zip(*assign(-worth), strict=True):
            if worth[i, j] > 0:
                person, track = int(people[i]), int(tracks[j])
                feet = np.array([boxes[j, [0, 2]].mean(), boxes[j, 3]])
                known.setdefault(person, []).append((frame, track, feet))
                last[person] = track
    return known
