"""The freshest frame of each camera, and what became of every other."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import make_frame
from watchline.streams.latest import Latest
from watchline.streams.ledger import Count, Drop, Ledger


def received(ledger: Ledger) -> None:
    ledger.add(Count.RECEIVED)


def test_a_fresher_frame_takes_the_place_of_one_that_nobody_took() -> None:
    latest, ledger = Latest(), Ledger()
    outlet = latest.add("cam", ledger)
    for sequence in range(3):
        received(ledger)
        outlet.put(make_frame(sequence))
    frame = latest.take(0)
    assert frame is not None
    assert frame.sequence == 2
    assert latest.take(0) is None
    assert (ledger[Count.DELIVERED], ledger.dropped()[Drop.REPLACED], ledger.in_flight) == (1, 2, 0)


def test_cameras_take_turns_however_fast_one_of_them_is() -> None:
    latest, ledgers = Latest(), {name: Ledger() for name in "abc"}
    outlets = {name: latest.add(name, ledger) for name, ledger in ledgers.items()}
    taken = []
    for sequence in range(9):
        for name, outlet in outlets.items():
            for _ in range(50 if name == "a" else 1):
                outlet.put(make_frame(sequence, camera=name))
        frame = latest.take(0)
        assert frame is not None
        taken.append(frame.camera)
    assert {name: taken.count(name) for name in "abc"} == {"a": 3, "b": 3, "c": 3}


def test_taking_waits_for_a_frame_and_no_longer_than_asked() -> None:
    latest, ledger = Latest(), Ledger()
    outlet = latest.add("cam", ledger)
    begun = time.monotonic()
    assert latest.take(0.1) is None
    assert 0.09 <= time.monotonic() - begun < 2
    threading.Timer(0.05, outlet.put, (make_frame(),)).start()
    assert latest.take(5) is not None


def test_a_removed_cameras_frames_count_as_stopped_and_later_ones_too() -> None:
    latest, ledger = Latest(), Ledger()
    outlet = latest.add("cam", ledger)
    for _ in range(2):
        received(ledger)
        outlet.put(make_frame())
    latest.remove("cam")
    received(ledger)
    outlet.put(make_frame())
    assert latest.take(0) is None
    assert (ledger.dropped()[Drop.REPLACED], ledger.dropped()[Drop.STOPPED], ledger.in_flight) == (1, 2, 0)


def test_a_lossless_camera_waits_instead_of_dropping() -> None:
    latest, ledger = Latest(), Ledger()
    outlet = latest.add("file", ledger, lossless=True)

    def give() -> None:
        for index in range(20):
            outlet.put(make_frame(index))

    giver = threading.Thread(target=give)
    giver.start()
    taken: list[int] = []
    while len(taken) < 20:
        frame = latest.take(5)
        assert frame is not None
        taken.append(frame.sequence)
    giver.join()
    assert taken == list(range(20))
    assert sum(ledger.dropped().values()) == 0


def test_closing_wakes_whoever_gives_or_takes() -> None:
    latest, ledger = Latest(), Ledger()
    outlet = latest.add("file", ledger, lossless=True)
    outlet.put(make_frame())
    giver = threading.Thread(target=outlet.put, args=(make_frame(1),))
    giver.start()
    time.sleep(0.05)
    latest.close()
    giver.join(5)
    assert not giver.is_alive()
    assert latest.take(60) is None
    assert ledger.dropped()[Drop.STOPPED] == 2


def test_one_name_is_one_camera() -> None:
    latest = Latest()
    latest.add("cam", Ledger())
    with pytest.raises(ValueError, match="added twice"):
        latest.add("cam", Ledger())


@given(st.lists(st.sampled_from(["put a", "put b", "take", "remove a"]), max_size=60), st.integers(1, 3))
def test_every_frame_is_delivered_dropped_or_in_flight(steps: list[str], places: int) -> None:
    latest, ledgers = Latest(), {"a": Ledger(), "b": Ledger()}
    outlets = {name: latest.add(name, ledger, places) for name, ledger in ledgers.items()}
    removed = False
    taken: dict[str, list[int]] = {"a": [], "b": []}
    for index, step in enumerate(steps):
        if step == "take":
            frame = latest.take(0)
            if frame is not None:
                taken[frame.camera].append(frame.sequence)
        elif step == "remove a" and not removed:
            latest.remove("a")
            removed = True
        elif step.startswith("put"):
            name = step[-1]
            received(ledgers[name])
            outlets[name].put(make_frame(index, camera=name))
        for name, ledger in ledgers.items():
            assert 0 <= ledger.in_flight <= (0 if removed and name == "a" else places)
            assert ledger[Count.DELIVERED] == len(taken[name])
            assert taken[name] == sorted(set(taken[name]))


def test_where_all_wait_a_camera_of_twice_the_weight_is_taken_twice_as_often() -> None:
    latest = Latest()
    outlets = {name: latest.add(name, Ledger(), weight=weight) for name, weight in (("a", 1.0), ("b", 2.0), ("c", 0.5))}
    taken = []
    for sequence in range(70):
        for name, outlet in outlets.items():
            outlet.put(make_frame(sequence, camera=name))
        frame = latest.take(0)
        assert frame is not None
        taken.append(frame.camera)
    assert {name: taken.count(name) for name in outlets} == {"a": 20, "b": 40, "c": 10}


def test_a_camera_that_was_silent_does_not_make_up_for_it() -> None:
    latest = Latest()
    busy, silent = (latest.add(name, Ledger()) for name in ("busy", "silent"))
    for sequence in range(50):
        busy.put(make_frame(sequence, camera="busy"))
        latest.take(0)
    taken = []
    for sequence in range(10):
        busy.put(make_frame(sequence, camera="busy"))
        silent.put(make_frame(sequence, camera="silent"))
        frame = latest.take(0)
        assert frame is not None
        taken.append(frame.camera)
    assert taken.count("silent") == 5


def test_a_weight_may_change_while_frames_wait() -> None:
    latest = Latest()
    outlets = {name: latest.add(name, Ledger()) for name in "ab"}
    latest.weigh("b", 3.0)
    taken = []
    for sequence in range(40):
        for name, outlet in outlets.items():
            outlet.put(make_frame(sequence, camera=name))
        frame = latest.take(0)
        assert frame is not None
        taken.append(frame.camera)
    assert taken.count("b") == pytest.approx(30, abs=1)
