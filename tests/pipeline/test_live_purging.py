"""The retention of sightings: when it is applied, and when it is better left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.pipeline.live_outcomes import AT, Hands, wait_until
from watchline.pipeline.live.purging import Clocks, Purging
from watchline.pipeline.serving.sightings import Progress
from watchline.pipeline.store.seam import Erased, Keep
from watchline.streams.errors import OutputError

KEEP = Keep(crops_s=60.0)


class Store:
    """Erases one sighting of two pictures each time that it is asked to; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Keep, float]] = []
        self.error: OutputError | None = None
        self.trimmed = 0
        self.too_much = 0
        self.usable = True
        self.past: float | None = None
        self.sure = False

    def reached(self) -> float | None:
        return self.past

    def reach(self, at: float, *, surely: bool) -> None:
        self.past, self.sure = at if surely else max(at, self.past or at), surely

    def purge(self, keep: Keep, now: float) -> Erased:
        self.asked.append((keep, now))
        if self.error is not None:
            raise self.error
        return Erased(("0" * 32,), 2, 1, 0)

    def trim(self) -> Erased:
        self.trimmed += 1
        gone, self.too_much = self.too_much, 0
        return Erased(("1" * 32,) * gone, 2 * gone, gone, 0)


@contextmanager
def purging(
    store: Store,
    every_s: float,
    clock: Callable[[], float],
    steady: Callable[[], float] | None = None,
    trim_s: float = 3600,
    synchronised: Callable[[], bool] = lambda: False,
) -> Iterator[Purging]:
    made = Purging(store, KEEP, store.trim, every_s, Clocks(clock, steady or Hands(0.0), synchronised), trim_s)
    try:
        yield made
    finally:
        made.close(5.0)


def test_it_is_applied_at_the_start_and_again_and_what_it_erased_is_counted() -> None:
    store = Store()
    with purging(store, 0.05, Hands()) as one:
        wait_until(lambda: len(store.asked) >= 3)
        wait_until(lambda: one.status().purged["crops"] >= 6)
    status = one.status()
    assert store.asked[0] == (KEEP, AT)
    assert (status.purged["sightings"], status.purged["vectors"], status.failing) == (
        len(store.asked),
        len(store.asked),
        False,
    )


def test_new_bounds_apply_at_once_and_the_same_ones_change_nothing() -> None:
    store = Store()
    with purging(store, 3600, Hands()) as one:
        wait_until(lambda: len(store.asked) == 1)
        one.retain(KEEP)
        one.retain(Keep(crops_s=30.0))
        wait_until(lambda: len(store.asked) == 2)
    assert store.asked[1][0] == Keep(crops_s=30.0)


def test_one_that_fails_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.error = OutputError("people.db: the store is damaged; bring back a copy, or name a new file")
    with purging(store, 0.05, Hands()) as one:
        wait_until(lambda: one.status().failing)
        store.error = None
        wait_until(lambda: not one.status().failing)
    assert "sightings could not be purged: people.db: the store is damaged" in caplog.text


DAY = 86400.0


class Night:
    """A daemon whose retention is applied when that is asked for, by clocks that a test moves.

    Args:
        store: that it finds.
        ahead_s: of the wall clock, at the start.
    """

    def __init__(self, store: Store, ahead_s: float = 0.0) -> None:
        self.store, self.wall, self.steady, self.synchronised = store, Hands(AT + ahead_s), Hands(0.0), False
        self.keep_s = 1000.0

    @contextmanager
    def running(self) -> Iterator[Purging]:
        with purging(self.store, 1e9, self.wall, self.steady, 1e9, lambda: self.synchronised) as one:
            wait_until(lambda: self.store.trimmed > 0)
            yield one
        self.store.trimmed = 0

    def pass_by(self, one: Purging, times: int, step_s: float = 3600.0) -> float:
        """Lets hours go by, with a round after each; returns by what time the last one was."""
        for _ in range(times):
            self.wall.now, self.steady.now = self.wall.now + step_s, self.steady.now + step_s
            self.keep_s += 1
            one.retain(Keep(crops_s=self.keep_s))
            wait_until(partial(self._trimmed_after, self.store.trimmed))
        return self.store.asked[-1][1]

    def _trimmed_after(self, many: int) -> bool:
        return self.store.trimmed > many


def test_a_clock_that_jumps_ahead_counts_once_it_has_been_so_for_a_tenth_of_that(
    caplog: pytest.LogCaptureFixture,
) -> None:
    night = Night(Store())
    with night.running() as one:
        assert night.pass_by(one, 2) == AT + 7200
        night.wall.now += 10 * DAY
        assert night.pass_by(one, 23) == AT + 25 * 3600  # by the time that went by
        status = one.status()
        assert (status.held, status.ahead_s, status.failing) == (23, 10 * DAY, False)
        assert "the clock is 10 days ahead of the time that the store of sightings knows" in status.sentence
        assert night.pass_by(one, 3) == night.wall.now
        assert (one.status().ahead_s, one.status().sentence) == (0.0, "")
    assert caplog.text.count("is 10 days ahead") == 1
    assert "run for 24 hours like that or NTP keeps it right; set it right" in caplog.text


def test_a_clock_that_is_set_right_again_is_believed_at_once() -> None:
    night = Night(Store())
    with night.running() as one:
        night.wall.now += 400 * DAY
        assert night.pass_by(one, 5) == AT + 5 * 3600
        night.wall.now -= 400 * DAY
        assert night.pass_by(one, 1) == AT + 6 * 3600 == night.wall.now


def test_a_daemon_that_starts_decades_ahead_erases_nothing_by_that_though_it_runs_for_weeks() -> None:
    store = Store()
    store.past = AT
    night = Night(store, 64 * 365 * DAY)
    with night.running() as one:
        assert store.asked == [(KEEP, AT)]
        assert night.pass_by(one, 20, DAY) == AT + 20 * DAY
    assert store.past == AT + 20 * DAY  # and what it notes is no later
    with night.running() as one:  # begun anew, it knows no better
        assert night.pass_by(one, 2) == AT + 20 * DAY + 7200


@pytest.mark.parametrize(("away_days", "hours"), [(0.5, 2), (2.5, 7), (30, 73)])
def test_a_store_that_nobody_used_for_long_is_purged_after_a_tenth_of_that(away_days: float, hours: int) -> None:
    store = Store()
    store.past = AT
    night = Night(store, away_days * DAY)
    with night.running() as one:
        assert store.asked == [(KEEP, AT)]
        assert night.pass_by(one, hours - 1) < night.wall.now - 3600
        assert night.pass_by(one, 1) == night.wall.now


def test_a_clock_that_the_system_keeps_right_is_believed_at_once_and_noted_as_sure() -> None:
    store = Store()
    store.past = AT
    night = Night(store, 30 * DAY)
    night.synchronised = True
    with night.running():
        assert store.asked == [(KEEP, AT + 30 * DAY)]
    assert (store.past, store.sure) == (AT + 30 * DAY, True)


def test_a_clock_that_is_behind_erases_less_and_once_right_is_doubted_no_longer_than_the_time_away() -> None:
    store = Store()
    store.past = AT
    night = Night(store, -26 * 365 * DAY)
    with night.running() as one:
        assert night.pass_by(one, 3) == night.wall.now < AT
        night.wall.now = AT + 2.5 * DAY
        assert night.pass_by(one, 8) == night.wall.now


def test_a_clock_that_is_wrong_when_a_store_is_made_is_not_noted_before_it_ran_for_an_hour() -> None:
    store = Store()
    night = Night(store, 10 * 365 * DAY)
    with night.running() as one:
        assert store.asked and store.past is None
        night.wall.now = AT
        assert night.pass_by(one, 1) == AT + 3600
    assert [store.past] == [AT + 3600]


def test_who_erases_by_hand_makes_the_daemon_believe_the_clock() -> None:
    store = Store()
    store.past = AT
    night = Night(store, 400 * DAY)
    with night.running() as one:
        assert night.pass_by(one, 1) == AT + 3600
        store.past = night.wall.now
        assert night.pass_by(one, 1) == pytest.approx(night.wall.now, abs=3600)
        assert one.status().ahead_s == 0


def test_a_clock_that_is_set_right_between_two_rounds_is_told_within_a_minute() -> None:
    store, clock, steady = Store(), Hands(AT + 400 * DAY), Hands(0.0)
    store.past = AT
    with purging(store, 3600, clock, steady, trim_s=0.02) as one:
        wait_until(lambda: one.status().ahead_s > 0)
        clock.now = AT
        wait_until(lambda: one.status().sentence == "")
    assert (len(store.asked), one.status().held) == (1, 1)


def test_nothing_is_asked_of_a_store_that_is_away_and_it_is_purged_once_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store()
    store.usable = False
    with purging(store, 3600, Hands(), trim_s=0.02) as one:
        time.sleep(0.1)
        assert (store.asked, store.trimmed, one.status().failing) == ([], 0, False)
        store.usable = True
        wait_until(lambda: store.trimmed > 1)
    assert len(store.asked) == 1
    assert "could not" not in caplog.text


def test_what_is_too_much_goes_often_though_nothing_is_purged_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.error = OutputError("people.db: the disk is full")
    with purging(store, 3600, Hands(), trim_s=0.02) as one:
        wait_until(lambda: store.trimmed >= 2)
        store.too_much = 3
        wait_until(lambda: one.status().trimmed == 3)
        wait_until(lambda: store.trimmed >= 6)
    status = one.status()
    assert (len(store.asked), status.purged, status.failing) == (
        1,
        {"sightings": 3, "crops": 6, "vectors": 3},
        True,  # what is too old is still there
    )
    assert caplog.text.count("could not be purged") == 1


def test_progress_is_missed_only_where_there_is_something_to_do() -> None:
    steady = Hands(0.0)
    progress = Progress(steady)
    steady.now = 100.0
    assert progress.age_s(waiting=0, done=5) == 0.0
    steady.now = 150.0
    assert progress.age_s(waiting=3, done=5) == 50.0
    assert progress.age_s(waiting=3, done=6) == 0.0
