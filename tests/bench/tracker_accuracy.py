"""`python -m tests.bench.tracker_accuracy`: HOTA, MOTA, IDF1 and ID switches, ours beside every peer's.

All get the same detections, all are scored by `watchline.trackers.evaluate`. Sequences of one benchmark are added up;
MOT17 has its treatment of distractors. Needs the test data; without it only our own crowds are there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path

from tests.bench.peers_venv import enter

if __name__ == "__main__":
    enter("tests.bench.tracker_accuracy")  # before NumPy is loaded

from tests.bench.table import table
from tests.bench.tracker_scenes import CROWDS, Scene, crowd, recorded
from tests.bench.tracker_side import FAMILIES, Side
from tests.bench.tracker_sides import sorted_out
from watchline.trackers.evaluate import Scores

_SETS = {
    "MOT17 x4": ("MOT17-02-FRCNN", "MOT17-05-FRCNN", "MOT17-09-FRCNN", "MOT17-10-FRCNN"),
    "TUD-Campus": ("TUD-Campus",),
    "KITTI cars x4": tuple(f"KITTI-trk-{number}-car" for number in ("0000", "0006", "0011", "0020")),
    **{f"SYN-{people}": (f"SYN-{people}-0",) for people in CROWDS},
}
_CELL = "HOTA / MOTA / IDF1 / IDSW"


def main() -> None:
    """Prints a table for each family of trackers, and writes the figures where wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tracker_accuracy", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="keep the tracks there, as MOT files")
    arguments = parser.parse_args()
    sets = _sets()
    figures: dict[str, object] = {}
    for family in FAMILIES:
        sides, missing = sorted_out(family)
        sides = [side for side in sides if not _same_as_native(side, sides)]
        scores: dict[str, dict[str, Scores]] = {}
        for side in sides:
            try:
                scores[side.name] = {name: _scores(side, sets[name], arguments.out) for name in sets}
            except Exception as error:
                if side.ours:
                    raise
                missing[side.name] = f"{type(error).__name__}: {error}"
        sides = [side for side in sides if side.name in scores]
        for name, reason in missing.items():
            print(f"left out: {family} of {name}: {reason}")
        text = _table(sides, list(sets), scores)
        print(f"\n{family}: {_CELL}; bold: the best HOTA\n\n{text}\n", flush=True)
        sets_of = {name: {kind: asdict(score) for kind, score in scores[name].items()} for name in scores}
        figures[family] = {"table": text, "missing": missing, "sides": sets_of}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def _sets() -> dict[str, tuple[Scene, ...]]:
    found = {name: tuple(filter(None, map(recorded, names))) for name, names in _SETS.items()}
    whole = {name: scenes for name, scenes in found.items() if len(scenes) == len(_SETS[name])}
    if gone := sorted(found.keys() - whole.keys()):
        print(f"left out: {', '.join(gone)}: not in the test data; set WATCHLINE_TEST_DATA to the folder that has them")
    return whole or {scene.name: (scene,) for scene in (crowd(people, 100) for people in CROWDS)}


def _same_as_native(side: Side, sides: Sequence[Side]) -> bool:
    """Is it the Python twin of one that is there? The speed benchmark proves that both say the same."""
    return any(other.twin == side.name for other in sides)


def _scores(side: Side, scenes: Sequence[Scene], out: Path | None) -> Scores:
    tallies = []
    for scene in scenes:
        tracks = side.tracks(scene)
        tallies.append(scene.tally(tracks))
        if out:
            folder = out / side.family / side.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{scene.name}.txt").write_text(tracks)
    return reduce(add, tallies).scores()


def _table(sides: Sequence[Side], sets: Sequence[str], scores: dict[str, dict[str, Scores]]) -> str:
    best = {name: max(round(100 * scores[side.name][name].hota, 1) for side in sides) for name in sets}
    return table(
        ["tracker", *sets],
        [[side.label, *(_cell(scores[side.name][name], best[name]) for name in sets)] for side in sides],
    )


def _cell(score: Scores, best: float) -> str:
    hota = f"{100 * score.hota:.1f}"
    first = f"**{hota}**" if float(hota) >= best else hota
    return f"{first} / {100 * score.mota:.1f} / {100 * score.idf1:.1f} / {score.switches}"


if __name__ == "__main__":
    main()
