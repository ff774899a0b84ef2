"""`python -m tests.bench.daemon_plot FILE`: the picture of docs/daemon.md, of what `daemon --json FILE` measured."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.bench.peers_venv import enter

if __name__ == "__main__":
    enter("tests.bench.daemon_plot")

from tests.bench.tracker_look import INK, PAPER, QUIET, RULE, plain_axes, pyplot, save

COLOURS: Final = {"openvino": "#0b6bcb", "cpu": "#2c8a4b"}
LABELS: Final = {"openvino": "OpenVINO", "cpu": "ONNX Runtime"}
PANELS: Final[tuple[tuple[str, Callable[[dict[str, Any]], float]], ...]] = (
    ("frames analysed a second, of each camera", lambda load: float(load["fps"][1])),
    ("age of a frame once tracked, 95 of 100, ms", lambda load: float(load["age_ms"][1])),
    ("processor, % of a core", lambda load: float(load["cpu_percent"])),
    ("memory, MB", lambda load: float(load["memory_bytes"] / 1e6)),
)


def main() -> None:
    """Draws the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.daemon_plot", description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--out", type=Path, metavar="FILE", default=Path("docs/daemon.svg"))
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
        for device in sorted({load["device"] for load in loads}):
            its = sorted((load for load in loads if load["device"] == device), key=lambda load: load["cameras"])
            look = {"color": COLOURS.get(device, QUIET), "linewidth": 2.2, "marker": "o", "markersize": 4}
            across, up = [load["cameras"] for load in its], [value(load) for load in its]
            axes.plot(across, up, label=LABELS.get(device, device), clip_on=False, **look)
            if axes is panels[0][0]:
                least, most = ([load["fps"][end] for load in its] for end in (0, 2))
                axes.fill_between(across, least, most, color=look["color"], alpha=0.2, linewidth=0)
        axes.set_ylim(bottom=0)
    for axes in panels[1]:
        axes.set_xlabel("cameras, 1280x720, 25 fps, H.264; five frames a second asked for", color=QUIET, fontsize=9)
    panels[0][0].legend(frameon=False, labelcolor=INK, fontsize=10, loc="lower left")
    figure.tight_layout()
    save(figure, arguments.out)


if __name__ == "__main__":
    main()
