"""Progress on a terminal; no bars anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from watchline.detectors.catalog import Entry
from watchline.detectors.fetch import fetch
from watchline.pipeline.graph import Progress

Show: TypeAlias = Callable[[Progress], None]

_PERIOD_S = 0.1  # between two looks at the screen


@contextmanager
def run_progress(name: str, frames: int | None, *, quiet: bool) -> Iterator[Show]:
    """Gives what to call after each frame; draws on stderr where that is a terminal and `quiet` is not asked for.

    Args:
        name: of the input.
        frames: announced; None draws a bar without an end.
        quiet: draw nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.1f} fps"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[now]} now"),
    )
    started = last = time.monotonic()
    with Bars(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        task = bars.add_task(name, total=frames, fps=0.0, now=0)

        def show(progress: Progress) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _PERIOD_S:
                last = now
                fps = progress.processed / (now - started)
                bars.update(task, completed=progress.decoded, fps=fps, now=progress.tracks)

        yield show


@contextmanager
def count_progress(name: str, total: int, unit: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Gives what to call with how many are done; draws on stderr where that is a terminal and `quiet` is not asked for.

    Args:
        name: of the work.
        total: how many there are.
        unit: what they are, such as "pictures".
        quiet: draw nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TextColumn(unit, markup=False), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        task = bars.add_task(name, total=total)
        yield lambda done: bars.update(task, completed=done)


def fetch_shown(entry: Entry, cache: Path, mirror: str, stop: threading.Event | None = None) -> Path:
    """Returns the file of `entry`, fetched if need be.

    Sentences, and a bar where that is a terminal, go to stderr. When `stop` is set it ends with a `KeyboardInterrupt`;
    what has come so far is kept for the next try.
    """
    with bytes_shown(entry.name) as (progress, announce):

        def stoppable(done_bytes: int, total_bytes: int) -> None:
            if stop and stop.is_set():
                raise KeyboardInterrupt
            progress(done_bytes, total_bytes)

        return fetch(entry, cache, mirror or None, stoppable, announce)


@contextmanager
def bytes_shown(name: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[str], None]]]:
    """Gives what to call with the bytes had so far and in all, 0 for unknown, and with a sentence to say; on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    hidden = not console.is_terminal
    with Bars(*columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden) as bars:
        task = bars.add_task(name, total=None, start=False)

        def progress(done_bytes: int, total_bytes: int) -> None:
            bars.start_task(task)
            bars.update(task, completed=done_bytes, total=total_bytes or None)

        def announce(text: str) -> None:
            bars.console.print(text, markup=False, highlight=False, soft_wrap=True)  # above the bar, not into it

        yield progress, announce
