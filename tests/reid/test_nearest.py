"""The rows that are nearest to queries, without an index: in parts, and equal to sorting all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from watchline.detectors.boxes import F32
from watchline.reid import top_k
from watchline.reid.features import unit
from watchline.reid.top_k import nearest


def made(count: int, seed: int, dimension: int = 70) -> F32:
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32))


def test_it_equals_the_sorted_products_of_all_pairs_in_any_number_of_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(top_k, "_ROWS_AT_ONCE", 64)
    rows, queries = made(300, 1), made(40, 2)
    rows[250] = rows[3]  # of equals the first one comes first
    queries[0] = rows[3]
    products = queries.astype(np.float64) @ rows.T.astype(np.float64)
    similarity, row = nearest(rows, queries, 9)
    assert row.tolist() == np.argsort(-products.round(9), axis=1, kind="stable")[:, :9].tolist()
    assert np.allclose(similarity, np.take_along_axis(products, row, axis=1), atol=1e-6)


def test_no_more_come_than_there_are() -> None:
    similarity, row = nearest(made(3, 1), made(2, 2), 10)
    assert similarity.shape == row.shape == (2, 3)
    assert sorted(row[0].tolist()) == [0, 1, 2]
    assert nearest(made(3, 1), made(0, 2), 10)[1].shape == (0, 3)


def test_a_row_without_a_direction_stands_between_alike_and_unlike() -> None:
    rows = np.array([[-1, 0], [0, 0], [1, 0]], np.float32)
    similarity, row = nearest(rows, np.array([[1, 0], [0, 0]], np.float32), 3)
    assert row.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert similarity.tolist() == [[1, 0, -1], [0, 0, 0]]
