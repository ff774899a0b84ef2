from __future__ import annotations

import pytest

from tests.fakes import make_detections
from watchline.streams.errors import UsageError
from watchline.trackers import native_byte_track
from watchline.trackers.build import TRACKERS, TrackerChoice, build_tracker
from watchline.trackers.native_byte_track import NATIVE


@pytest.mark.parametrize("name", TRACKERS)
def test_every_known_name_builds_a_tracker_of_its_own(name: str) -> None:
    assert build_tracker(TrackerChoice(name)) is not build_tracker(TrackerChoice(name))
    assert build_tracker(TrackerChoice(name, backend="python")).backend == "python"
    assert build_tracker(TrackerChoice(name)).backend == ("native" if NATIVE else "python")


@pytest.mark.parametrize("name", TRACKERS)
def test_a_native_one_where_there_is_no_native_build_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_byte_track, "_module", None)
    with pytest.raises(UsageError, match='take backend "python"'):
        build_tracker(TrackerChoice(name, backend="native"))


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("score", [0.05, 0.3, 0.9, 1.0])
def test_the_score_given_is_the_least_that_begins_a_track(name: str, score: float) -> None:
    assert (
        len(build_tracker(TrackerChoice(name), score=score).update(make_detections((10, 10, 60, 110), score=score), 0))
        == 1
    )
    fainter = make_detections((10, 10, 60, 110), score=score - 0.01)
    assert len(build_tracker(TrackerChoice(name), score=score).update(fainter, 0)) == 0


def test_a_misspelt_name_gets_the_nearest_one_and_the_list() -> None:
    with pytest.raises(
        UsageError, match=r'^no tracker "bytetrak", did you mean "bytetrack"\? known: bytetrack, ocsort$'
    ):
        TrackerChoice("bytetrak")


def test_a_foreign_name_gets_the_list() -> None:
    with pytest.raises(UsageError, match=r'^no tracker "xyz"; known: bytetrack, ocsort$'):
        TrackerChoice("xyz")


@pytest.mark.parametrize("name", TRACKERS)
def test_frames_far_apart_do_not_end_a_track(name: str) -> None:
    tracker = build_tracker(TrackerChoice(name), interval_s=2.0)
    still = make_detections((10, 10, 60, 110))
    ids = [tracker.update(still, 2.0 * i).track_id.tolist() for i in range(5)]
    assert ids == [[1]] * 5
