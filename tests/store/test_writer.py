"""The thread that writes sightings: it never makes its callers wait, and counts what it does not keep."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.made import make_sighting
from watchline.pipeline.store.failures import StoreFull
from watchline.pipeline.store.seam import Selection
from watchline.pipeline.store.sighting import Sighting
from watchline.pipeline.store.sqlite import open_store
from watchline.pipeline.store.writer import StoreWriter, WriterSettings, size_of
from watchline.streams.errors import OutputError, UsageError

QUICK = WriterSettings(commit_s=0.01, retry_s=0.05)


class Scripted:
    """A store that does as it is told: errors to raise, in turn, and a gate that holds it."""

    def __init__(self, *errors: Exception) -> None:
        self.batches: list[list[Sighting]] = []
        self.errors = list(errors)
        self.gate = threading.Event()
        self.gate.set()

    def add(self, sightings: Sequence[Sighting]) -> None:
        self.gate.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        if any(one.label == "twice" for one in sightings):
            raise UsageError("stored already")
        self.batches.append(list(sightings))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_what_was_taken_is_stored_in_few_commits(tmp_path: Path) -> None:
    store = open_store(tmp_path / "s.db", ballast_bytes=0)
    writer = StoreWriter(store)
    made = [make_sighting() for _ in range(250)]
    assert all(writer.put(one) for one in made)
    assert writer.flush(10)
    assert store.count(Selection()) == 250
    status = writer.close(5)
    assert (status.accepted, status.stored, status.lost, status.queued, status.queued_bytes) == (250, 250, 0, 0, 0)
    assert (dict(status.refused), status.trouble, status.last_error) == ({}, "", "")
    store.close()


def test_one_sighting_waits_for_others_no_longer_than_it_may() -> None:
    store = Scripted()
    writer = StoreWriter(store, replace(QUICK, commit_s=0.1))
    begun = time.monotonic()
    writer.put(make_sighting())
    assert writer.flush(5)
    assert 0.09 <= time.monotonic() - begun < 3
    begun = time.monotonic()
    for _ in range(100):
        writer.put(make_sighting())
    assert writer.flush(5)
    assert len(store.batches[0]) == 1
    writer.close(1)


def test_a_batch_has_bounds() -> None:
    store = Scripted()
    store.gate.clear()
    one = make_sighting()
    writer = StoreWriter(store, replace(QUICK, commit_most=30, commit_bytes=10 * size_of(one)))
    for _ in range(100):
        writer.put(make_sighting())
    store.gate.set()
    assert writer.flush(5)
    assert max(len(batch) for batch in store.batches) == 10
    writer.close(1)


def test_a_full_queue_refuses_at_once_and_counts() -> None:
    store = Scripted()
    store.gate.clear()
    writer = StoreWriter(store, replace(QUICK, queue=10))
    begun = time.monotonic()
    assert [writer.put(make_sighting()) for _ in range(13)] == [True] * 10 + [False] * 3
    assert time.monotonic() - begun < 1
    assert dict(writer.status().refused) == {"queue_full": 3}
    store.gate.set()
    assert writer.close(5).stored == 10


def test_a_queue_is_full_by_its_bytes_too() -> None:
    store = Scripted()
    store.gate.clear()
    one = make_sighting()
    writer = StoreWriter(store, replace(QUICK, queue_bytes=3 * size_of(one)))
    assert [writer.put(make_sighting()) for _ in range(4)] == [True] * 3 + [False]
    store.gate.set()
    assert writer.flush(5)
    small = StoreWriter(store, replace(QUICK, queue_bytes=1))
    assert small.put(one), "one that is greater than the whole queue is taken where nothing waits"
    assert writer.close(5).lost == small.close(5).lost == 0


def test_a_file_run_waits_for_room() -> None:
    store = Scripted()
    store.gate.clear()
    writer = StoreWriter(store, replace(QUICK, queue=1))
    assert writer.put(make_sighting())
    assert not writer.put(make_sighting(), wait_s=0.05)
    threading.Timer(0.1, store.gate.set).start()
    assert writer.put(make_sighting(), wait_s=5)
    assert writer.close(5).stored == 2


@pytest.mark.parametrize(
    ("error", "reason"), [(StoreFull("s.db: no room"), "full"), (OutputError("s.db: the disk fails"), "error")]
)
def test_trouble_is_told_and_nothing_that_was_taken_is_lost(error: Exception, reason: str) -> None:
    store = Scripted(error, error)
    store.gate.clear()
    writer = StoreWriter(store, replace(QUICK, queue=2, retry_s=0.3))
    made = [make_sighting() for _ in range(3)]
    assert writer.put(made[0])
    assert writer.put(made[1])
    store.gate.set()
    while not (status := writer.status()).trouble:
        time.sleep(0.005)
    assert (status.trouble, status.last_error) == (reason, str(error))
    assert abs(status.since - time.time()) < 10
    assert not writer.put(made[2])
    assert dict(writer.status().refused) == {reason: 1}
    assert writer.flush(5)
    status = writer.close(5)
    assert (status.stored, status.lost, status.trouble, status.since) == (2, 0, "", 0.0)
    assert status.last_error == str(error)


def test_one_bad_sighting_takes_no_other_with_it() -> None:
    store = Scripted()
    store.gate.clear()
    writer = StoreWriter(store, QUICK)
    for number in range(5):
        writer.put(make_sighting(label="twice" if number == 2 else "person"))
    store.gate.set()
    status = writer.close(5)
    assert (status.stored, status.lost, status.last_error) == (4, 1, "stored already")


def test_what_is_left_at_the_end_counts_as_lost() -> None:
    store = Scripted(*[StoreFull("no room")] * 1000)
    writer = StoreWriter(store, QUICK)
    for _ in range(3):
        writer.put(make_sighting())
    begun = time.monotonic()
    status = writer.close(0.2)
    assert time.monotonic() - begun < 3
    assert (status.stored, status.lost, status.queued) == (0, 3, 0)
    assert not writer.put(make_sighting())
    assert dict(writer.close(0.2).refused) == {"closed": 1}
