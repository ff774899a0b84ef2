"""How checks are told: a table for a person, JSON for a script, and the exit code for both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer

from watchline.pipeline.checks import Check, Health


def tell(checks: Sequence[Check], as_json: bool) -> None:
    """Prints what was found; ends with exit status 1 if something must be mended."""
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _show(checks)
    if any(check.health is Health.FAIL for check in checks):
        raise typer.Exit(1)


def _show(checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    marks = {Health.OK: ("ok", "green"), Health.WARN: ("warn", "yellow"), Health.FAIL: ("FAIL", "bold red")}
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        found = Text(check.found)
        if check.mend:
            found.append(f"\n-> {check.mend}", "italic")
        table.add_row(Text(*marks[check.health]), check.name, found)
    Console(highlight=False).print(table)
