from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.reid.index_kit import ask, entries, model_of, unit
from watchline.reid.block_index import BlockIndex
from watchline.reid.exact_index import ExactIndex
from watchline.reid.faiss_index import FaissIndex
from watchline.reid.shared_lock import SharedLock

GROUP = 40
GROUPS = 12


@pytest.mark.parametrize("kind", [ExactIndex, FaissIndex])
def test_who_searches_sees_all_of_a_change_or_none(kind: type[BlockIndex]) -> None:
    if kind is FaissIndex:
        pytest.importorskip("faiss")
    index = kind(model_of(), block_rows=64)  # a group lies in two blocks as often as not
    queries, done, wrong = ask(unit(2, seed=1)), threading.Event(), []

    def search() -> int:
        searches = 0
        while not done.is_set():
            hits = index.search(queries, GROUP * GROUPS)
            found, many = np.unique(hits.key[0][hits.key[0] >= 0] // GROUP, return_counts=True)
            if (many != GROUP).any() or hits.held != many.sum() or hits.searched != hits.held:
                wrong.append((found, many, hits.held))
            searches += 1
        return searches

    def change(seed: int) -> None:
        rng, mine = np.random.default_rng(seed), range(seed, GROUPS, 2)
        held: set[int] = set()
        for turn in range(200):
            group = int(rng.choice(mine))
            keys = np.arange(group * GROUP, (group + 1) * GROUP)
            if group in held:
                assert index.remove(keys) == GROUP
            else:
                index.add(entries(keys, unit(GROUP, seed=turn)))
            held ^= {group}

    with ThreadPoolExecutor(4) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        for changing in [pool.submit(change, seed) for seed in range(2)]:
            changing.result(timeout=60)
        done.set()
        assert all(future.result(timeout=60) for future in searching)
    assert not wrong


def test_once_removed_no_search_returns_it() -> None:
    index = ExactIndex(model_of(), block_rows=64)
    index.add(entries(range(500), unit(500)))
    gone, done, wrong = [-1], threading.Event(), []

    def search() -> None:
        while not done.is_set():
            before = gone[0]  # removed before this search began
            keys = index.search(ask(unit(1)), 500).key[0]
            if ((keys >= 0) & (keys <= before)).any():
                wrong.append(before)

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        for key in range(400):
            index.remove(np.array([key]))
            gone[0] = key
        done.set()
        for future in searching:
            future.result(timeout=60)
    assert not wrong


def test_readers_share_and_a_writer_waits_for_them_and_goes_before_new_ones() -> None:
    lock, order = SharedLock(), []
    inside, release = threading.Barrier(3), threading.Event()

    def read() -> None:
        with lock.reading():
            inside.wait(10)  # both are in at once
            release.wait(10)
            order.append("read")

    def write() -> None:
        with lock.writing():
            order.append("written")

    def read_late() -> None:
        with lock.reading():
            order.append("read late")

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    for target in (write, read_late):
        threads.append(threading.Thread(target=target))
        threads[-1].start()
        while target is write and not lock._waiting:
            time.sleep(0.001)
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == ["read", "read", "written", "read late"]


def test_an_error_inside_lets_the_lock_go() -> None:
    lock = SharedLock()
    for hold in (lock.reading, lock.writing):
        with pytest.raises(KeyError), hold():
            raise KeyError
    with lock.writing():
        pass
