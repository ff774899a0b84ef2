"""Laws of the index: whatever is added and removed, it finds what a plain sort finds; native and twin are equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reid.index_kit import ask, entries, model_of
from watchline.detectors.boxes import F32
from watchline.reid.exact_index import ExactIndex
from watchline.reid.top_k import encode, none_yet, top_k_native, top_k_numpy
from watchline.trackers.tracks import I64

_CAMERAS = ("door", "yard", "gate")


def _vectors(rng: np.random.Generator, count: int, width: int) -> F32:
    """Unit vectors of one of four kinds: spread, on a coarse grid (many equal ones), all positive, or all but equal."""
    kind = rng.integers(4)
    vectors = rng.standard_normal((count, width)) if kind else rng.integers(-1, 2, (count, width)).astype(float)
    if kind == 2:
        vectors = np.maximum(vectors, 0)
    if kind == 3 and count:
        vectors = vectors[:1] + vectors * 10.0 ** -rng.integers(1, 8)
    vectors[np.linalg.norm(vectors, axis=1) < 1e-3, 0] = 1
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.native
@pytest.mark.usefixtures("native")
@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(0, 9), st.integers(1, 70), st.booleans())
def test_the_native_search_is_the_twins(seed: int, count: int, asked: int, k: int, filtered: bool) -> None:
    assert top_k_native is not None
    rng = np.random.default_rng(seed)
    rows, queries = _vectors(rng, count, 64), _vectors(rng, asked, 64)
    queries[: min(asked, count) // 2] = rows[: min(asked, count) // 2]
    key = rng.permutation(count * 2)[:count].astype(np.int64)
    wanted = rng.random(count) < 0.5 if filtered else np.empty(0, np.bool_)
    want, got = none_yet(asked, k), none_yet(asked, k)
    top_k_numpy(rows, *encode(rows), key, wanted, queries, *want)
    top_k_native(rows, *encode(rows), key, wanted, queries, *got)
    assert got[1].tolist() == want[1].tolist()
    assert got[0].tobytes() == want[0].tobytes()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 12))
def test_an_index_finds_what_a_sort_of_what_is_in_it_finds(seed: int, block_rows: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    index, next_key = ExactIndex(model_of(8), block_rows=block_rows), 0
    held: dict[int, tuple[F32, str, float]] = {}
    for _ in range(12):
        if rng.random() < 0.6:
            count = int(rng.integers(0, 30))
            keys = np.arange(next_key, next_key + count)
            next_key += count
            rng.shuffle(keys)
            vectors, names = _vectors(rng, count, 8), rng.choice(_CAMERAS, count).tolist()
            at = rng.integers(0, 100, count).astype(float)
            index.add(entries(keys, vectors, names, at))
            rows = zip(keys.tolist(), vectors, names, at.tolist(), strict=True)
            held |= {key: (vector, name, start) for key, vector, name, start in rows}
        else:
            gone = rng.integers(0, next_key + 1, int(rng.integers(0, 40)))
            assert index.remove(gone) == len(held.keys() & set(gone.tolist()))
            held = {key: value for key, value in held.items() if key not in set(gone.tolist())}
        cameras = None if rng.random() < 0.5 else rng.choice(_CAMERAS, int(rng.integers(0, 3))).tolist()
        since, until = (None if rng.random() < 0.5 else float(rng.integers(0, 110)) for _ in range(2))
        passing = [
            key
            for key, (_, name, start) in held.items()
            if (cameras is None or name in cameras)
            and (since is None or start + 10 >= since)
            and (until is None or start < until)
        ]
        queries = ask(_vectors(rng, 3, 8))
        hits = index.search(queries, k, cameras, since, until)
        assert (hits.held, hits.complete) == (len(held), True)
        _assert_right(hits.key, hits.similarity, queries.vectors, {key: held[key][0] for key in passing}, k)


def _assert_right(key: I64, similarity: F32, queries: F32, held: dict[int, F32], k: int) -> None:
    keys = np.array(sorted(held), np.int64)
    table = np.array([held[one] for one in keys.tolist()], np.float64).reshape(len(keys), queries.shape[1])
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    for row, query in enumerate(queries.astype(np.float64)):
        cosine = table @ (query / np.linalg.norm(query))
        want = np.sort(cosine)[::-1][:k]
        got = key[row][key[row] >= 0]
        assert len(got) == len(want) == len(set(got.tolist()))
        assert np.allclose(similarity[row][: len(got)], want, atol=1e-6)  # equal ones may change places
        assert np.allclose(cosine[np.searchsorted(keys, got)], want, atol=1e-6)
        pairs = list(zip((-similarity[row][: len(got)]).tolist(), got.tolist(), strict=True))
        assert pairs == sorted(pairs)
