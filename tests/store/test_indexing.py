from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from tests.store.made import BODY, FACE, make_sighting, make_vector
from watchline.pipeline.store.failures import StaleMark
from watchline.pipeline.store.indexing import Refreshed, StoreIndex, VectorStore
from watchline.pipeline.store.seam import Selection, VectorBatch
from watchline.pipeline.store.sighting import Sighting, StoredVector
from watchline.pipeline.store.sqlite import open_store
from watchline.reid.embeddings import EmbeddingModel, Embeddings
from watchline.reid.exact_index import ExactIndex
from watchline.reid.index import Hits, IndexFullError
from watchline.streams.errors import OutputError
from watchline.trackers.tracks import I64


class Store(VectorStore, Protocol):
    def add(self, sightings: Sequence[Sighting]) -> None: ...

    def erase(self, selection: Selection) -> Any: ...


class FakeStore:
    """Keeps the vectors of sightings in a list, and which of them were erased; it can forget the latter."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, Sighting, StoredVector]] = []
        self.gone: list[int] = []
        self.forgotten = 0
        self.next_key = 0
        self.reads = 0

    def add(self, sightings: Sequence[Sighting]) -> None:
        for sighting in sightings:
            for vector in sighting.vectors:
                self.next_key += 1
                self.kept.append((self.next_key, sighting, vector))

    def erase(self, selection: Selection) -> None:
        self.gone += [key for key, sighting, _ in self.kept if sighting.sighting_id in selection.ids]
        self.kept = [row for row in self.kept if row[1].sighting_id not in selection.ids]

    def models(self) -> list[tuple[EmbeddingModel, int]]:
        models = [vector.model for _, _, vector in self.kept]
        return [(model, models.count(model)) for model in dict.fromkeys(models)]

    def vectors(self, sha256: str, after: int = -1, most: int = 10_000) -> Iterator[VectorBatch]:
        rows = [row for row in self.kept if row[0] > after and row[2].model.sha256 == sha256]
        for first in range(0, len(rows), most):
            part = rows[first : first + most]
            self.reads += 1
            yield VectorBatch(
                np.array([key for key, _, _ in part], np.int64),
                np.stack([vector.vector for _, _, vector in part]),
                np.arange(len(part), dtype=np.int32),
                np.array([sighting.started_at for _, sighting, _ in part]),
                np.array([sighting.ended_at for _, sighting, _ in part]),
                tuple(sighting.camera for _, sighting, _ in part),
                tuple(sighting.sighting_id for _, sighting, _ in part),
            )

    def removed(self, after: int = -1) -> tuple[I64, int]:
        if 0 <= after < self.forgotten:
            raise StaleMark("too old")
        return np.array(self.gone[max(after, self.forgotten) :], np.int64), len(self.gone)


@pytest.fixture(params=["fake", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeStore()
        return
    sqlite = open_store(tmp_path / "sightings.db")
    yield sqlite
    sqlite.close()


def store_some(store: Store, count: int, **changed: Any) -> list[Sighting]:
    made = [make_sighting(crops=(), **changed) for _ in range(count)]
    store.add(made)
    return made


def ask(sightings: Sequence[Sighting]) -> Embeddings:
    vectors = np.stack([sighting.vectors[0].vector for sighting in sightings]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Embeddings(vectors, np.arange(len(vectors), dtype=np.int32), sightings[0].vectors[0].model)


def first_found(index: StoreIndex, sightings: Sequence[Sighting], **filters: Any) -> list[str]:
    return [ids[0] for ids in index.search(ask(sightings), 2, **filters).sighting_ids]


def ids_of(sightings: Sequence[Sighting]) -> list[str]:
    return [sighting.sighting_id for sighting in sightings]


def erase(store: Store, sightings: Sequence[Sighting]) -> None:
    store.erase(Selection(ids=tuple(ids_of(sightings))))


def test_what_is_stored_is_found_after_the_first_refresh(store: Store) -> None:
    made = store_some(store, 25)
    index = StoreIndex(store, ExactIndex(BODY, block_rows=8), batch=10)
    assert index.refresh() == Refreshed(25, 0)
    assert first_found(index, made) == ids_of(made)
    status = index.status()
    assert (status.held, status.behind, status.unusable) == (25, 0, 0)


def test_it_keeps_in_step(store: Store) -> None:
    made = store_some(store, 12)
    index = StoreIndex(store, ExactIndex(BODY))
    index.refresh()
    assert index.refresh() == Refreshed(0, 0)
    made += store_some(store, 5)
    assert index.status().behind == 5
    erase(store, made[:3])
    assert index.refresh() == Refreshed(5, 3)
    assert first_found(index, made[3:]) == ids_of(made[3:])
    assert not {*first_found(index, made[:3])} & {*ids_of(made[:3])}
    assert len(index.index) == 14


def test_what_was_erased_before_it_was_read_never_comes(store: Store) -> None:
    made = store_some(store, 6)
    erase(store, made[:2])
    index = StoreIndex(store, ExactIndex(BODY))
    assert index.refresh() == Refreshed(4, 0)
    erase(store, store_some(store, 2))
    assert index.refresh() == Refreshed(0, 0)
    assert len(index.index) == 4


def test_vectors_of_different_models_never_meet(store: Store) -> None:
    rng = np.random.default_rng(1)
    both = [make_sighting(crops=(), vectors=(make_vector(rng, FACE), make_vector(rng, BODY))) for _ in range(4)]
    store.add(both)
    faces, bodies = (StoreIndex(store, ExactIndex(model)) for model in (FACE, BODY))
    assert (faces.refresh().added, bodies.refresh().added) == (4, 4)
    assert first_found(faces, both) == ids_of(both)
    assert faces.status().behind == bodies.status().behind == 0


def test_cameras_and_times_are_those_of_the_sightings(store: Store) -> None:
    made = [make_sighting(crops=(), camera=camera, started_at=at, ended_at=at + 5) for camera, at in CAMERAS_AND_TIMES]
    store.add(made)
    index = StoreIndex(store, ExactIndex(BODY), batch=2)
    index.refresh()

    def found(**filters: Any) -> set[str]:
        return {*index.search(ask(made[:1]), 9, **filters).sighting_ids[0]} - {""}

    assert found() == {*ids_of(made)}
    assert found(cameras=["yard"]) == {*ids_of(made[1:3])}
    assert found(since=200.0, until=300.0) == {*ids_of(made[1:2])}


CAMERAS_AND_TIMES = [("door", 100.0), ("yard", 200.0), ("yard", 300.0), ("gate", 400.0), ("door", 500.0)]


def test_a_full_index_says_so_lets_erased_ones_go_and_goes_on_where_there_is_room(store: Store) -> None:
    made = store_some(store, 10)
    index = StoreIndex(store, ExactIndex(BODY, most=6), batch=2)
    for _ in range(2):
        with pytest.raises(IndexFullError, match="it may hold 6"):
            index.refresh()
        assert (index.status().held, index.status().behind) == (6, 4)
    erase(store, made[:4])
    assert index.refresh() == Refreshed(4, 4)
    assert first_found(index, made[4:]) == ids_of(made[4:])


def test_damaged_vectors_are_left_out_and_counted() -> None:
    store = FakeStore()
    made = store_some(store, 5)
    key, sighting, vector = store.kept[2]
    store.kept[2] = key, sighting, replace(vector, vector=vector.vector * np.float16(np.nan))
    index = StoreIndex(store, ExactIndex(BODY))
    assert index.refresh() == Refreshed(4, 0)
    assert (index.status().behind, index.status().unusable) == (0, 1)
    erase(store, made[2:3])
    assert index.refresh() == Refreshed(0, 0)
    assert index.status().unusable == 0


def test_vectors_of_a_wrong_length_are_one_clear_line() -> None:
    store = FakeStore()
    store_some(store, 2)
    index = StoreIndex(store, ExactIndex(replace(BODY, dimension=256)))
    with pytest.raises(OutputError, match="have 512 numbers, and its model gives 256"):
        index.refresh()


def test_where_the_log_of_erasures_is_too_short_the_whole_store_is_compared() -> None:
    store = FakeStore()
    made = store_some(store, 20)
    index = StoreIndex(store, ExactIndex(BODY), batch=4)
    erase(store, made[:1])
    index.refresh()
    erase(store, made[1:8])
    made += store_some(store, 3)
    store.forgotten = 5
    assert index.refresh() == Refreshed(3, 7)
    assert first_found(index, made[8:]) == ids_of(made[8:])
    erase(store, made[8:9])
    assert index.refresh() == Refreshed(0, 1)


def test_a_refresh_without_changes_reads_nothing() -> None:
    store = FakeStore()
    store_some(store, 20)
    index = StoreIndex(store, ExactIndex(BODY), batch=5)
    index.refresh()
    assert store.reads == 4
    index.refresh()
    assert store.reads == 4


def test_what_is_erased_while_it_is_being_found_is_not_told() -> None:
    class Late(ExactIndex):
        after: Callable[[], object] = staticmethod(lambda: None)

        def search(self, *arguments: Any, **named: Any) -> Hits:
            hits = super().search(*arguments, **named)
            self.after()
            return hits

    store, late = FakeStore(), Late(BODY)
    made = store_some(store, 3)
    index = StoreIndex(store, late)
    index.refresh()
    want = index.search(ask(made[1:2]), 3)
    erase(store, made[1:2])
    late.after = index.refresh
    nearest = index.search(ask(made[1:2]), 3)
    assert nearest.sighting_ids == ((*want.sighting_ids[0][1:], ""),)
    assert nearest.hits.key.tolist() == [[*want.hits.key[0][1:].tolist(), -1]]
    assert np.isneginf(nearest.hits.similarity[0, 2])


def test_searches_go_on_while_it_is_refreshed() -> None:
    store = FakeStore()
    index, done = StoreIndex(store, ExactIndex(BODY, block_rows=32), batch=16), threading.Event()
    asked, gone, wrong = ask(store_some(store, 1)), set[str](), []

    def search() -> None:
        while not done.is_set():
            before = frozenset(gone)
            nearest = index.search(asked, 60)
            ids = nearest.sighting_ids[0]
            if before & {*ids} or [bool(one) for one in ids] != (nearest.hits.key[0] >= 0).tolist():
                wrong.append(ids)

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        held: list[Sighting] = []
        for _ in range(60):
            held += store_some(store, 9)
            erase(store, held[:7])
            index.refresh()
            gone |= {*ids_of(held[:7])}
            held = held[7:]
        done.set()
        for future in searching:
            future.result(timeout=60)
    assert not wrong
    assert len(index.index) == 1 + 60 * 2
