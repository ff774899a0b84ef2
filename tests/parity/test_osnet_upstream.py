"""OSNets that their authors' code builds, saves and runs, imported: the same features.

Needs a venv with torch (`make peers`) and torchreid's sources as folder torchreid of the folder that
WATCHLINE_UPSTREAM names. CI has neither; it checks the same against tests/parity/embedders.
"""

from __future__ import annotations

import ast
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.parity.test_osnet_fixtures import assert_same_as_upstream

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("upstream_osnet.py")
SOURCES = Path(os.environ.get("WATCHLINE_UPSTREAM", ROOT / "upstream"))


def names() -> tuple[str, ...]:
    """The networks that the script can build, read without running it."""
    for line in ast.parse(SCRIPT.read_text()).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "VARIANTS":
            return eval(ast.unparse(line.value))  # type: ignore[no-any-return]
    raise AssertionError("no VARIANTS")


@cache
def missing() -> str:
    """What is not there, "" for nothing."""
    code = "import importlib.util as u, sys; sys.exit(not u.find_spec('torch'))"
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", code], check=False).returncode:
        return f"no torch at {PYTHON}; `make peers` makes that venv"
    if not (SOURCES / "torchreid").is_dir():
        return f"no source code of torchreid at {SOURCES / 'torchreid'}; set WATCHLINE_UPSTREAM"
    return ""


def made(name: str, folder: Path, *options: str) -> tuple[Path, Path]:
    """Has network `name` built and run by its authors' code."""
    if reason := missing():
        pytest.skip(reason)
    command = [str(part) for part in (PYTHON, SCRIPT, folder, SOURCES, *options, name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / f"{name}.pth", folder / f"{name}.npz"


@pytest.mark.parametrize("name", names())
def test_an_osnet_gives_the_features_that_its_authors_code_gives(name: str, tmp_path: Path) -> None:
    assert_same_as_upstream(*made(name, tmp_path), tmp_path / "cache")


@pytest.mark.parametrize("options", [("--old-format",), ("--old-format", "--bare"), ("--bare",), ("--wrapped",)])
def test_however_it_is_saved_it_means_the_same(options: tuple[str, ...], tmp_path: Path) -> None:
    assert_same_as_upstream(*made("osnet_ain_x0_25", tmp_path, "--small", *options), tmp_path / "cache")
