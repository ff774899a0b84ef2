"""Memory of outputs is used again, and never while somebody holds it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from watchline.detectors.recycling import Recycler


def test_memory_that_nobody_holds_is_used_again() -> None:
    recycler = Recycler()
    places = {recycler.copy(np.full((3, 4), i, np.float32)).ctypes.data for i in range(10)}
    assert len(places) == 1


def test_a_view_of_a_view_holds_its_memory() -> None:
    recycler = Recycler()
    view = recycler.copy(np.zeros((3, 4), np.float32))[1:][0].T
    for i in range(10):
        recycler.copy(np.full((3, 4), i + 1, np.float32))
    assert view.tolist() == [0.0] * 4


def test_what_is_held_stays_as_it_is_with_many_threads_and_more_held_than_are_kept() -> None:
    recycler = Recycler()

    def work(thread: int) -> bool:
        held = []
        for i in range(300):
            held.append((1000 * thread + i, recycler.copy(np.full((20, 30), 1000 * thread + i, np.float32))))
            if len(held) > 20:
                del held[thread % 20]
            if not all((array == value).all() for value, array in held):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


def test_arrays_of_another_shape_are_their_own() -> None:
    recycler = Recycler()
    assert [recycler.copy(np.ones(n, np.float32)).shape for n in (3, 5, 3)] == [(3,), (5,), (3,)]
