from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from watchline.pipeline.machine import peak_memory_bytes, usable_cpus, usable_memory_bytes


@pytest.mark.parametrize(("quota", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", 4096)])
def test_a_cgroup_quota_bounds_the_processors(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert 1 <= usable_cpus(tmp_path / "cpu.max") <= most


def test_without_a_cgroup_the_affinity_stands(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path / "missing") >= 1


def test_a_cgroup_limit_bounds_the_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1048576")
    assert usable_memory_bytes(tmp_path / "memory.max") == 1048576
    assert usable_memory_bytes(tmp_path / "missing") > 1048576


def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_memory_bytes()
    held = np.ones(200_000_000, np.uint8)
    assert peak_memory_bytes() >= max(before, held.nbytes)
