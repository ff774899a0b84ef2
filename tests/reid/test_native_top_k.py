from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.reid.index_kit import unit
from watchline.detectors.boxes import F32
from watchline.reid.top_k import encode, none_yet, top_k_native, top_k_numpy
from watchline.trackers.tracks import I64

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("native_top_k")]

ALL = np.empty(0, np.bool_)


@pytest.fixture(scope="module")
def native_top_k(native: None) -> None:
    assert top_k_native is not None


def kernels() -> list[str]:
    if top_k_native is None:
        return []
    from watchline.reid._native import kernels

    return kernels()


def both(rows: F32, queries: F32, k: int, wanted: Any = ALL, kernel: str = "") -> tuple[F32, I64]:
    """Returns what the native function finds, having seen that its twin finds the same."""
    from watchline.reid._native import top_k

    key = np.random.default_rng(3).permutation(len(rows)).astype(np.int64)
    coded = encode(rows)
    answers = []
    for find in (top_k_numpy, partial(top_k, kernel=kernel)):
        similarity, hit_key = none_yet(len(queries), k)
        find(rows, *coded, key, wanted, queries, similarity, hit_key)
        answers.append((similarity, hit_key))
    (want, want_key), (got, got_key) = answers
    assert got_key.tolist() == want_key.tolist()
    assert got.tobytes() == want.tobytes()
    return got, got_key


@pytest.mark.parametrize("kernel", kernels())
@pytest.mark.parametrize("queries", [1, 3, 4, 5, 9])
def test_every_kernel_finds_what_the_twin_finds(kernel: str, queries: int) -> None:
    both(unit(700, 128), unit(queries, 128, seed=1), 10, kernel=kernel)


@pytest.mark.parametrize("width", [64, 192, 512, 1024])
def test_vectors_may_be_of_any_width(width: int) -> None:
    both(unit(300, width), unit(5, width, seed=1), 7)


def test_neighbours_closer_than_the_bytes_can_tell_come_in_the_right_order() -> None:
    rows = unit(1, 128) + np.random.default_rng(1).normal(0, 1e-5, (400, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    both(rows, rows[:6].copy(), 20)


def test_opposite_vectors_and_those_of_one_number_are_found_too() -> None:
    rows = np.concatenate([np.eye(64, dtype=np.float32), -np.eye(64, dtype=np.float32)])
    similarity, _ = both(rows, rows[:8].copy(), 128)
    assert similarity[:, 0].tolist() == [1.0] * 8
    assert similarity[:, -1].tolist() == [-1.0] * 8


def test_only_wanted_rows_are_found() -> None:
    wanted = np.random.default_rng(2).random(500) < 0.1
    similarity, _ = both(unit(500, 64), unit(3, 64, seed=1), 60, wanted)
    assert np.isfinite(similarity).sum() == 3 * min(60, wanted.sum())


def test_rows_and_queries_that_are_no_numbers_are_never_found() -> None:
    rows, queries = unit(50, 64), unit(6, 64, seed=1)
    rows[7, 3] = np.nan
    queries[2, 5] = np.nan
    with np.errstate(invalid="ignore"):
        similarity, key = both(rows, queries, 50)
    assert (key[2] == -1).all()
    assert [np.isfinite(row).sum() for row in similarity] == [49, 49, 0, 49, 49, 49]


def test_hits_are_carried_from_block_to_block() -> None:
    rows, queries, key = unit(300, 64), unit(4, 64, seed=1), np.arange(300)
    whole, parts = none_yet(4, 12), none_yet(4, 12)
    assert top_k_native is not None
    top_k_native(rows, *encode(rows), key, ALL, queries, *whole)
    for part in (slice(200, 300), slice(0, 7), slice(7, 200)):
        top_k_native(rows[part], *encode(rows[part]), key[part], ALL, queries, *parts)
    assert whole[1].tolist() == parts[1].tolist()


def test_what_the_bytes_leave_is_what_they_say() -> None:
    rows = unit(100, 128)
    codes, scale, rest = encode(rows)
    left = rows - scale[:, None].astype(np.float64) * (codes.astype(np.float64) - 128)
    assert np.allclose(np.linalg.norm(left, axis=1), rest, atol=1e-6)
    zeros = encode(np.zeros((2, 64), np.float32))
    assert [column.tolist() for column in zeros] == [[[128] * 64] * 2, [0, 0], [0, 0]]


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    from watchline.reid._native import top_k

    rows, queries = unit(4, 64), unit(2, 64)
    good: dict[str, Any] = dict(zip(("codes", "scale", "rest"), encode(rows), strict=True))
    good |= {"rows": rows, "key": np.arange(4), "wanted": ALL, "queries": queries}
    good |= dict(zip(("similarity", "hit_key"), none_yet(2, 3), strict=True))
    top_k(**good)
    for name, bad, message in [
        ("codes", good["codes"][:3], "codes: want 4 rows, got 3"),
        ("wanted", np.ones(3, np.bool_), "wanted: want 4 rows, got 3"),
        ("queries", np.zeros((2, 128), np.float32), "differ in width"),
        ("hit_key", np.zeros((1, 3), np.int64), "hit_key: want 2 rows, got 1"),
        ("hit_key", np.zeros((2, 0), np.int64), "differ in width"),
        ("rows", np.zeros((4, 60), np.float32), "multiple of 64"),
    ]:
        with pytest.raises(ValueError, match=message):
            top_k(**{**good, name: bad})
    for name, bad in [("rows", rows.astype(np.float64)), ("scale", good["scale"][::2]), ("key", np.arange(4.0))]:
        with pytest.raises(TypeError):
            top_k(**{**good, name: bad})
    with pytest.raises(ValueError, match="not here"):
        top_k(**good, kernel="abacus")
