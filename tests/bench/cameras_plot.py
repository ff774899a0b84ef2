"""`python -m tests.bench.cameras_plot FILE`: the picture of docs/cameras.md, of what `cameras --json FILE` measured."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bench.peers_venv import enter

if __name__ == "__main__":
    enter("tests.bench.cameras_plot")

from tests.bench.tracker_look import INK, PAPER, QUIET, RULE, plain_axes, pyplot, save

COLOURS: Final = {
    "watchline": "#0b6bcb",
    "watchline, 4 a process": "#57a5e8",
    "PyAV": "#2c8a4b",
    "OpenCV": "#d4650a",
}
PANELS: Final[tuple[tuple[str, Callable[[dict[str, Any]], float]], ...]] = (
    ("frames a second, of the slowest camera", lambda load: float(load["least_fps"])),
    ("age of a frame when taken, 95 of 100, ms", lambda load: float(load["age_ms"][1])),
    ("processor a camera, % of a core", lambda load: float(load["cpu_percent"] / load["cameras"])),
    ("memory, MB", lambda load: float(load["memory_bytes"] / 1e6)),
)


def main() -> None:
    """Draws cameras.svg."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cameras_plot", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=Path("docs"))
    arguments = parser.parse_args()
    loads = json.loads(arguments.figures.read_text())
    plt = pyplot()
    figure, panels = plt.subplots(2, 2, figsize=(11, 6.6), facecolor=PAPER, sharex=True)
    counts = sorted({load["cameras"] for load in loads})
    for axes, (title, value) in zip(panels.flat, PANELS, strict=True):
        plain_axes(axes)
        axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold", pad=8)
        axes.set(xscale="log", xlim=(counts[0] * 0.9, counts[-1] * 1.1))
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        for side, colour in COLOURS.items():
            points = [
                (
                    count,
                    statistics.median(
                        value(load) for load in loads if (load["side"], load["cameras"]) == (side, count)
                    ),
                )
                for count in counts
                if any((load["side"], load["cameras"]) == (side, count) for load in loads)
            ]
            if points:
                across, up = zip(*points, strict=True)
                wide = 2.6 if side.startswith("watchline") else 1.5
                axes.plot(across, up, color=colour, linewidth=wide, marker="o", markersize=4, label=side, clip_on=False)
        axes.set_ylim(bottom=0)
    for axes in panels[1]:
        axes.set_xlabel("cameras, 1280x720, 25 fps, H.264, five frames a second taken of each", color=QUIET, fontsize=9)
    panels[0][0].legend(frameon=False, labelcolor=INK, fontsize=10, loc="lower left")
    figure.tight_layout()
    save(figure, arguments.out / "cameras.svg")


if __name__ == "__main__":
    main()
