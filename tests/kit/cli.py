"""The `watchline` command within the test's own process: quick, for all that needs no process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from watchline.pipeline.cli.app import app
from watchline.streams.errors import WatchlineError


@dataclass(frozen=True)
class Said:
    """How a command ended: what it printed, and the error's line."""

    code: int
    out: str
    err: str


def call(*arguments: str | Path, answer: str | None = None) -> Said:
    """Runs a command; `answer` is typed into it. An error of ours becomes its line and code, as `main` does it."""
    done = CliRunner().invoke(app, list(map(str, arguments)), input=answer)
    if isinstance(done.exception, WatchlineError):
        return Said(done.exception.exit_code, done.stdout, f"{done.stderr}{done.exception}")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)
