"""A tracker that has run for long is as small as it was in its first minute."""

from __future__ import annotations

import gc

import psutil
import pytest

from tests.worlds import churn
from watchline.trackers.build import PRESETS, TRACKERS, TrackerChoice, build_tracker

FRAMES = 15_000  # eight minutes; tests/bench/long_run.py has an hour, and the times


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", TRACKERS)
def test_eight_minutes_of_churn_leave_a_tracker_small(name: str, preset: str) -> None:
    tracker, process = build_tracker(TrackerChoice(name, preset)), psutil.Process()
    early_bytes = most_live = highest = shown = 0
    for i, (found, time_s) in enumerate(churn(FRAMES)):
        tracks = tracker.update(found, time_s)
        shown += len(tracks)
        highest = max(highest, int(tracks.track_id.max(initial=0)))
        if i == 1500:
            gc.collect()
            early_bytes = process.memory_info().rss
        if i % 500 == 0:
            most_live = max(most_live, len(tracker.save().live))
    gc.collect()
    assert process.memory_info().rss - early_bytes < 4 << 20
    assert shown > 8 * FRAMES
    assert highest > 500  # hundreds came and went,
    assert most_live < 60  # and were forgotten
