"""Tables that read well in a terminal and are Markdown too."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Returns a Markdown table, every column as wide as it must be.

    Args:
        head: names of the columns.
        rows: cells, as many as `head` has.
        left: columns set to the left; the rest are numbers.
    """
    width = [max(3, *(len(row[column]) for row in (head, *rows))) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(_set(cell, width[i], i < left) for i, cell in enumerate(cells))} |"

    rule = ["-" * width[i] if i < left else "-" * (width[i] - 1) + ":" for i in range(len(head))]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def _set(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
