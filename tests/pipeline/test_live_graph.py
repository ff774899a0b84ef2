"""The live graph: what must hold whatever cameras and detectors do."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.clips import Clip, write_clip
from tests.fakes import make_detections
from tests.pipeline.live_site import Detector, LiveSite, one_person, threads_named
from tests.streams.ingest_cameras import scripted
from watchline.detectors.detections import Detections
from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.kept import Kept
from watchline.pipeline.live.lane import LaneSettings
from watchline.pipeline.live.outcome import Outcome
from watchline.pipeline.live.pool import Opened
from watchline.pipeline.live.status import PoolState
from watchline.streams.address import Address
from watchline.streams.camera_settings import CameraSettings
from watchline.streams.connecting import open_connection
from watchline.streams.errors import ModelError, UsageError
from watchline.streams.frame import Frame
from watchline.trackers.build import TrackerChoice
from watchline.trackers.state import TrackerState
from watchline.trackers.tracker import TrackIds


def test_every_frame_is_processed_or_counted_as_dropped() -> None:
    with LiveSite(Detector(one_person, delay_s=0.02)) as site:
        for name, rate in (("slow", 5), ("usual", 25), ("fast", 200)):
            site.add(scripted(name, rate=rate))
        site.add(scripted("sampled", fps=5, rate=50))
        site.add(scripted("broken", rate=50, fault="end", after=5))
        for _ in range(50):
            site.status()
            time.sleep(0.03)
        lanes = site.end()
    assert lanes["sampled"].dropped["rate"] > 0
    assert lanes["fast"].dropped["replaced"] > 0
    assert all(lane.processed > 0 for lane in lanes.values())


def test_frames_of_a_camera_are_tracked_in_their_order_whichever_is_detected_first() -> None:
    def uneven(frame: Frame) -> Detections:
        time.sleep(0.03 if frame.sequence % 3 == 0 else 0.0)
        return one_person(frame)

    with LiveSite(Detector(uneven), workers=4) as site:
        site.add(scripted("cam", rate=100))
        site.wait_for("cam", 60)
        site.end()
        sequences = [outcome.frame.sequence for outcome in site.outcomes["cam"]]
    assert sequences == sorted(set(sequences))
    assert {int(i) for outcome in site.outcomes["cam"] for i in outcome.tracks.track_id} == {1}


def lossless(path: Path, name: str = "file") -> CameraSettings:
    return CameraSettings(name, Address.parse(str(path)), fps=0, frozen_after_s=0, lossless=True)


@pytest.mark.parametrize(("workers", "batch", "others"), [(1, 1, 0), (4, 1, 0), (1, 4, 3), (3, 8, 3)])
def test_tracks_do_not_depend_on_workers_batches_or_other_cameras(
    tmp_path: Path, workers: int, batch: int, others: int
) -> None:
    def moving(frame: Frame) -> Detections:
        x, score = 3.0 * (frame.sequence % 40), 0.9 if frame.sequence % 5 else 0.2
        return make_detections((x, 10, x + 20, 60), (100 - x / 2, 40, 120 - x / 2, 90), score=score)

    clip = write_clip(tmp_path / "clip.mp4", Clip(frames=40))
    results = []
    for setup in ((1, 1, 0), (workers, batch, others)):
        with LiveSite(Detector(moving), workers=setup[0], batch=setup[1], connect=open_connection) as site:
            for number in range(setup[2]):
                site.add(lossless(clip, f"other-{number}"))
            site.add(lossless(clip))
            site.wait_for("file", 90, timeout_s=30)
        results.append([(o.frame.sequence, o.tracks.track_id, o.tracks.xyxy) for o in site.outcomes["file"][:90]])
    for alone, together in zip(*results, strict=True):
        assert alone[0] == together[0]
        np.testing.assert_array_equal(alone[1], together[1])
        np.testing.assert_array_equal(alone[2], together[2])


def test_a_lossless_file_loses_no_frame(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", Clip(frames=40))
    with LiveSite(Detector(one_person, delay_s=0.002), connect=open_connection) as site:
        site.add(lossless(clip))
        site.wait_for("file", 100, timeout_s=30)
        lane = site.end()["file"]
    assert [outcome.frame.sequence for outcome in site.outcomes["file"]] == list(range(lane.processed))
    assert sum(count for reason, count in lane.dropped.items() if reason != "stopped") == 0


def test_a_dead_a_slow_and_a_bursty_camera_never_delay_another() -> None:
    with LiveSite(Detector(one_person, delay_s=0.005), workers=1, batch=8) as site:
        site.add(scripted("dead", rate=10, fault="hang", after=0))
        site.add(scripted("slow", rate=1))
        site.add(scripted("bursty", rate=0, fps=0))
        site.add(scripted("usual", rate=10))
        site.wait_for("usual", 5)
        begun_s = time.monotonic()
        site.wait_for("usual", 20)
        took_s = time.monotonic() - begun_s
        ages = [outcome.age_s for outcome in site.outcomes["usual"][5:]]
    assert took_s < 2.6  # 20 frames at 10 a second
    assert float(np.median(ages)) < 0.1


def test_a_batch_holds_one_frame_of_a_camera_and_goes_with_what_there_is() -> None:
    with LiveSite(Detector(one_person, delay_s=0.02), workers=1, batch=8) as site:
        for number in range(4):
            site.add(scripted(f"cam-{number}", rate=100))
        site.wait_for("cam-0", 20)
    batches = site.detector.batches
    assert all(len(set(batch)) == len(batch) for batch in batches)
    assert max(len(batch) for batch in batches) == 4


def test_overload_shrinks_all_cameras_evenly() -> None:
    with LiveSite(Detector(one_person, delay_s=0.01), workers=1) as site:
        for number in range(10):
            site.add(scripted(f"cam-{number}", rate=50))
        site.wait_for("cam-9", 3)
        before = {name: len(got) for name, got in site.outcomes.items()}
        time.sleep(3)
        shares = [len(site.outcomes[name]) - count for name, count in before.items()]
        ages = [outcome.age_s for got in site.outcomes.values() for outcome in got]
        site.end()
    assert max(shares) - min(shares) <= 2, shares
    assert float(np.quantile(ages, 0.95)) < 0.3  # the freshest frame waits, nothing queues


def test_overload_shrinks_cameras_by_their_weights() -> None:
    with LiveSite(Detector(one_person, delay_s=0.01), workers=1) as site:
        for name, weight in (("light", 1.0), ("heavy", 3.0)):
            settings = scripted(name, rate=200)
            site.add(
                CameraSettings(name, settings.address, fps=0, frozen_after_s=0, weight=weight, pipeline='{"rate": 200}')
            )
        site.wait_for("light", 5)
        before = {name: len(got) for name, got in site.outcomes.items()}
        time.sleep(2)
        shares = {name: len(site.outcomes[name]) - count for name, count in before.items()}
    assert shares["heavy"] / shares["light"] == pytest.approx(3, rel=0.2)


@pytest.mark.parametrize("error", [ModelError("the device is gone"), SystemExit("killed")])
def test_a_detector_that_fails_is_opened_anew_and_its_frames_are_counted(error: BaseException) -> None:
    detector = Detector(one_person)
    with LiveSite(detector) as site:
        site.add(scripted("cam", rate=50))
        site.wait_for("cam", 5)
        detector.error = error
        site.wait(lambda: detector.opened >= 2)
        detector.error = None
        site.wait_for("cam", 5)
        pool = site.status().pools["people"]
        lane = site.end()["cam"]
    assert pool.state is PoolState.RUNNING
    assert pool.deaths >= 1
    assert lane.dropped["detector"] >= 1
    assert detector.closed == detector.opened


def test_a_detector_that_fails_too_often_is_down_for_a_while_and_cameras_stay_alive() -> None:
    detector = Detector(one_person)
    with LiveSite(detector, restarts=lambda: Restarts(most=5, within_s=60, pause_s=1)) as site:
        site.add(scripted("cam", rate=50))
        site.wait_for("cam", 5)
        detector.error = ModelError("the device is gone")
        site.wait(lambda: site.status().pools["people"].state is PoolState.DOWN)
        pool = site.status().pools["people"]
        assert pool.deaths == 6
        assert "the device is gone" in pool.sentence
        assert detector.opened == 6
        before = site.lane("cam")
        time.sleep(0.3)
        after = site.lane("cam")
        assert after.received > before.received
        assert after.dropped["detector"] > before.dropped["detector"]
        detector.error = None
        site.wait_for("cam", 5)  # after the pause it is tried again
        assert site.status().pools["people"].state is PoolState.RUNNING
        site.end()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_camera_on_whose_frames_the_detector_fails_does_not_take_it_from_others(workers: int) -> None:
    def picky(frame: Frame) -> Detections:
        if frame.camera == "bad":
            raise ModelError("it fails on such pictures")
        return one_person(frame)

    with LiveSite(Detector(picky), workers=workers) as site:
        site.add(scripted("bad", rate=50))
        site.add(scripted("usual", rate=50))
        site.wait_for("usual", 100)
        pool = site.status().pools["people"]
        lanes = site.end()
    assert pool.state is PoolState.RUNNING
    assert 3 <= pool.deaths <= 6  # five are forgiven, and the one for which the camera is left out
    assert lanes["bad"].processed == 0
    assert lanes["bad"].dropped["detector"] > 20
    assert lanes["usual"].dropped["detector"] <= 3


def test_failures_that_a_camera_is_left_out_for_do_not_count_against_the_detector() -> None:
    def picky(frame: Frame) -> Detections:
        if frame.camera == "bad":
            raise ModelError("it fails on such pictures")
        return one_person(frame)

    with LiveSite(Detector(picky), restarts=lambda: Restarts(most=2)) as site:
        site.add(scripted("usual", rate=50))
        site.wait_for("usual", 3)
        site.add(scripted("bad", rate=5))
        site.wait_for("usual", 150)
        assert site.status().pools["people"].state is PoolState.RUNNING
        assert site.status().pools["people"].deaths == 3
        site.end()


def test_a_detector_that_cannot_be_opened_anew_whatever_the_reason_is_tried_again() -> None:
    class Scarce(Detector):
        def open(self) -> Opened:
            opened = super().open()
            if 2 <= self.opened <= 3:
                raise RuntimeError("can't start new thread")
            return opened

    detector = Scarce(one_person)
    with LiveSite(detector) as site:
        site.add(scripted("cam", rate=50))
        site.wait_for("cam", 5)
        detector.error = ModelError("the device is gone")
        site.wait(lambda: detector.opened >= 2)
        detector.error = None
        site.wait_for("cam", 5)
        pool = site.status().pools["people"]
        site.end()
    assert pool.state is PoolState.RUNNING
    assert pool.deaths >= 3


def test_a_frame_that_cannot_be_looked_at_costs_that_frame_alone() -> None:
    def picky(frame: Frame) -> Detections:
        if frame.camera == "odd":
            raise ValueError("a picture like no other")
        return one_person(frame)

    with LiveSite(Detector(picky), workers=1, batch=4) as site:
        site.add(scripted("odd", rate=50))
        site.add(scripted("usual", rate=50))
        site.wait_for("usual", 20)
        lanes = site.end()
    assert lanes["odd"].processed == 0
    assert lanes["odd"].dropped["detector"] > 0
    assert lanes["usual"].dropped["detector"] == 0
    assert site.detector.opened == 1


def test_while_the_detector_is_opened_anew_no_frame_is_held() -> None:
    detector = Detector(one_person)
    with LiveSite(detector, workers=3) as site:
        site.add(scripted("cam", rate=100))
        site.wait_for("cam", 5)
        detector.open_delay_s = 1.0
        detector.error = ModelError("the device is gone")
        site.wait(lambda: site.status().pools["people"].state is PoolState.RESTARTING)
        detector.error = None
        time.sleep(0.5)
        assert site.lane("cam").in_flight <= 3
        site.wait_for("cam", 5)
        site.end()


def test_who_is_told_and_fails_disturbs_nobody() -> None:
    def fails(outcome: Outcome) -> None:
        raise RuntimeError("no thank you")

    with LiveSite() as site:
        site.graph.add(LaneSettings(scripted("odd", rate=50), "people", TrackerChoice()), [fails])
        site.add(scripted("cam", rate=50))
        site.wait_for("cam", 20)
        assert site.lane("odd").processed > 10


def test_workers_that_have_nothing_to_do_are_not_stuck() -> None:
    with LiveSite(workers=16) as site:
        time.sleep(2)
        assert site.graph.stuck(1.0) == ()
        assert site.status().pools["people"].advanced_s < 1.0


def test_a_worker_that_hangs_is_told_of() -> None:
    gate = threading.Event()

    def hangs(frame: Frame) -> Detections:
        gate.wait(10)
        return one_person(frame)

    with LiveSite(Detector(hangs), workers=2) as site:
        site.add(scripted("cam", rate=50))
        site.wait(lambda: site.graph.stuck(0.5) == ("people",))
        gate.set()


def test_a_camera_may_go_and_one_of_its_name_come() -> None:
    with LiveSite(Detector(one_person, delay_s=0.01), workers=3, batch=2) as site:
        site.add(scripted("other", rate=50))
        for _ in range(5):
            site.add(scripted("cam", rate=100))
            site.wait_for("cam", 5)
            site.graph.remove("cam")
            site.outcomes["cam"].clear()
        assert list(site.status().lanes) == ["other"]
        site.end()


def test_what_stands_in_an_ignored_region_is_not_followed() -> None:
    def two(frame: Frame) -> Detections:
        return make_detections((2, 2, 12, 20), (40, 2, 50, 20))

    left = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    with LiveSite(Detector(two)) as site:
        site.add(scripted("cam", rate=50), ignore=(left,))
        site.wait_for("cam", 10)
        lane = site.end()["cam"]
    assert lane.ignored == lane.processed
    assert lane.detections == lane.processed
    assert all((outcome.tracks.xyxy[:, 0] > 32).all() for outcome in site.outcomes["cam"])


def test_only_the_classes_asked_for_are_followed() -> None:
    def both(frame: Frame) -> Detections:
        found = make_detections((2, 2, 12, 20), (40, 2, 50, 20))
        return Detections(found.xyxy, found.score, np.array([0, 1], np.int32))

    with LiveSite(Detector(both)) as site:
        site.add(scripted("cam", rate=50), classes=("car",))
        site.wait_for("cam", 5)
        with pytest.raises(UsageError, match='has no class "bicycle"; known: person, car'):
            site.add(scripted("odd"), classes=("bicycle",))
    assert {int(i) for outcome in site.outcomes["cam"] for i in outcome.tracks.class_id} == {1}


def test_a_model_that_the_site_does_not_name_is_refused_and_names_those_there_are() -> None:
    with LiveSite() as site, pytest.raises(UsageError, match=r'no model "faces".*people'):
        site.graph.add(LaneSettings(scripted("cam"), "faces", TrackerChoice()))


def test_the_end_finishes_what_is_under_way_and_leaves_no_thread() -> None:
    with LiveSite(Detector(one_person, delay_s=0.2), workers=3) as site:
        for number in range(3):
            site.add(scripted(f"cam-{number}", rate=50))
        site.wait_for("cam-0", 1)
        begun_s = time.monotonic()
        lanes = site.end()
    assert time.monotonic() - begun_s < 3
    assert all(lane.dropped["removed"] == 0 for lane in lanes.values())
    assert not threads_named("detect-")
    assert threading.active_count() < 10


def test_a_kept_state_that_does_not_fit_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    state = TrackerState("ocsort", 5.0, 9, np.empty(0, [("track_id", np.int64)]))
    with LiveSite() as site:
        seen: list[int] = []
        settings = LaneSettings(scripted("cam", rate=50), "people", TrackerChoice())
        kept = Kept(state, captured_at=time.time() - 1)
        site.graph.add(settings, [lambda o: seen.extend(map(int, o.tracks.track_id))], TrackIds(100), kept)
        site.wait(lambda: seen)
        assert site.lane("cam").tracks == 1
    assert min(seen) == 100
    assert "ocsort" in caplog.text


def test_tracks_go_on_over_a_restart_of_their_camera() -> None:
    with LiveSite() as site:
        site.add(scripted("cam", rate=50))
        site.wait_for("cam", 10)
        (lane,) = site.graph.remove("cam")
        snapshot = lane.snapshot()
        assert snapshot is not None
        seen: list[int] = []
        settings = LaneSettings(scripted("cam", rate=50), "people", TrackerChoice())
        kept = Kept(snapshot.state, snapshot.captured_at)
        site.graph.add(settings, [lambda o: seen.extend(map(int, o.tracks.track_id))], TrackIds(50), kept)
        site.wait(lambda: len(seen) > 5)
        assert site.lane("cam").tracks == 0  # none is new
    assert set(seen) == {1}
