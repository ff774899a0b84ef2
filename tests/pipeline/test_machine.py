from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.clips import Clip, write_clip
from tests.command import COMMAND, summary_of
from watchline.pipeline.machine import peak_memory_bytes, usable_cpus, usable_memory_bytes

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="cgroups and /proc are Linux's")
REAL_CPU_CGROUPS = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


def cgroups(root: Path, own: str, **files: str) -> tuple[Path, Path]:
    """Writes what a system shows of cgroups: `own` of the process, and files; in their names "__" stands for "/"."""
    (root / "own").write_text(own)
    for name, text in files.items():
        path = root / "fs" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "fs", root / "own"


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("350000 100000", 3),
        ("1600000 100000", 8),
        ("max 100000", 8),
        ("", 8),
    ],
)
def test_a_cgroup_quota_bounds_the_processors(tmp_path: Path, quota: str, cpus: int) -> None:
    assert usable_cpus(*cgroups(tmp_path, "0::/\n", cpu_dot_max=quota)) == cpus


@pytest.mark.usefixtures("eight_cpus")
def test_the_least_quota_of_a_cgroup_and_those_above_it_counts(tmp_path: Path) -> None:
    files = {"a__cpu_dot_max": "200000 100000", "a__b__cpu_dot_max": "max 100000", "c__cpu_dot_max": "100000 100000"}
    assert usable_cpus(*cgroups(tmp_path, "0::/a/b\n", **files)) == 2


@pytest.mark.usefixtures("eight_cpus")
def test_a_container_whose_cgroup_has_a_name_of_its_host_obeys_the_top_one(tmp_path: Path) -> None:
    assert usable_cpus(*cgroups(tmp_path, "0::/../docker/abc\n", cpu_dot_max="300000 100000")) == 3


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(("quota", "cpus"), [("250000", 2), ("-1", 8)])
def test_a_quota_of_the_first_version_of_cgroups_counts(tmp_path: Path, quota: str, cpus: int) -> None:
    files = {"cpu,cpuacct__job__cpu_dot_cfs_quota_us": quota, "cpu,cpuacct__job__cpu_dot_cfs_period_us": "100000"}
    own = "9:name=systemd:/\n4:memory:/other\n2:cpu,cpuacct:/job\n0::/\n"
    assert usable_cpus(*cgroups(tmp_path, own, **files)) == cpus


@pytest.mark.usefixtures("eight_cpus")
def test_a_controller_counts_in_whatever_order_those_of_its_folder_are_named(tmp_path: Path) -> None:
    files = {"cpu__job__cpu_dot_cfs_quota_us": "200000", "cpu__job__cpu_dot_cfs_period_us": "100000"}
    assert usable_cpus(*cgroups(tmp_path, "2:cpuacct,cpu:/job\n", **files)) == 2


def test_without_a_cgroup_the_affinity_stands(tmp_path: Path) -> None:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cpus(tmp_path / "missing", tmp_path / "missing") == cpus


@LINUX
def test_a_process_in_a_real_cgroup_obeys_its_quota(tmp_path: Path) -> None:
    """Where the system lets us make a cgroup: a shell goes into it and becomes Python."""
    top = next((folder for folder in REAL_CPU_CGROUPS if (folder / "cgroup.procs").exists()), None)
    if top is None:
        pytest.skip("no cgroups are mounted here")
    mine = top / f"watchline-test-{os.getpid()}"
    try:
        mine.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error.strerror}")
    try:
        if (mine / "cpu.max").exists():
            (mine / "cpu.max").write_text("100000 100000")
        elif (mine / "cpu.cfs_quota_us").exists():
            (mine / "cpu.cfs_quota_us").write_text("100000")
        else:
            pytest.skip("the cgroups that can be made here have no control of processors")
        script = "from watchline.pipeline.machine import usable_cpus; print(usable_cpus())"
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        command = ["sh", "-c", enter, str(mine), sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if "write error" in done.stderr:
            pytest.skip(f"no process may go into a cgroup here: {done.stderr.strip()}")
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    finally:
        with suppress(OSError):
            mine.rmdir()


@LINUX
def test_a_run_on_one_processor_works_with_one_thread(tiny: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "yard.mp4", Clip(frames=3))
    one = min(os.sched_getaffinity(0))
    command = [*COMMAND, "run", str(clip), "--model", str(tiny), "--no-video", "--out", str(tmp_path / "out")]
    pin = f"import os, sys; os.sched_setaffinity(0, [{one}]); os.execv(sys.argv[1], sys.argv[1:])"
    subprocess.run([sys.executable, "-c", pin, *command], check=True, capture_output=True, timeout=120)
    assert summary_of(tmp_path / "out" / "yard")["machine"]["threads"] == 1


@pytest.mark.parametrize(
    "files",
    [
        {"memory_dot_max": "1048576"},
        {"job__memory_dot_max": "1048576", "memory_dot_max": "max"},
        {"memory__memory_dot_limit_in_bytes": "1048576"},
    ],
)
def test_a_cgroup_limit_bounds_the_memory(tmp_path: Path, files: dict[str, str]) -> None:
    assert usable_memory_bytes(*cgroups(tmp_path, "4:memory:/elsewhere\n0::/job\n", **files)) == 1048576


def test_without_a_limit_the_memory_is_the_systems(tmp_path: Path) -> None:
    assert usable_memory_bytes(tmp_path / "missing", tmp_path / "missing") > 1048576


def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_memory_bytes()
    held = np.ones(200_000_000, np.uint8)
    assert peak_memory_bytes() >= max(before, held.nbytes)


@LINUX
def test_the_peak_of_a_process_is_not_that_of_the_one_that_started_it() -> None:
    held = np.ones(400_000_000, np.uint8)
    script = "from watchline.pipeline.machine import peak_memory_bytes as peak; print(peak())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True).stdout
    assert 0 < int(said) < 150_000_000 < len(held)


def test_where_there_is_no_proc_the_system_counts(tmp_path: Path) -> None:
    assert peak_memory_bytes(tmp_path / "missing") >= 1_000_000
