"""What holds for the whole tree: examples run, imports stay light, files stay small."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import watchline

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("cuda_kernels", "streams", "detectors", "trackers", "reid", "pipeline")
MODULES = sorted(
    module.name
    for stage in STAGES
    for module in pkgutil.walk_packages([str(ROOT / stage)], f"watchline.{stage}.")
    if not module.name.endswith(("__main__", "._native"))
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize(
    ("module", "strangers"),
    [
        ("watchline.streams.frame", ("av", "cv2", "onnx", "onnxruntime", "typer")),
        ("watchline.detectors.detections", ("av", "cv2", "onnx", "onnxruntime", "typer")),
        ("watchline.trackers.byte_track", ("av", "cv2", "onnx", "onnxruntime", "scipy", "typer")),
        ("watchline.pipeline.graph", ("av", "cv2", "onnx", "onnxruntime", "typer")),
        (
            "watchline.pipeline.cli.app",
            (
                "av",
                "onnx",
                "onnxruntime",
                "cryptography",
                "jinja2",
                "prometheus_client",
                "scipy",
                "sqlalchemy",
                "alembic",
            ),
        ),
    ],
)
def test_importing_a_module_pulls_in_only_what_it_needs(module: str, strangers: tuple[str, ...]) -> None:
    script = f"import sys, {module}; print([name for name in {strangers!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_six_links_for_type_checkers_point_at_the_six_stages() -> None:
    links = ROOT / ".pyroot" / "watchline"
    assert {path.name for path in links.iterdir() if path.is_symlink()} == set(STAGES)
    assert all((links / stage).resolve() == ROOT / stage for stage in STAGES)


def test_the_version_of_the_package_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert watchline.__version__ == version("watchline")
