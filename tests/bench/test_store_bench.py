"""The benchmark of the store measures what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import store


def test_the_benchmark_reads_again_what_it_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["store", "--sightings", "120", "--folder", str(tmp_path)])
    store.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("120 sightings")
    assert sum(line.startswith("| vector") for line in lines) == 4
    assert sum("with their proof" in line for line in lines) == 2
