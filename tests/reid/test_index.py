from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.reid.index_kit import ask, entries, model_of, plain_answer, unit
from watchline.reid.block_index import Block, BlockIndex
from watchline.reid.embeddings import Embeddings, Kind
from watchline.reid.exact_index import ExactIndex
from watchline.reid.faiss_index import FaissIndex
from watchline.reid.index import Entries, Index, IndexFullError
from watchline.reid.top_k import top_k_numpy
from watchline.streams.errors import UsageError

Make = Callable[..., BlockIndex]


@pytest.fixture(params=["exact", "exact, without native code", "faiss"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    if request.param == "faiss":
        pytest.importorskip("faiss")
        return FaissIndex
    if request.param != "exact":
        monkeypatch.setattr("watchline.reid.exact_index.top_k", top_k_numpy)
    return ExactIndex


@pytest.fixture
def index(make: Make) -> BlockIndex:
    """Three blocks and a bit: keys 0, 10, 20, ... of two cameras, one vector a second."""
    index = make(model_of(), block_rows=64)
    names = ["door" if row % 2 else "yard" for row in range(200)]
    index.add(entries(range(0, 2000, 10), unit(200), names, np.arange(200.0)))
    return index


def test_each_vector_finds_itself(index: Index) -> None:
    hits = index.search(ask(unit(200)), 3)
    assert hits.key[:, 0].tolist() == list(range(0, 2000, 10))
    assert np.allclose(hits.similarity[:, 0], 1, atol=0.01)
    assert (np.diff(hits.similarity, axis=1) <= 0).all()
    assert [str(array.dtype) for array in (hits.key, hits.similarity)] == ["int64", "float32"]


def test_an_exact_index_gives_what_float64_gives() -> None:
    index = ExactIndex(model_of(), block_rows=64)
    vectors = unit(500)
    index.add(entries(range(500), vectors))
    queries = unit(40, seed=1)
    assert index.search(ask(queries), 10).key.tolist() == plain_answer(queries, np.arange(500), vectors, 10)


def test_faiss_finds_nearly_all_of_it() -> None:
    pytest.importorskip("faiss")
    index = FaissIndex(model_of(128), block_rows=256)
    vectors, queries = unit(2000, 128), unit(50, 128, seed=1)
    index.add(entries(range(2000), vectors))
    want = plain_answer(queries, np.arange(2000), vectors, 10)
    got = index.search(ask(queries), 10).key.tolist()
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(got, want, strict=True)]) > 0.93


def test_an_empty_index_finds_nothing(make: Make) -> None:
    hits = make(model_of()).search(ask(unit(2)), 3)
    assert hits.key.tolist() == [[-1] * 3] * 2
    assert np.isneginf(hits.similarity).all()
    assert hits.complete
    assert hits.share == 1


def test_no_queries_give_no_hits(index: Index) -> None:
    assert index.search(ask(unit(0)), 3).key.shape == (0, 3)


def test_where_there_are_fewer_than_k_the_rest_is_none(make: Make) -> None:
    index = make(model_of())
    index.add(entries([7, 3], unit(2)))
    hits = index.search(ask(unit(1)), 5)
    assert hits.key.tolist() == [[7, 3, -1, -1, -1]]
    assert np.isneginf(hits.similarity[0, 2:]).all()


def test_equal_vectors_come_in_the_order_of_their_keys(make: Make) -> None:
    index = make(model_of(), block_rows=4)
    for keys in ([1, 3, 5, 7, 9, 11], [12, 13, 14]):
        index.add(entries(keys, unit(1).repeat(len(keys), axis=0)))
    assert index.search(ask(unit(1)), 4).key.tolist() == [[1, 3, 5, 7]]


def test_equal_vectors_come_in_the_order_of_their_keys_however_they_were_added() -> None:
    index = ExactIndex(model_of(), block_rows=4)
    for keys in ([12, 13, 14], [11, 1, 9, 3, 7, 5]):
        index.add(entries(keys, unit(1).repeat(len(keys), axis=0)))
    assert index.search(ask(unit(1)), 4).key.tolist() == [[1, 3, 5, 7]]


def test_filters_must_all_let_a_vector_through(index: Index) -> None:
    def found(**filters: Any) -> list[int]:
        return sorted(set((index.search(ask(unit(1)), 200, **filters).key[0] // 10).tolist()) - {-1})

    assert found() == list(range(200))
    assert found(cameras=["door"]) == list(range(1, 200, 2))
    assert found(cameras=["door", "nowhere", "yard"]) == list(range(200))
    assert found(since=50) == list(range(40, 200))  # that ended at or after this: each lasts 10 s
    assert found(until=50) == list(range(50))  # that started before this
    assert found(since=100, until=103, cameras=["yard"]) == list(range(90, 103, 2))


@pytest.mark.parametrize("filters", [{"cameras": []}, {"cameras": ["nowhere"]}, {"since": 1e9}, {"until": -1.0}])
def test_a_filter_that_lets_nothing_through_gives_none(index: Index, filters: dict[str, Any]) -> None:
    hits = index.search(ask(unit(2)), 3, **filters)
    assert (hits.key == -1).all()
    assert hits.complete  # all were looked at


def test_what_was_removed_is_never_found_again(index: Index) -> None:
    assert index.remove(np.arange(0, 1000, 20)) == 50
    assert index.remove(np.arange(0, 1000, 20)) == 0
    assert len(index) == 150
    left = {*range(10, 1000, 20), *range(1000, 2000, 10)}
    assert set(index.search(ask(unit(1)), 200).key[0].tolist()) == left | {-1}
    own = np.array(sorted(left)) // 10
    assert index.search(ask(unit(200)[own]), 1).key[:, 0].tolist() == sorted(left)  # those left still find themselves


def test_what_was_removed_is_overwritten_in_memory(index: BlockIndex) -> None:
    blocks = list(index._blocks)
    rows = {key: row.tobytes() for key, row in _stored(blocks).items()}
    gone = [*range(0, 700, 10), 1990]
    index.remove(np.array(gone, np.int64))
    memory = b"".join(column.tobytes() for block in blocks for column in block.columns)
    assert not [key for key in gone if rows[key] in memory]
    assert all(rows[key] in memory for key in rows if key not in gone)


def _stored(blocks: list[Block]) -> dict[int, np.ndarray[Any, Any]]:
    """Each key's vector, as it lies in memory."""
    return {
        int(key): vector
        for block in blocks
        for key, vector in zip(block.key[: block.count], block.columns[4][: block.count], strict=True)
    }


def test_all_removed_and_added_again_is_as_before(index: Index) -> None:
    want = index.search(ask(unit(20, seed=3)), 5)
    index.remove(np.arange(0, 2000))
    assert len(index) == index.counts.bytes == 0
    names = ["door" if row % 2 else "yard" for row in range(200)]
    index.add(entries(range(0, 2000, 10), unit(200), names, np.arange(200.0)))
    assert index.search(ask(unit(20, seed=3)), 5).key.tolist() == want.key.tolist()


def test_memory_follows_what_is_held(make: Make) -> None:
    index = make(model_of(), block_rows=64)
    index.add(entries(range(640), unit(640)))
    whole = index.counts.bytes
    index.remove(np.flatnonzero(np.arange(640) % 8))  # one of eight is left in every block
    assert len(index) == 80
    assert index.counts.bytes <= whole * 3 / 10  # at least half full, but for one block


def test_adding_and_removing_for_long_takes_no_more_memory(make: Make) -> None:
    index = make(model_of(), block_rows=16, most=100)
    for turn in range(60):
        index.add(entries(range(turn * 10, turn * 10 + 10), unit(10, seed=turn)))
        index.remove(np.arange((turn - 8) * 10, (turn - 7) * 10))
    assert len(index) == 80
    assert len(index._blocks) <= 7


def test_a_full_index_refuses_all_of_what_does_not_fit(make: Make) -> None:
    index = make(model_of(), most=10)
    index.add(entries(range(8), unit(8)))
    with pytest.raises(IndexFullError, match="3 more vectors would make 11, and it may hold 10"):
        index.add(entries(range(8, 11), unit(3)))
    assert (len(index), index.counts.refused) == (8, 3)
    index.add(entries([8, 9], unit(2)))
    assert index.counts.vectors == index.counts.most == 10
    index.remove(np.array([0]))
    index.add(entries([10], unit(1)))


def test_vectors_of_different_models_never_meet(index: Index) -> None:
    for other in (model_of(sha256="b" * 64), model_of(48), model_of(kind=Kind.FACE)):
        with pytest.raises(UsageError, match="describe both by one model"):
            index.add(entries([1], unit(1, other.dimension), model=other))
        with pytest.raises(UsageError, match="describe both by one model"):
            index.search(ask(unit(1, other.dimension), other), 1)
    assert len(index) == 200


def test_a_key_that_is_in_it_is_refused(index: Index) -> None:
    with pytest.raises(ValueError, match="key 500 is in the index already"):
        index.add(entries([501, 500], unit(2)))
    assert len(index) == 200
    assert index.search(ask(unit(1)), 200, since=-1).key.max() == 1990


def test_a_lack_of_memory_is_one_clear_line(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make(model_of(), block_rows=4)
    index.add(entries(range(5), unit(5)))

    def no_memory(rows: int) -> Block:
        raise MemoryError

    monkeypatch.setattr(index, "_new_block", no_memory)
    with pytest.raises(IndexFullError, match="no memory for 9 more vectors beside the 5 it holds"):
        index.add(entries(range(5, 14), unit(9)))
    assert (len(index), index.counts.refused) == (5, 9)
    index.add(entries([5, 6, 7], unit(3)))  # for these there is room


@pytest.mark.parametrize("k", [0, -1, 100_001])
def test_an_impossible_k_is_refused(index: Index, k: int) -> None:
    with pytest.raises(ValueError, match="want 1 to 100,000"):
        index.search(ask(unit(1)), k)


def test_k_may_be_as_large_as_it_gets(index: Index) -> None:
    hits = index.search(ask(unit(1)), 100_000)
    assert (hits.key[0] >= 0).sum() == 200


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 2.0])
def test_queries_and_entries_that_are_not_of_length_1_are_refused(bad: float) -> None:
    vectors = unit(3)
    vectors[1] *= bad
    with np.errstate(invalid="ignore"):
        with pytest.raises(ValueError, match="length 1"):
            Embeddings(vectors, np.arange(3, dtype=np.int32), model_of())
        with pytest.raises(ValueError, match="vector of key 6: want finite numbers, and the length 1"):
            entries([5, 6, 7], vectors)


def test_entries_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="one of them is there twice"):
        entries([5, 5], unit(2))
    with pytest.raises(ValueError, match="key -1: want 0 or more"):
        entries([-1], unit(1))
    good = entries([5], unit(1))
    with pytest.raises(ValueError, match="camera"):
        Entries(good.model, good.key, good.vectors, good.camera, (), good.started_at, good.ended_at)


def test_time_that_runs_out_shows_and_leaves_the_newest_part(index: BlockIndex) -> None:
    hits = index.search(ask(unit(200)), 1, budget_s=0)
    assert not hits.complete
    assert (hits.searched, hits.held) == (8, 200)  # the last block alone
    assert hits.share == 0.04
    assert hits.key.min() >= 1920
    assert index.search(ask(unit(1)), 1, budget_s=60).complete
    assert (index.counts.searches, index.counts.incomplete) == (2, 1)


def test_many_queries_are_the_same_as_one_at_a_time(index: Index) -> None:
    queries = unit(300, seed=5)
    together = index.search(ask(queries), 4)
    assert together.complete
    for row in (*range(0, 300, 11), 255, 256, 299):
        alone = index.search(ask(queries[row : row + 1]), 4)
        assert alone.key[0].tolist() == together.key[row].tolist()
        assert np.allclose(alone.similarity[0], together.similarity[row], atol=1e-6)


def test_without_faiss_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UsageError, match=r"pip install 'watchline\[faiss\]'"):
        FaissIndex(model_of())
