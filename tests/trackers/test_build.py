from __future__ import annotations

import pytest

from tests.fakes import make_detections
from watchline.streams.errors import UsageError
from watchline.trackers.build import TRACKERS, build_tracker
from watchline.trackers.native_byte_track import NATIVE


@pytest.mark.parametrize("name", TRACKERS)
def test_every_known_name_builds_a_tracker_of_its_own(name: str) -> None:
    assert build_tracker(name) is not build_tracker(name)
    assert build_tracker(name, backend="python").backend == "python"
    assert build_tracker(name).backend == ("native" if NATIVE and name == "bytetrack" else "python")


def test_a_backend_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r'^ocsort has no native backend yet; take backend "auto" or "python"$'):
        build_tracker("ocsort", backend="native")


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("score", [0.05, 0.3, 0.9, 1.0])
def test_the_score_given_is_the_least_that_begins_a_track(name: str, score: float) -> None:
    assert len(build_tracker(name, score=score).update(make_detections((10, 10, 60, 110), score=score), 0)) == 1
    fainter = make_detections((10, 10, 60, 110), score=score - 0.01)
    assert len(build_tracker(name, score=score).update(fainter, 0)) == 0


def test_a_misspelt_name_gets_the_nearest_one_and_the_list() -> None:
    with pytest.raises(
        UsageError, match=r'^no tracker "bytetrak", did you mean "bytetrack"\? known: bytetrack, ocsort$'
    ):
        build_tracker("bytetrak")


def test_a_foreign_name_gets_the_list() -> None:
    with pytest.raises(UsageError, match=r'^no tracker "xyz"; known: bytetrack, ocsort$'):
        build_tracker("xyz")


@pytest.mark.parametrize("name", TRACKERS)
def test_frames_far_apart_do_not_end_a_track(name: str) -> None:
    tracker = build_tracker(name, interval_s=2.0)
    still = make_detections((10, 10, 60, 110))
    ids = [tracker.update(still, 2.0 * i).track_id.tolist() for i in range(5)]
    assert ids == [[1]] * 5
