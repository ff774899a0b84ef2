"""A stream that repeats one picture is told from a scene in which nothing moves."""

from __future__ import annotations

import numpy as np
import pytest

from watchline.streams.frame import U8
from watchline.streams.still import StillWatch


def noisy(seed: int) -> U8:
    return np.random.default_rng(seed).integers(100, 103, (48, 64), np.uint8)


def test_the_same_picture_counts_its_seconds() -> None:
    watch = StillWatch()
    assert [watch.look(noisy(1), at) for at in (10.0, 10.5, 14.0)] == [0.0, 0.5, 4.0]


def test_noise_alone_is_a_change() -> None:
    watch = StillWatch()
    assert [watch.look(noisy(seed), 10.0 + seed) for seed in range(5)] == [0.0] * 5


@pytest.mark.parametrize("row", range(0, 48, 8))
def test_a_change_in_any_row_that_is_looked_at_is_one(row: int) -> None:
    watch, changed = StillWatch(), noisy(1)
    changed[row, 5] ^= 1
    looks = [(noisy(1), 10.0), (changed, 11.0), (changed, 12.0)]
    assert [watch.look(picture, at) for picture, at in looks] == [0.0, 0.0, 1.0]


def test_looks_are_due_five_times_a_second() -> None:
    watch = StillWatch()
    assert watch.due(10.0)
    watch.look(noisy(1), 10.0)
    assert not watch.due(10.1)
    assert watch.due(10.25)


def test_a_new_connections_first_picture_proves_no_change_and_an_outage_does_not_count() -> None:
    watch = StillWatch()
    watch.look(noisy(1), 10.0)
    watch.look(noisy(1), 13.0)
    watch.reconnected()
    assert watch.look(noisy(2), 60.0) == 3.0
    assert watch.look(noisy(2), 61.0) == 4.0
    assert watch.look(noisy(3), 62.0) == 0.0


def test_pictures_may_change_their_size() -> None:
    watch = StillWatch()
    watch.look(noisy(1), 10.0)
    assert watch.look(np.zeros((24, 32), np.uint8), 20.0) == 0.0
