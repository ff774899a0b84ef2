"""Networks that their authors' code builds, saves and runs, imported: the same answers.

Needs a venv with torch and ultralytics (`make peers`) and, for all but Ultralytics' own, the authors' sources in the
folder that WATCHLINE_UPSTREAM names; upstream_networks.py says which. CI has neither; it checks the same against
tests/parity/networks.
"""

from __future__ import annotations

import ast
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.parity.comparing import Difference, difference

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("upstream_networks.py")
SOURCES = Path(os.environ.get("WATCHLINE_UPSTREAM", ROOT / "upstream"))


def names() -> dict[str, str]:
    """The networks that the script can build, with the folder of sources that each needs; read without running it."""
    for line in ast.parse(SCRIPT.read_text()).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "VARIANTS":
            return eval(ast.unparse(line.value), {"Variant": lambda source, *_args, **_more: source})  # type: ignore[no-any-return]
    raise AssertionError("no VARIANTS")


@cache
def peers() -> bool:
    """Whether torch and ultralytics are there."""
    code = "import importlib.util as u, sys; sys.exit(not (u.find_spec('torch') and u.find_spec('ultralytics')))"
    return PYTHON.exists() and subprocess.run([PYTHON, "-c", code], check=False).returncode == 0


def made(name: str, folder: Path, *options: str) -> tuple[Path, Path]:
    """Has network `name` built and run by its authors' code."""
    if not peers():
        pytest.skip(f"no torch and ultralytics at {PYTHON}; `make peers` makes that venv")
    source = names()[name]
    if not (SOURCES / source).is_dir():
        pytest.skip(f"no source code of {source} at {SOURCES / source}; set WATCHLINE_UPSTREAM")
    command = [str(part) for part in (PYTHON, SCRIPT, folder, SOURCES, *options, name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / f"{name}.pt", folder / f"{name}.npz"


def assert_close(found: Difference) -> None:
    assert found.box_px < 1e-3
    assert found.point_px < 1e-3
    assert found.score < 1e-4
    assert found.mask < 1e-4


@pytest.mark.parametrize("name", names())
def test_a_network_answers_what_its_authors_code_answers(name: str, tmp_path: Path) -> None:
    checkpoint, numbers = made(name, tmp_path, "--small")
    assert_close(difference(checkpoint, numbers, None))
    assert_close(difference(checkpoint, numbers, (64, 128)))


@pytest.mark.parametrize("name", ["yolov8n-pose", "yolov7-tiny"])
def test_the_older_file_format_means_the_same(name: str, tmp_path: Path) -> None:
    assert_close(difference(*made(name, tmp_path, "--small", "--old-format"), None))
