"""Sightings while the daemon runs: what is kept, in which order it is given up, and that all of it is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.pipeline.live_outcomes import Hands, make_outcome, wait_until
from tests.pipeline.live_sightings import MADE_BY, MODEL, ScriptedLooks, make_sighting, make_tracklet, vectors_of
from watchline.detectors.restarts import Restarts
from watchline.pipeline.live.backlog import Backlog, BacklogBounds, Fate, Seen, size_bytes
from watchline.pipeline.live.describing import Described, Describer, Undescribed, Vectors
from watchline.pipeline.live.seeing import Seeing, SeeingParts, SeeingStatus
from watchline.pipeline.live.status import PoolState
from watchline.pipeline.store.sighting import Provenance, Sighting
from watchline.reid.embeddings import Kind
from watchline.reid.tracklet import Tracklet
from watchline.streams.errors import ModelError


class Shelf:
    """A store: keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Sighting] = []

    def put(self, sighting: Sighting) -> bool:
        self.kept.append(sighting)
        return True


@contextmanager
def running(
    shelf: Shelf,
    describe: Callable[[Sequence[Tracklet]], list[Described]] = vectors_of,
    bounds: BacklogBounds | None = None,
    make: Callable[[Tracklet, Vectors, str, Provenance], Sighting] = make_sighting,
    *,
    lasts: bool = True,
    workers: int = 1,
) -> Iterator[Seeing]:
    describer = Describer(describe, lambda: describe, Restarts(most=1, clock=Hands()))
    parts = SeeingParts(
        lambda camera, labels: ScriptedLooks(camera, labels, lasts=lasts), describer, make, shelf.put, workers
    )
    seeing = Seeing(parts, bounds)
    try:
        yield seeing
    finally:
        seeing.close(5.0)


def check(status: SeeingStatus) -> None:
    """Every tracklet is somewhere, once."""
    assert status.ended == status.handed + sum(status.unkept.values()) + status.waiting, status


def seen(tracklet: Tracklet) -> Seen:
    return Seen(tracklet, "0" * 32, MADE_BY)


class TestSeeing:
    def test_what_ended_is_described_and_handed_to_the_store(self) -> None:
        shelf = Shelf()
        with running(shelf) as seeing:
            seeing.outlet("cam", MADE_BY)(make_outcome(0, 1, 2))
            wait_until(lambda: len(shelf.kept) == 2)
            wait_until(lambda: seeing.status().handed == 2)
            status = seeing.status()
        assert {sighting.track_id for sighting in shelf.kept[:2]} == {1, 2}
        assert all(sighting.vectors and sighting.provenance == MADE_BY for sighting in shelf.kept)
        assert (status.tracklets, status.crops) == ({"cam": 2}, {"body": 4, "face": 0})
        assert sum(status.looks.counts) == 1
        check(status)

    def test_parts_of_a_track_share_a_key_and_an_id_that_comes_back_has_another(self) -> None:
        shelf = Shelf()
        with running(shelf, lasts=False) as seeing:
            for life in range(2):  # the second time the camera began anew, and its tracker knew the track
                outlet = seeing.outlet("cam", MADE_BY)
                for sequence in range(3):
                    outlet(make_outcome(sequence, 1, 2))
                assert seeing.status().spared == {"pictures": 3 * (life + 1), "tracks": 0}
        keys = [[s.track_key for s in shelf.kept if s.track_id == track_id] for track_id in (1, 2)]
        for of_track in keys:
            assert len(set(of_track[:3])) == len(set(of_track[3:])) == 1
            assert of_track[0] != of_track[3]
        assert len({key for of_track in keys for key in of_track}) == 4

    def test_the_end_stores_what_is_open(self) -> None:
        shelf = Shelf()
        with running(shelf) as seeing:
            seeing.outlet("east", MADE_BY)(make_outcome(0, camera="east"))
            seeing.outlet("west", MADE_BY)(make_outcome(0, camera="west"))
            assert seeing.close(5.0) == 0
            check(seeing.status())
        assert [sighting.camera for sighting in shelf.kept] == ["east", "west"]
        assert all(sighting.vectors for sighting in shelf.kept)

    def test_what_comes_after_the_end_is_counted(self) -> None:
        shelf = Shelf()
        with running(shelf) as seeing:
            seeing.close(5.0)
            seeing.outlet("cam", MADE_BY)(make_outcome(0, 1))
            assert seeing.status().unkept["closed"] == 1
            check(seeing.status())

    def test_a_camera_that_goes_is_finished_and_its_last_frames_begin_nothing_new(self) -> None:
        shelf = Shelf()
        with running(shelf) as seeing:
            outlet = seeing.outlet("cam", MADE_BY)
            outlet(make_outcome(0))
            seeing.forget("cam")
            outlet(make_outcome(1, 7))
            wait_until(lambda: seeing.status().handed == 1)
            assert seeing.status().tracklets == {}
            check(seeing.status())
        assert [sighting.track_id for sighting in shelf.kept] == [99]

    def test_a_camera_of_which_nothing_is_wanted_any_more_is_finished_and_may_be_wanted_again(self) -> None:
        shelf = Shelf()
        with running(shelf) as seeing:
            outlet = seeing.outlet("cam", MADE_BY)
            outlet(make_outcome(0))
            seeing.change("cam", MADE_BY, wanted=False)
            outlet(make_outcome(1, 7))
            other = replace(MADE_BY, config_sha256="3" * 64)
            seeing.change("cam", other, wanted=True)
            outlet(make_outcome(2, 8))
            wait_until(lambda: len(shelf.kept) == 2)
        assert [sighting.track_id for sighting in shelf.kept] == [99, 8, 99]
        assert [sighting.provenance for sighting in shelf.kept] == [MADE_BY, other, other]

    def test_looking_never_waits_for_what_describes(self) -> None:
        shelf, go = Shelf(), threading.Event()

        def stands_still(tracklets: Sequence[Tracklet]) -> list[Described]:
            go.wait(10)
            return vectors_of(tracklets)

        bounds = BacklogBounds(described=5, most=10)
        with running(shelf, stands_still, bounds) as seeing:
            outlet = seeing.outlet("cam", MADE_BY)
            outlet(make_outcome(0, 1))
            wait_until(lambda: seeing.status().waiting == 1)
            for sequence in range(1, 41):
                outlet(make_outcome(sequence, sequence))
            status = seeing.status()
            check(status)
            assert status.unkept["queue_full"] >= 20
            assert status.undescribed["behind"] >= 5
            assert sum(status.looks.counts[:-1]) == 41  # none took as long as the last bound
            go.set()
            wait_until(lambda: seeing.status().waiting == 0)
            check(seeing.status())

    def test_workers_describe_at_once_and_the_end_waits_for_all_of_them(self) -> None:
        shelf, together = Shelf(), threading.Barrier(3)

        def meets(tracklets: Sequence[Tracklet]) -> list[Described]:
            if tracklets[0].track_id < 24:
                together.wait(10)
            return vectors_of(tracklets)

        with running(shelf, meets, BacklogBounds(described=2000), workers=3, lasts=False) as seeing:
            outlet = seeing.outlet("cam", MADE_BY)
            outlet(make_outcome(0, *range(24)))  # as many as three workers take
            wait_until(lambda: seeing.status().handed == 24)
            for sequence in range(1, 5):
                outlet(make_outcome(sequence, *range(100, 300)))
            assert seeing.close(10.0) == 0
            status = seeing.status()
        check(status)
        assert (status.handed, status.crops["body"], status.undescribed["model"]) == (825, 1650, 0)
        for track_id in range(100, 300):  # in whatever order they were stored
            of_track = [sighting for sighting in shelf.kept if sighting.track_id == track_id]
            assert sorted(sighting.part for sighting in of_track) == [1, 2, 3, 4]
            assert len({sighting.track_key for sighting in of_track}) == 1

    def test_a_worker_that_stands_still_is_told_though_others_go_on(self) -> None:
        go = threading.Event()

        def stands_still_for_1(tracklets: Sequence[Tracklet]) -> list[Described]:
            if tracklets[0].track_id == 1:
                go.wait(10)
            return vectors_of(tracklets)

        shelf = Shelf()
        with running(shelf, stands_still_for_1, workers=2) as seeing:
            outlet = seeing.outlet("cam", MADE_BY)
            outlet(make_outcome(0, 1))
            wait_until(lambda: seeing.status().advanced_s > 1.1)
            outlet(make_outcome(1, 2))
            wait_until(lambda: seeing.status().handed == 1)
            assert seeing.status().advanced_s > 1.1
            go.set()

    def test_one_that_cannot_be_stored_or_looked_at_is_counted_and_ends_nothing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fails_for_1(tracklet: Tracklet, vectors: Vectors, key: str, provenance: Provenance) -> Sighting:
            if tracklet.track_id == 1:
                raise ValueError("no picture")
            return make_sighting(tracklet, vectors, key, provenance)

        shelf = Shelf()
        with running(shelf, make=fails_for_1) as seeing:
            outlet = seeing.outlet("cam", MADE_BY)
            outlet(make_outcome(0, 1, 2))
            outlet(replace(make_outcome(1), tracks=None))  # type: ignore[arg-type]
            outlet(make_outcome(2, 3))
            wait_until(lambda: len(shelf.kept) == 2)
            wait_until(lambda: seeing.status().waiting == 0)
            status = seeing.status()
        assert (status.unkept["unfit"], status.faults) == (1, 2)
        check(status)
        assert sum("no sighting could be made" in line for line in caplog.messages) == 1  # at most one a minute

    def test_a_camera_whose_end_fails_ends_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("watchline.pipeline.live.seeing._IDLE_S", 0.2)
        finish = ScriptedLooks.finish

        def fails_in_the_east(looks: ScriptedLooks) -> list[Tracklet]:
            if looks.camera == "east":
                raise ValueError("odd")
            return finish(looks)

        monkeypatch.setattr(ScriptedLooks, "finish", fails_in_the_east)
        shelf = Shelf()
        with running(shelf) as seeing:
            for camera in ("east", "west"):
                seeing.outlet(camera, MADE_BY)(make_outcome(0, camera=camera))
            wait_until(lambda: len(shelf.kept) == 1)
            assert seeing.status().faults == 1

    def test_a_camera_that_gives_no_more_frames_does_not_keep_its_people_open(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("watchline.pipeline.live.seeing._IDLE_S", 0.2)
        shelf = Shelf()
        with running(shelf) as seeing:
            seeing.outlet("cam", MADE_BY)(make_outcome(0))
            wait_until(lambda: len(shelf.kept) == 1)


class TestBacklog:
    SIZE = size_bytes(make_tracklet())

    def test_the_dearest_is_given_up_first(self) -> None:
        bounds = BacklogBounds(described=2, described_bytes=10 * self.SIZE, most_bytes=3 * self.SIZE, most=5)
        backlog = Backlog(bounds)
        fates = [backlog.put(seen(make_tracklet(track_id=i))) for i in range(6)]
        assert fates == [Fate.WHOLE, Fate.WHOLE, Fate.BEHIND, Fate.STRIPPED, Fate.STRIPPED, Fate.DROPPED]
        taken = backlog.take(10, 0, 0)
        assert [each.describe for each in taken] == [True, True, False, False, False]
        assert [len(each.seen.tracklet.crops) for each in taken] == [2, 2, 2, 0, 0]
        assert taken[-1].seen.tracklet.reason.startswith("no room")
        assert backlog.waiting() == (5, 0)  # under way, and their bytes are their taker's
        assert backlog.put(seen(make_tracklet())) is Fate.WHOLE

    def test_bytes_bound_what_waits_to_be_described(self) -> None:
        backlog = Backlog(BacklogBounds(described_bytes=self.SIZE))
        assert [backlog.put(seen(make_tracklet())) for _ in range(2)] == [Fate.WHOLE, Fate.BEHIND]

    def test_nobody_waits_once_it_is_closed(self) -> None:
        backlog = Backlog()
        threading.Timer(0.05, backlog.close).start()
        assert backlog.take(1, 30.0, 30.0) == []
        backlog.rest(30.0)
        assert backlog.put(seen(make_tracklet())) is Fate.DROPPED


class TestDescriber:
    def test_a_network_that_fails_is_opened_anew_then_left_alone_for_a_while(self) -> None:
        clock, tries = Hands(0.0), [0]

        def fails(tracklets: Sequence[Tracklet]) -> list[Described]:
            raise ModelError("the device is gone")

        def reopen() -> Callable[[Sequence[Tracklet]], list[Described]]:
            tries[0] += 1
            return vectors_of if clock.now >= 60 else fails

        describer = Describer(fails, reopen, Restarts(most=2, pause_s=60, clock=clock))
        one = [make_tracklet()]
        for _ in range(3):
            assert describer.describe(one) == [Undescribed.MODEL]
        assert (describer.state, describer.deaths, tries[0]) == (PoolState.DOWN, 3, 2)
        assert "the device is gone; down, next try in 60 s" in describer.sentence
        assert describer.describe(one) == [Undescribed.MODEL]
        assert tries[0] == 2
        clock.now = 60.0
        assert isinstance(describer.describe(one)[0], Described)
        assert (describer.state, describer.sentence) == (PoolState.RUNNING, "")

    def test_many_that_cannot_be_described_are_told_of_once_and_cost_of_the_budget(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        cpu = Hands(0.0)

        def fails(_tracklets: Sequence[Tracklet]) -> list[Described]:
            cpu.now += 0.01
            raise ValueError("not a picture")

        describer = Describer(fails, lambda: fails, budget=0.5, cpu_s=cpu)
        found = describer.describe([make_tracklet(track_id=number) for number in range(8)])
        assert found == [Undescribed.UNFIT] * 8
        assert caplog.text.count("could not be described") == 1
        assert describer.pause_s() == pytest.approx(0.09)

    def test_one_that_cannot_be_described_spoils_no_other(self) -> None:
        def fails_for_2(tracklets: Sequence[Tracklet]) -> list[Described]:
            if any(tracklet.track_id == 2 for tracklet in tracklets):
                raise ValueError("odd")
            return vectors_of(tracklets)

        describer = Describer(fails_for_2, lambda: fails_for_2)
        results = describer.describe([make_tracklet(track_id=1), make_tracklet(track_id=2), make_tracklet(crops=0)])
        assert isinstance(results[0], Described)
        assert results[1:] == [Undescribed.UNFIT, Undescribed.NO_CROP]
        assert (describer.state, describer.deaths) == (PoolState.RUNNING, 0)

    def test_what_fails_in_two_threads_at_once_failed_once(self) -> None:
        together = threading.Barrier(2)

        def fails(_tracklets: Sequence[Tracklet]) -> list[Described]:
            together.wait(10)
            raise ModelError("the device is gone")

        describer = Describer(fails, lambda: vectors_of, workers=2)
        threads = [threading.Thread(target=describer.describe, args=([make_tracklet()],)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert describer.deaths == 1
        assert isinstance(describer.describe([make_tracklet()])[0], Described)

    def test_threads_share_the_budget(self) -> None:
        cpu = Hands(0.0)

        def slow(tracklets: Sequence[Tracklet]) -> list[Described]:
            cpu.now += 0.1
            return vectors_of(tracklets)

        describer = Describer(slow, lambda: slow, budget=0.5, workers=4, cpu_s=cpu)
        describer.describe([make_tracklet()])
        rests: list[float] = []
        other = threading.Thread(target=lambda: rests.append(describer.pause_s()))
        other.start()
        other.join()
        assert rests == [0.0]  # it did nothing
        assert describer.pause_s() == pytest.approx(0.7)  # an eighth of the time, and so the other three

    def test_faces_are_kept_with_who_has_them_and_counted(self) -> None:
        def with_a_face(tracklets: Sequence[Tracklet]) -> list[Described]:
            face = replace(MODEL, kind=Kind.FACE)
            faced = vectors_of([replace(each, faces=each.crops[:1]) for each in tracklets])
            return [replace(each, vectors=(*each.vectors, replace(each.vectors[0], model=face))) for each in faced]

        describer = Describer(with_a_face, lambda: with_a_face)
        (found,) = describer.describe([make_tracklet()])
        assert isinstance(found, Described)
        assert (len(found.tracklet.faces), describer.crops()) == (1, {"body": 2, "face": 2})

    def test_it_rests_as_its_budget_says(self) -> None:
        cpu = Hands(0.0)

        def slow(tracklets: Sequence[Tracklet]) -> list[Described]:
            cpu.now += 0.5
            return vectors_of(tracklets)

        describer = Describer(slow, lambda: slow, budget=0.25, cpu_s=cpu)
        describer.describe([make_tracklet()])
        assert describer.pause_s() == 1.5
        assert describer.pause_s() == 0.0
        for _ in range(10):
            describer.describe([make_tracklet()])
        assert describer.pause_s() == 5.0  # not for longer at a time

    def test_what_is_said_of_a_network_ends_once_another_thread_has_opened_it_anew(self) -> None:
        threads: list[threading.Thread] = []

        class Slow(ModelError):
            def __str__(self) -> str:
                if not threads:  # another thread comes just as this one is about to say what is wrong
                    threads.append(threading.Thread(target=describer.describe, args=([make_tracklet(track_id=2)],)))
                    threads[0].start()
                    threads[0].join(0.3)
                return "it failed"

        def fails(tracklets: Sequence[Tracklet]) -> list[Described]:
            raise Slow

        describer = Describer(fails, lambda: vectors_of, workers=2)
        assert describer.describe([make_tracklet()]) == [Undescribed.MODEL]
        threads[0].join()
        assert (describer.state, describer.sentence) == (PoolState.RUNNING, "")
