"""Connections that come and go leave nothing behind."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kit.recordings import Record, Scene
from tests.kit.rtsp_server import RtspServer

pytestmark = pytest.mark.usefixtures("require_rtsp_server")

ROOT = Path(__file__).resolve().parent.parent.parent
GROWTH = 1.02  # of memory, threads and descriptors, after the first fifth


def flapping(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.soak.flapping", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def check_flat(samples: list[dict[str, Any]]) -> None:
    fifth = len(samples) // 5
    early, late = samples[fifth : 2 * fifth], samples[-fifth:]
    for what in ("memory_bytes", "threads", "fds"):
        before, after = (statistics.median(sample[what] for sample in part) for part in (early, late))
        assert after <= GROWTH * before, (what, before, after)


def test_a_camera_that_flaps_two_hundred_times_costs_no_memory_threads_or_descriptors(record: Record) -> None:
    with RtspServer(life_s=200) as server:
        server.add("/cam", record(Scene(frames=1000)), shared=False)
        samples = []
        with flapping(server.url("/cam"), "--flap", "200") as child:
            assert child.stdout is not None
            for line in child.stdout:
                samples.append(json.loads(line))
                server.drop_clients()
        assert child.returncode == 0
    assert len(samples) == 200
    check_flat(samples)


def test_a_thousand_cameras_added_and_removed_cost_nothing_that_stays(record: Record) -> None:
    with RtspServer(life_s=200) as server:
        server.add("/cam", record(Scene(frames=1000)), shared=False)
        with flapping(*[server.url("/cam")] * 8, "--rounds", "125") as child:
            printed, _ = child.communicate(timeout=180)
        assert child.returncode == 0
    samples = [json.loads(line) for line in printed.splitlines()]
    assert len(samples) == 125
    check_flat(samples)
