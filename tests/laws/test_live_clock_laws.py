"""The times of live frames: always rising, healed where a camera is wrong, untouched by the wall clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchline.streams.frame import ClockSource
from watchline.streams.live_clock import LEAST_STEP_S, TRUSTED_S, LiveClock, Stamp

WALL = 1.7e9


def play(clock: LiveClock, steps: list[tuple[float | None, float]], start_s: float = 100.0) -> list[Stamp]:
    """Stamps frames (the stream's time, arrival in seconds after start)."""
    return [clock.stamp(told, None, start_s + at, WALL + at) for told, at in steps]


times = st.one_of(st.none(), st.floats(-1e6, 1e6))


@given(st.lists(st.tuples(times, st.floats(0, 5)), min_size=1, max_size=40), st.sets(st.integers(0, 39)))
def test_times_always_rise_whatever_a_camera_says(frames: list[tuple[float | None, float]], anew: set[int]) -> None:
    clock, at, last = LiveClock(), 0.0, -1.0
    for index, (told, wait) in enumerate(frames):
        if index in anew:
            clock.connected(0.04)
        at += wait
        stamp = clock.stamp(told, None, 50.0 + at, WALL + at)
        assert stamp.pts_s >= last + LEAST_STEP_S / 2
        assert stamp.error_s >= 0
        assert stamp.captured_at <= WALL + at  # nothing is seen before it happens
        last = stamp.pts_s


@given(st.lists(st.floats(0, 0.2), min_size=2, max_size=60), st.floats(-1e5, 1e5))
def test_a_good_stream_is_followed_exactly_however_late_its_frames_come(delays: list[float], origin: float) -> None:
    clock, at, stamps = LiveClock(), 0.0, []
    for index, delay in enumerate(delays):
        at = max(at, index * 0.04 + delay)
        stamps.append(clock.stamp(origin + index * 0.04, None, 10.0 + at, WALL + at))
    steps = [b.pts_s - a.pts_s for a, b in pairwise(stamps)]
    assert steps == pytest.approx([0.04] * len(steps), abs=1e-6)
    assert (clock.healed.backwards, clock.healed.jumped, clock.healed.missing) == (0, 0, 0)


def test_a_leap_of_the_streams_time_is_healed_and_counted() -> None:
    clock = LiveClock()
    stamps = play(clock, [(0.0, 0.0), (0.04, 0.04), (500.0, 0.08), (500.04, 0.12), (3.0, 0.16), (3.04, 0.2)])
    assert [stamp.pts_s for stamp in stamps] == pytest.approx([0.0, 0.04, 0.08, 0.12, 0.16, 0.2])
    assert (clock.healed.jumped, clock.healed.backwards) == (1, 1)


def test_missing_times_are_those_of_arrival_and_are_counted() -> None:
    clock = LiveClock(period_s=0.04)
    stamps = play(clock, [(0.0, 0.0), (None, 0.05), (None, 0.08), (0.12, 0.12)])
    assert [stamp.pts_s for stamp in stamps] == pytest.approx([0.0, 0.05, 0.08, 0.12])
    assert clock.healed.missing == 2


def test_a_stream_without_times_keeps_the_time_that_goes_by() -> None:
    clock = LiveClock()
    stamps = play(clock, [(None, index * 0.1) for index in range(600)])
    assert stamps[-1].pts_s == pytest.approx(59.9)
    assert stamps[-1].captured_at == pytest.approx(WALL + 59.9)


def test_a_first_picture_without_a_time_after_an_outage_is_as_late_as_it_was() -> None:
    clock = LiveClock()
    play(clock, [(7.0, 0.0), (7.04, 0.04)])
    clock.connected(0.04)
    after = play(clock, [(None, 60.04), (0.04, 60.08)])
    assert [stamp.pts_s for stamp in after] == pytest.approx([60.04, 60.08])


@pytest.mark.parametrize("step_s", [0.02, 0.08, 0.13, 0.005])
def test_times_that_run_at_a_wrong_rate_never_leave_the_time_that_goes_by_far(step_s: float) -> None:
    clock = LiveClock()
    for index, stamp in enumerate(play(clock, [(index * step_s, index * 0.04) for index in range(5000)])):
        assert -13 < stamp.pts_s - index * 0.04 < 11
        assert stamp.captured_at > WALL + index * 0.04 - 13
    assert clock.healed.jumped > 0


def test_an_outage_is_as_long_as_it_was() -> None:
    clock = LiveClock()
    before = play(clock, [(7.0, 0.0), (7.04, 0.04)])
    clock.connected(0.04)
    after = play(clock, [(90000.0, 30.04)])
    assert after[0].pts_s - before[-1].pts_s == pytest.approx(30.0)


def test_a_pause_that_the_stream_does_not_tell_of_shows_in_the_wall_time_within_the_window() -> None:
    clock = LiveClock()
    play(clock, [(index * 0.04, index * 0.04) for index in range(25)])
    late = play(clock, [(1 + index * 0.04, 6 + index * 0.04) for index in range(600)])
    assert late[0].captured_at == pytest.approx(WALL + 1.0)  # it may have waited on the road
    assert late[0].error_s >= 5.0  # and that is told
    assert late[-1].captured_at == pytest.approx(WALL + 6 + 599 * 0.04)
    assert late[-1].error_s < 0.1
    assert late[-1].pts_s == pytest.approx(6 + 599 * 0.04)


def test_a_wall_clock_that_jumps_changes_stored_times_and_nothing_else() -> None:
    steady, jumping = LiveClock(), LiveClock()
    for index in range(200):
        told, at = index * 0.04, index * 0.04
        jump = 3600.0 if 50 <= index < 100 else -10800.0 if index >= 100 else 0.0
        first = steady.stamp(told, None, 5 + at, WALL + at)
        second = jumping.stamp(told, None, 5 + at, WALL + at + jump)
        assert second.pts_s == first.pts_s
        assert second.captured_at - jump == pytest.approx(first.captured_at, abs=1e-3)
        assert second.error_s == first.error_s
    assert jumping.healed == steady.healed


def test_the_cameras_own_clock_is_taken_where_it_can_be_true() -> None:
    clock = LiveClock()
    stamp = clock.stamp(0.0, WALL - 0.08, 5.0, WALL)
    assert (stamp.captured_at, stamp.clock) == (WALL - 0.08, ClockSource.RTCP)
    assert stamp.error_s == pytest.approx(0.08)  # the road's delay and the clock's error cannot be told apart


@pytest.mark.parametrize("off_s", [-3600.0, 3600.0, TRUSTED_S + 1])
def test_a_cameras_clock_that_cannot_be_true_is_distrusted_and_counted(off_s: float) -> None:
    clock = LiveClock()
    stamp = clock.stamp(0.0, WALL - off_s, 5.0, WALL)
    assert (stamp.captured_at, stamp.clock) == (WALL, ClockSource.ARRIVAL)
    assert clock.healed.distrusted == 1
