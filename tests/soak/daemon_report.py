"""What a soak found, for a person."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from tests.bench.table import table

_UNITS: Final = {"memory_bytes": ("memory, MB", 1e-6)}


def report(told: Mapping[str, Any]) -> str:
    """Returns the text of what `soak` returned."""
    head = f"seed {told['seed']}, {told['minutes']:g} minutes"
    if "looks" not in told:
        return "\n".join([head, *_verdict(told)])
    frames: Mapping[str, int] = told["frames"]
    page_s: Mapping[str, float] = told["page_s"]
    gaps = ", ".join(f"{count} {reason}" for reason, count in sorted(told["gaps"].items()))
    lines = [
        f"{head}: {len(told['faults'])} faults, {told['lives']} lives of the daemon, {told['looks']} looks",
        f"frames at the end of each life: {', '.join(f'{number} {what}' for what, number in frames.items())}",
        f"journal: {told['journal_lines'].get('tracks', 0)} lines, {sum(told['tracks'].values())} tracks; gaps: {gaps}",
        f"sightings: {told['stored']} stored",
        f"/metrics: {', '.join(f'{name} {1000 * page_s[name]:.0f} ms' for name in ('p50', 'p99', 'most'))}",
        "",
        _faults(told),
        "",
        _growth(told),
        "",
        *_verdict(told),
    ]
    return "\n".join(lines)


def _faults(told: Mapping[str, Any]) -> str:
    by_name: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in told["faults"]:
        by_name[one["name"]].append(one)
    rows = []
    for name, its in sorted(by_name.items()):
        times = [one["recovered_s"] for one in its if one["recovered_s"] is not None and one["cameras"]]
        middle, most = (f"{statistics.median(times):.1f}", f"{max(times):.1f}") if times else ("-", "-")
        rows.append([name, str(len(its)), middle, most, str(sum(bool(one["wrong"]) for one in its))])
    return table(["fault", "times", "well again s, p50", "most", "wrong"], rows)


def _growth(told: Mapping[str, Any]) -> str:
    rows = []
    for one in told["growth"]:
        name, factor = _UNITS.get(one["what"], (one["what"], 1.0))
        values = [f"{factor * one[key]:.2f}" for key in ("usual", "an_hour", "over_run", "bound")]
        rows.append([f"{name}, {one['role']}", *values, str(one["samples"])])
    return table(["growth of", "usual", "an hour", "over the run", "bound", "samples"], rows)


def _verdict(told: Mapping[str, Any]) -> list[str]:
    if not told["wrong"]:
        return ["nothing was wrong"]
    return [f"WRONG, {len(told['wrong'])} times; again with --seed {told['seed']}:", *told["wrong"]]
