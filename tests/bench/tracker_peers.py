"""`python -m tests.bench.tracker_peers`: the cost of one update, ours beside every tracker of the peers' venv.

Processor time of the calling thread around `update` alone, Python's call included; input objects are made before, in
each tracker's own form. All sides take turns, pass by pass, in one process; a frame counts with its least time of all
passes, since others use the machine too. Before any time is taken, each must really track, and ours must equal their
Python twins.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.peers_venv import enter

if __name__ == "__main__":
    enter("tests.bench.tracker_peers")  # before NumPy is loaded

import numpy as np

from tests.bench.table import table
from tests.bench.tracker_scenes import CROWDS, Scene, crowd, recorded
from tests.bench.tracker_side import FAMILIES, Side
from tests.bench.tracker_sides import sorted_out
from watchline.trackers.kalman import F64

_FRAMES = {10: 300, 50: 200, 200: 120, 500: 50}  # of the recorded crowds; those of our own: a third
_PASSES = {"C++": 5, "Rust": 5, "Python": 2}
_GROWTH_FROM = 50  # people
_SCORED_TO = 50  # people: how well larger crowds are followed says tracker_accuracy

Times = dict[str, F64]  # by scene, seconds of every frame


def main() -> None:
    """Prints a table for each family of trackers, and writes the figures where wanted."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tracker_peers", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--rounds", type=int, default=1, help="how many times the usual number of passes")
    arguments = parser.parse_args()
    chosen = scenes()
    figures: dict[str, object] = {"scenes": {scene.name: scene.crowd for scene in chosen}}
    print(f"thread CPU time; the clock itself takes {_clock_s() * 1e6:.2f} us of every figure")
    for family in FAMILIES:
        sides, missing = sorted_out(family)
        for side in list(sides):
            if fault := next(filter(None, (_fault(side, scene, sides) for scene in chosen)), ""):
                assert not side.ours, f"{side.name}: {fault}"
                sides.remove(side)
                missing[side.name] = fault
        times = measure(sides, chosen, arguments.rounds)
        for name, reason in missing.items():
            print(f"  left out: {family} of {name}: {reason}")
        text = _table(sides, chosen, times)
        print(f"\n{family}: us CPU an update, median / p95 over frames\n\n{text}\n", flush=True)
        figures[family] = {
            "table": text,
            "missing": missing,
            "sides": {side.name: _summary(side, chosen, times[side.name]) for side in sides},
        }
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def scenes() -> list[Scene]:
    """Returns the scenes: real and synthetic ones of the test data, our own crowds where those are missing."""
    street = recorded("MOT17-09-FRCNN")
    crowds = [(recorded(f"SYN-{people}-0"), people) for people in CROWDS]
    return [
        *([street] if street else []),
        crowd(27, 100),  # as dense as MOT17-04
        *(scene.first(_FRAMES[n]) if scene else crowd(n, _FRAMES[n] // 3) for scene, n in crowds),
    ]


def measure(sides: Sequence[Side], chosen: Sequence[Scene], rounds: int) -> dict[str, Times]:
    """Returns the time of every frame of every scene by side: the least of all passes, taken in turn."""
    times: dict[str, Times] = {side.name: {} for side in sides}
    for scene in chosen:
        inputs = {side.name: side.feed(scene.frames) for side in sides}
        gc.collect()
        gc.freeze()  # the inputs are no garbage to look through in somebody's update
        for number in range(max(_PASSES.values()) * rounds):
            for side in sides:
                if number < _PASSES[side.language] * rounds:
                    spent = _one_pass(side, inputs[side.name])
                    times[side.name][scene.name] = np.minimum(times[side.name].get(scene.name, np.inf), spent)
        gc.unfreeze()
    return times


def growth(chosen: Sequence[Scene], times: Times) -> float:
    """Returns the exponent of the line through log time and log detections a frame, from crowds of 50 on."""
    crowds = [scene for scene in chosen if scene.people >= _GROWTH_FROM]
    across = np.log([scene.crowd for scene in crowds])
    up = np.log([np.median(times[scene.name]) for scene in crowds])
    return float(np.polyfit(across, up, 1)[0])


def _one_pass(side: Side, inputs: list[tuple[object, ...]]) -> F64:
    update, clock, spent = side.make(), time.thread_time_ns, []
    for arguments in inputs:
        begin = clock()
        update(*arguments)
        spent.append(clock() - begin)
    return np.array(spent) / 1e9


def _clock_s() -> float:
    spent = [-(time.thread_time_ns() - time.thread_time_ns()) for _ in range(10_000)]
    return float(np.median(spent)) / 1e9


def _fault(side: Side, scene: Scene, sides: Sequence[Side]) -> str:
    """Returns what is wrong with a side's tracks; empty: nothing."""
    try:
        rows = side.follow(scene.frames)
    except Exception as error:
        if side.ours:
            raise
        return f"{type(error).__name__} in {scene.name}: {error}"
    sure = sum(int((score >= 0.6).sum()) for _, score in scene.frames)
    if not 0.5 * sure <= sum(len(ids) for ids, _ in rows) <= 1.2 * sure:
        return f"{sum(len(ids) for ids, _ in rows)} boxes in {scene.name}, of {sure} sure detections"
    if 0 < scene.people <= _SCORED_TO and (hota := scene.scores(side.tracks(scene)).hota) < 0.5:
        return f"HOTA is {100 * hota:.1f} in {scene.name}"
    twin = next((other for other in sides if other.name == side.twin), None)
    if twin is None:
        return ""
    for frame, (ours, theirs) in enumerate(zip(rows, twin.follow(scene.frames), strict=True), 1):
        if not np.array_equal(ours[0], theirs[0]) or not np.allclose(ours[1], theirs[1], rtol=0, atol=1e-6):
            return f"differs from its Python twin in frame {frame} of {scene.name}"
    return ""


def _summary(side: Side, chosen: Sequence[Scene], times: Times) -> dict[str, object]:
    return {
        "label": side.label,
        "language": side.language,
        "median_us": {name: float(np.median(spent)) * 1e6 for name, spent in times.items()},
        "p95_us": {name: float(np.percentile(spent, 95)) * 1e6 for name, spent in times.items()},
        "growth": growth(chosen, times),
    }


def _table(sides: Sequence[Side], chosen: Sequence[Scene], times: dict[str, Times]) -> str:
    medians = {side.name: [float(np.median(times[side.name][scene.name])) for scene in chosen] for side in sides}
    rows = [["detections a frame", "", *(f"{scene.crowd:.1f}" for scene in chosen), ""]]
    for side in sides:
        spent = [times[side.name][scene.name] * 1e6 for scene in chosen]
        cells = [f"{np.median(each):.1f} / {np.percentile(each, 95):.1f}" for each in spent]
        rows.append([side.label, side.language, *cells, f"{growth(chosen, times[side.name]):.2f}"])
    peers = [side for side in sides if not side.ours]
    if peers:
        best = [min(peers, key=lambda side: medians[side.name][column]) for column in range(len(chosen))]
        rows.append(["best peer", "", *(side.name for side in best), ""])
        twins = {side.twin for side in sides}
        for side in (side for side in sides if side.ours and side.name not in twins):
            ratios = [medians[side.name][i] / medians[peer.name][i] for i, peer in enumerate(best)]
            rows.append([f"{side.name} / best peer", side.language, *(f"{ratio:.2f}" for ratio in ratios), ""])
    heads = [scene.name.removesuffix("-FRCNN").removesuffix("-0") for scene in chosen]
    return table(["tracker", "done in", *heads, "growth"], rows, left=2)


if __name__ == "__main__":
    main()
