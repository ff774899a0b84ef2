"""How the pictures look: one colour for each tracker, the same in all of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

PAPER: Final = "#ffffff"  # a card of its own: readable on light and dark pages
INK: Final = "#1f2328"
QUIET: Final = "#656d76"
RULE: Final = "#e6e9ed"
COLOURS: Final = {
    "watchline": "#0b6bcb",
    "watchline, reference": "#57a5e8",
    "pyxtrackers": "#d4650a",
    "edgefirst": "#2c8a4b",
    "visiontrack": "#8048c9",
    "ioutrack": "#c0307f",
    "trackers": "#0c8590",
    "ultralytics": "#8c7300",
    "boxmot": "#767c85",
    "boxmot, C++": "#4c525a",
}


def pyplot() -> Any:
    """Returns matplotlib's pyplot, set to draw into files, the same file every time."""
    importlib.import_module("matplotlib").use("Agg")
    plt = importlib.import_module("matplotlib.pyplot")
    plt.rcParams.update({"svg.hashsalt": "watchline", "svg.fonttype": "path", "font.family": "DejaVu Sans"})
    plt.rcParams.update({"font.size": 10, "mathtext.default": "regular"})
    return plt


def plain_axes(axes: Any) -> None:
    """Leaves of the frame what is needed."""
    axes.set_facecolor(PAPER)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=QUIET, length=0, labelsize=9.5)


def save(figure: Any, path: Path) -> None:
    """Writes the picture without a date, so that an equal picture is an equal file."""
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, facecolor=figure.get_facecolor(), dpi=140, metadata=metadata)
    if path.suffix == ".png":
        with importlib.import_module("PIL.Image").open(path) as picture:
            small = picture.convert("RGB").quantize(256)
        small.save(path, optimize=True)
    print(f"wrote {path} ({path.stat().st_size / 1e3:.0f} kB)")
