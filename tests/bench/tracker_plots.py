"""`python -m tests.bench.tracker_plots`: the pictures and tables of docs/trackers.md.

`--cost` takes what `python -m tests.bench.tracker_peers --json` wrote, `--accuracy` what `tracker_accuracy --json` did;
without them only the gallery is drawn.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.bench.peers_venv import enter

if __name__ == "__main__":
    enter("tests.bench.tracker_plots")

import numpy as np

from tests.bench.tracker_gallery import draw_gallery
from tests.bench.tracker_look import COLOURS, INK, PAPER, QUIET, RULE, plain_axes, pyplot, save
from tests.bench.tracker_side import FAMILIES

_LABEL_GAP: Final = 0.055  # least distance of two labels, as a part of the axis


def main() -> None:
    """Draws tracker-cost.svg and tracker-gallery.png, and puts the tables into trackers.md beside them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tracker_plots", description=__doc__)
    parser.add_argument("--cost", type=Path, metavar="FILE", help="figures of the speed benchmark")
    parser.add_argument("--accuracy", type=Path, metavar="FILE", help="figures of the accuracy benchmark")
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=Path("docs"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for kind, path in (("speed", arguments.cost), ("accuracy", arguments.accuracy)):
        if path is not None:
            put_tables(arguments.out / "trackers.md", kind, json.loads(path.read_text()))
    if arguments.cost:
        draw_cost(json.loads(arguments.cost.read_text()), arguments.out / "tracker-cost.svg")
    draw_gallery(arguments.out / "tracker-gallery.png")


def put_tables(page: Path, kind: str, figures: dict[str, Any]) -> None:
    """Replaces what stands on the page between the comments `kind, FAMILY` and `end` by the table measured last."""
    text = page.read_text() if page.exists() else ""
    for family in FAMILIES:
        begin, end = f"<!-- {kind}, {family} -->\n", "<!-- end -->"
        head, found, rest = text.partition(begin)
        if found:
            text = f"{head}{begin}{figures[family]['table']}\n{end}{rest.partition(end)[2]}"
    if text:
        page.write_text(text)


def draw_cost(figures: dict[str, Any], path: Path) -> None:
    """Draws the median cost of an update against the detections in a frame, one panel for each family."""
    plt = pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(12, 5.4), sharex=True, sharey=True, facecolor=PAPER)
    crowds = [name for name in figures["scenes"] if name.startswith(("SYN-", "crowd-")) and name != "crowd-27"]
    across = np.array([figures["scenes"][name] for name in crowds])
    lowest, highest = 2.5, 1.6e5
    for axes, family in zip(panels, FAMILIES, strict=True):
        plain_axes(axes)
        axes.set(xscale="log", yscale="log", xlim=(8, 620), ylim=(lowest, highest))
        axes.set_title(family, loc="left", color=INK, fontsize=13, fontweight="bold", pad=10)
        axes.set_xticks([10, 50, 200, 500], ["10", "50", "200", "500"])
        axes.set_yticks([10, 100, 1e3, 1e4, 1e5], ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"])
        axes.minorticks_off()
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_xlabel("detections in a frame", color=QUIET)
        ends = []
        for name, side in figures[family]["sides"].items():
            if name.endswith(", Python") and name.removesuffix(", Python") in figures[family]["sides"]:
                continue  # the twin of a native one
            ours, colour = name.startswith("watchline"), COLOURS[name.removesuffix(", Python")]
            up = np.array([side["median_us"][crowd] for crowd in crowds])
            style = (0, (1, 1.6)) if side["language"] == "Python" else "-"
            line = {"color": colour, "linewidth": 2.6 if ours else 1.5, "linestyle": style, "zorder": 3 if ours else 2}
            axes.plot(across, up, **line, marker="o", markersize=5 if ours else 3.5, clip_on=False)
            ends.append((float(up[-1]), f"{name.removesuffix(', Python')}  ", f"N^{side['growth']:.1f}", colour, ours))
        places = _apart([np.log(end[0] / lowest) / np.log(highest / lowest) for end in ends])
        for place, (_, name, power, colour, ours) in zip(places, ends, strict=True):
            text = f"{name}$N^{{{power[2:]}}}$"
            axes.text(
                1.03, place, text, transform=axes.transAxes, va="center", color=colour, fontsize=10,
                fontweight="bold" if ours else "normal",
            )  # fmt: skip
    panels[0].set_ylabel("CPU time of one update, median", color=QUIET)
    figure.text(
        0.01,
        0.015,
        "solid: C++ and Rust; dotted: Python; N: how the cost grows with the crowd, from 50 to 500 people",
        color=QUIET,
        fontsize=9,
    )
    figure.subplots_adjust(left=0.07, right=0.81, top=0.9, bottom=0.16, wspace=0.72)
    save(figure, path)


def _apart(places: list[float]) -> list[float]:
    """Returns `places` in their order, moved no more than is needed for labels there not to touch."""
    order, moved = np.argsort(places), np.array(places, np.float64)
    for _ in range(200):
        for low, high in pairwise(order):
            if (short := _LABEL_GAP - (moved[high] - moved[low])) > 0:
                moved[low] -= short / 2
                moved[high] += short / 2
    return [float(place) for place in moved]


if __name__ == "__main__":
    main()
