"""Processes that erase, and are killed on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from tests.kit.cli import call

# What an erasure calls one after the other: where, its name, and the call of it at which the process is killed.
STEPS: Final = {
    "before the journal": ("store.erasing.begin", 1, "before"),
    "once the journal is written": ("store.erasing.begin", 1, "after"),
    "in the midst of the rows": ("store.erasing.delete_sightings", 2, "before"),
    "after the rows": ("store.erasing._truncate", 1, "before"),
    "before the search": ("store.erasing.search_files", 1, "before"),
    "before the exports are searched": ("erasure.search", 1, "before"),
    "before the proof": ("erasure.write_proof", 1, "before"),
    "after the proof": ("store.erasing.end", 1, "before"),
}


def erase_and_die(step: str, arguments: list[str]) -> None:
    """Runs `watchline erase`, and is killed at a step as the kernel or a loss of power would."""
    place, number, when = STEPS[step]
    module, _, name = f"watchline.pipeline.{place}".rpartition(".")
    called = import_module(module)
    with (
        patch("watchline.pipeline.store.erasing.BATCH", 2),
        patch.object(called, name, _deadly(getattr(called, name), number, when)),
    ):
        call("erase", *arguments)


def _deadly(work: Callable[..., Any], number: int, when: str) -> Callable[..., Any]:
    calls = 0

    def deadly(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        done = work(*arguments, **more) if calls != number or when == "after" else None
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return deadly


def claim_and_wait(store: Path, source: str, told: Any) -> None:
    """Claims a source of a store until it is killed."""
    from watchline.pipeline.store.sqlite import open_store

    with open_store(store).claim(source):
        told.send("claimed")
        signal.pause()
