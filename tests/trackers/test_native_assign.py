from __future__ import annotations

from collections.abc import Callable

import lap
import numpy as np
import pytest
from numpy.typing import NDArray

from watchline.trackers.kalman import F64

pytestmark = [pytest.mark.native, pytest.mark.usefixtures("native")]

_native = pytest.importorskip("watchline.trackers._native")

Random = np.random.Generator


def _few_values(rng: Random, shape: tuple[int, int]) -> F64:
    return rng.integers(0, 4, shape) / 10


def _mostly(value: float, rng: Random, shape: tuple[int, int]) -> F64:
    return np.where(rng.random(shape) < 0.85, value, rng.random(shape))


def _equal_lines(rng: Random, shape: tuple[int, int]) -> F64:
    cost = rng.random(shape)
    cost = cost[rng.integers(0, shape[0], shape[0])] if shape[0] else cost
    return cost[:, rng.integers(0, shape[1], shape[1])] if shape[1] else cost


KINDS: dict[str, Callable[[Random, tuple[int, int]], F64]] = {
    "random": lambda rng, shape: rng.random(shape),
    "few values": _few_values,
    "constant": lambda rng, shape: np.full(shape, rng.random()),
    "zeros": lambda rng, shape: np.zeros(shape),
    "no overlap": lambda rng, shape: _mostly(1, rng, shape),
    "negative, mostly zero": lambda rng, shape: -_mostly(0, rng, shape),  # as OC-SORT's: -(IoU + angle)
    "overlap and angle": lambda rng, shape: -(_few_values(rng, shape) + 0.1 * _mostly(0, rng, shape)),
    "equal rows": lambda rng, shape: np.repeat(rng.random((1, shape[1])), shape[0], axis=0),
    "equal columns": lambda rng, shape: np.repeat(rng.random((shape[0], 1)), shape[1], axis=1),
    "some lines twice": _equal_lines,
    "sums": lambda rng, shape: np.add.outer(rng.random(shape[0]), rng.random(shape[1])),  # every answer is the best
    "products": lambda rng, shape: np.multiply.outer(rng.random(shape[0]), rng.random(shape[1])),  # long searches
    "distances": lambda rng, shape: np.abs(np.subtract.outer(rng.random(shape[0]), rng.random(shape[1]))),
}


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ties_are_settled_as_lap_settles_them(kind: str, limited: bool) -> None:
    for seed in range(250):
        rng = np.random.default_rng(seed)
        most = 61 if seed % 5 == 0 else 13
        shape = int(rng.integers(1, most)), int(rng.integers(1, most))
        cost = np.ascontiguousarray(KINDS[kind](rng, shape), dtype=np.float64)
        limit = float(rng.choice([0.0, 0.1, 0.3, 0.5, 0.8, 0.9, 1.0, -0.3])) if limited else np.inf
        _, columns, rows = lap.lapjv(cost, extend_cost=True, cost_limit=limit)
        column_of, row_of = _native.lapjv(cost, limit)
        np.testing.assert_array_equal(column_of, columns, err_msg=f"seed {seed}")
        np.testing.assert_array_equal(row_of, rows, err_msg=f"seed {seed}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_sparse_answer_is_one_of_the_best_and_laps_where_there_is_but_one(kind: str) -> None:
    found = 0
    for seed in range(250):
        rng = np.random.default_rng(seed)
        most = 121 if seed % 10 == 0 else 31 if seed % 5 == 0 else 9
        shape = int(rng.integers(1, most)), int(rng.integers(1, most))
        cost = np.ascontiguousarray(KINDS[kind](rng, shape), dtype=np.float64)
        limit = float(rng.choice([0.0, 0.1, 0.3, 0.5, 0.8, 0.9, 1.0, 5.0, -0.3]))
        _, columns, _ = lap.lapjv(cost, extend_cost=True, cost_limit=limit)
        column_of, row_of, unique = _native.assign_sparse(cost, limit, 1e-9)
        paired = np.flatnonzero(column_of >= 0)
        np.testing.assert_array_equal(row_of[column_of[paired]], paired)
        assert (row_of >= 0).sum() == len(paired)
        assert gain(cost, column_of, limit) == pytest.approx(gain(cost, columns, limit), abs=1e-9), seed
        if unique:
            np.testing.assert_array_equal(column_of, columns, err_msg=f"seed {seed}")
        found += unique
    assert kind not in ("random", "products", "distances") or found > 50  # where there is but one, that is noticed


def gain(cost: F64, column_of: NDArray[np.int32], limit: float) -> float:
    """What the pairs cost less than if all stayed alone."""
    paired = np.flatnonzero(column_of >= 0)
    return float((limit - cost[paired, column_of[paired]]).sum())


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_nothing_is_assigned_to_nothing(shape: tuple[int, int]) -> None:
    for column_of, row_of, *_ in (_native.lapjv(np.zeros(shape), 0.8), _native.assign_sparse(np.zeros(shape), 0.8)):
        assert column_of.tolist() == [-1] * shape[0]
        assert row_of.tolist() == [-1] * shape[1]


def test_costs_of_any_size_are_solved() -> None:
    column_of, _ = _native.lapjv(np.array([[5e6, 4e6], [2e6, 3e6]]), np.inf)
    assert column_of.tolist() == [1, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("solver", ["lapjv", "assign_sparse"])
def test_costs_that_are_not_numbers_are_refused(solver: str, bad: float) -> None:
    cost = np.zeros((3, 4))
    cost[1, 2] = bad
    with pytest.raises(ValueError, match=r"^cost holds NaN or infinity$"):
        getattr(_native, solver)(cost, 0.8)


@pytest.mark.parametrize("solver", ["lapjv", "assign_sparse"])
def test_a_limit_that_is_not_a_number_is_refused(solver: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        getattr(_native, solver)(np.zeros((2, 2)), np.nan)


@pytest.mark.parametrize("solver", ["lapjv", "assign_sparse"])
@pytest.mark.parametrize("cost", [np.zeros((2, 2), np.float32), np.zeros(4), np.zeros((4, 4))[::2]])
def test_another_kind_of_array_is_refused(solver: str, cost: F64) -> None:
    with pytest.raises(TypeError):
        getattr(_native, solver)(cost, 0.8)
