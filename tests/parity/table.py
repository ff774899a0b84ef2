"""Prints the parity table of docs/models.md: every network that its authors' code builds here, beside ours.

    WATCHLINE_UPSTREAM=folder .venv/bin/python -m tests.parity.table [NAME...]

Each network has random weights and its real size. What cannot be built for want of its source is named at the end.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.parity.comparing import difference
from tests.parity.test_import_upstream import made, names
from watchline.detectors.importer.convert import describe, import_checkpoint

HEAD = ("network", "box, px", "of float64", "score", "points, px", "mask", "parameters", "checkpoint", "ONNX", "import")


def row(name: str) -> tuple[str, ...]:
    """Returns the cells of one network; pytest's Skipped where it cannot be built here."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "exact").mkdir()
        checkpoint, numbers = made(name, folder)
        started = time.perf_counter()
        onnx = import_checkpoint(checkpoint, folder / "cache")
        spent_s = time.perf_counter() - started
        found = difference(checkpoint, numbers, None)
        exact = difference(*made(name, folder / "exact", "--double"), None)  # theirs in double precision, ours as it is
        description = describe(checkpoint)
        points, masks = bool(found.point_px), description.task == "segment"
        return (
            name,
            f"{found.box_px:.1e}",
            f"{exact.box_px:.1e}",
            f"{found.score:.1e}",
            f"{found.point_px:.1e}" if points else "",
            f"{found.mask:.1e}" if masks else "",
            f"{description.parameters / 1e6:.2f} M",
            f"{checkpoint.stat().st_size / 1e6:.1f} MB",
            f"{onnx.stat().st_size / 1e6:.1f} MB",
            f"{spent_s:.1f} s",
        )


def main(chosen: list[str]) -> None:
    """Prints the table, a row as soon as it is known."""
    absent = []
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for name in chosen or sorted(names()):
        try:
            print(f"| {' | '.join(row(name))} |", flush=True)
        except pytest.skip.Exception as reason:
            absent.append(f"{name}: {reason}")
    print("\n".join(absent), file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
