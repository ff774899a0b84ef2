"""A sheet for people: a table on the terminal, or Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from watchline.pipeline.bench.sheet import DETECTOR, NETWORK, OURS, Row, Sheet

_HEAD: Final = ("measured", "batch", "side", "fps", "p50 ms", "p95 ms", "CPU ms", "MB")
_RATIOS: Final = ("fps", "CPU", "memory")
_WIDE: Final = 120
_TEXTS: Final = (0, 2)  # columns set to the left


def terminal(sheet: Sheet) -> None:
    """Prints the sheet on the terminal."""
    from rich.console import Console
    from rich.table import Table

    head, rows = cells(sheet)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i in _TEXTS else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)  # a file has room for whole words
    console.print(table)
    for line in facts(sheet):
        console.print(line, markup=False, soft_wrap=True)


def markdown(sheet: Sheet) -> str:
    """Returns the sheet as Markdown: a table, then a list."""
    head, rows = cells(sheet)
    return "\n".join([*markdown_table(head, rows, _TEXTS), "", *(f"- {line}" for line in facts(sheet))])


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int] = (0,)) -> list[str]:
    """Returns the lines of a Markdown table, as wide as its cells; `texts` are the columns set to the left."""
    width = [max(3, *(len(row[i]) for row in (head, *rows))) for i in range(len(head))]
    rule = ["-" * width[i] if i in texts else "-" * (width[i] - 1) + ":" for i in range(len(head))]
    lines = []
    for row in (head, rule, *rows):
        set_cells = [cell.ljust(width[i]) if i in texts else cell.rjust(width[i]) for i, cell in enumerate(row)]
        lines.append(f"| {' | '.join(set_cells)} |")
    return lines


def cells(sheet: Sheet) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns the head and the rows of the sheet's table."""
    if not sheet.against:
        return _HEAD, [_cells(row) for row in sheet.rows]
    rows = [(*_cells(row), *ratio_cells(sheet, row)) for row in sheet.rows]
    return (*_HEAD, *_RATIOS), rows


def ratio_cells(sheet: Sheet, row: Row) -> tuple[str, str, str]:
    """Returns the ratios to the original, empty where there is none to compare with."""
    if sheet.other(row) is None:
        return "", "", ""
    ratio = sheet.ratio(row)
    return f"{ratio.fps:.2f}x", f"{ratio.cpu:.2f}x", f"{ratio.memory:.2f}x" if ratio.memory else "?"


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.part,
        str(row.batch),
        row.side,
        f"{row.fps:.1f}",
        f"{row.p50_ms:.1f}",
        f"{row.p95_ms:.1f}",
        f"{row.cpu_ms:.1f}",
        f"{row.peak_memory_bytes / 1e6:.0f}" if row.peak_memory_bytes else "?",
    )


def facts(sheet: Sheet) -> list[str]:
    """Returns what a reader of the table must know, a line each."""
    height, width = sheet.size
    lines = [
        f"model: {sheet.model} ({sheet.family} {sheet.task}, sha256 {sheet.sha256[:12]}), input {height}x{width}",
        f"ran on: {sheet.device} ({sheet.provider}){f'; {sheet.note}' if sheet.note else ''}",
        f"threads: {sheet.threads} of each side",
        f"pictures: {sheet.pictures}; {sheet.held_bytes / 1e6:.0f} MB of them are in each side's memory",
        f"machine: {_machine(sheet)}",
        *(f"versions of {side}: {_versions(found)}" for side, found in sheet.versions.items()),
        f"timed: {sheet.seconds:g} s a row, after a warm-up{'; the sides took turns' if sheet.against else ''}",
        f"{NETWORK}: inference alone; {DETECTOR}: from a picture in memory to its boxes",
        "fps: by the clock; p50, p95: of a call, all its frames; CPU ms: of the process, a frame; MB: its peak so far",
    ]
    if sheet.against:
        lines.append("ratios: fps, how many times the original's; CPU, how many times less; memory, what part of it")
    return [*lines, *consistency(sheet), *sheet.remarks]


def consistency(sheet: Sheet) -> list[str]:
    """Returns how far both sides agree, on no line or one."""
    found = sheet.consistency
    if found is None:
        return []
    if not found.theirs:
        return [f"consistency: the original finds nothing in {found.frames} pictures, ours {found.ours} boxes"]
    loose, tight = found.matched / found.theirs, found.matched_tightly / found.theirs
    again = f"{loose:.1%} at IoU 0.5 and {tight:.1%} at IoU 0.9 are among the {found.ours} of {OURS}"
    apart = f"they differ by {found.mean_px:.2g} px a side on average and {found.max_px:.2g} px at most"
    scores = f"in score by {found.mean_score:.1g} and {found.max_score:.1g}"
    return [
        f"consistency: of {found.theirs} boxes of the original in {found.frames} pictures {again}; {apart}, {scores}"
    ]


def _machine(sheet: Sheet) -> str:
    machine = sheet.machine
    cores = f"{machine.cores} usable core{'s' * (machine.cores > 1)}"
    busy = f"; other programs took {machine.others:.1f} of them meanwhile" if machine.others >= 0 else ""
    return f"{machine.cpu}, {machine.memory_bytes / 1e9:.0f} GB, {machine.system}, {cores}{busy}"


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items() if version != "not installed")
