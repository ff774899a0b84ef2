"""The measurement of the daemon's load runs, and believes no count that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.daemon import Asked, measure, shown
from tests.kit.recordings import Record, Scene


@pytest.mark.usefixtures("require_rtsp_server")
def test_one_camera_is_measured(record: Record, tiny: Path) -> None:
    asked = Asked(str(tiny), record(Scene(frames=250)), fps=5.0, seconds=3.0)
    load = measure(asked, "cpu", 1, calm=False)
    assert 3.0 < load.fps[0] <= load.fps[1] <= load.fps[2] < 6.5
    assert load.looks > 4
    assert 0 < load.age_ms[0] <= load.age_ms[1] <= load.age_ms[2]
    assert load.dropped["rate"] > 10
    assert load.memory_bytes > 20e6
    assert "rate" in shown([load])
