"""The retention of sightings: when it is applied, and when it is better left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.pipeline.live_outcomes import AT, Hands, wait_until
from watchline.pipeline.live.purging import Purging
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
) -> Iterator[Purging]:
    made = Purging(store.purge, KEEP, store.trim, every_s, clock, steady or Hands(0.0), trim_s)
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


def test_a_clock_that_jumps_ahead_makes_nothing_old_for_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    store, clock, steady = Store(), Hands(), Hands(0.0)
    with purging(store, 3600, clock, steady) as one:
        wait_until(lambda: len(store.asked) == 1)
        wait_until(lambda: not one.status().busy)
        clock.now += 86400.0
        one.retain(Keep(crops_s=30.0))
        wait_until(lambda: "the clock jumped ahead by 86400 s" in caplog.text)
        clock.now, steady.now = clock.now + 600, steady.now + 600
        one.retain(Keep(crops_s=20.0))  # a reload makes it no truer
        wait_until(lambda: store.trimmed == 3)
        assert len(store.asked) == 1
        clock.now, steady.now = clock.now + 3000, steady.now + 3000
        one.retain(KEEP)  # an hour later it is believed
        wait_until(lambda: len(store.asked) == 2)
    assert store.asked[1] == (KEEP, AT + 86400 + 3600)


def test_a_clock_that_is_set_right_again_is_believed_at_once() -> None:
    store, clock, steady = Store(), Hands(), Hands(0.0)
    with purging(store, 3600, clock, steady) as one:
        wait_until(lambda: store.trimmed == 1)
        clock.now += 86400.0
        one.retain(Keep(crops_s=30.0))
        wait_until(lambda: store.trimmed == 2)
        clock.now -= 86400.0
        one.retain(Keep(crops_s=20.0))
        wait_until(lambda: store.trimmed == 3)
    assert [keep for keep, _ in store.asked] == [KEEP, Keep(crops_s=20.0)]


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
