from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from watchline.detectors.detections import Detections
from watchline.trackers.associate import Candidates, agreement, assign, directions, iou_cost
from watchline.trackers.kalman import F64

BOXES = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60]])


def least_cost(cost: F64, limit: float) -> float:
    """The best total by trying everything; an unpaired row and column together cost `limit`."""
    rows, columns = cost.shape
    padded = np.full((rows, columns + rows), limit)
    padded[:, :columns] = cost
    return min(float(padded[range(rows), list(pick)].sum()) for pick in permutations(range(columns + rows), rows))


@settings(deadline=None)
@given(st.data(), st.floats(0.1, 0.9))
def test_an_assignment_costs_the_least_of_all(data: st.DataObject, limit: float) -> None:
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    cost = data.draw(arrays(np.float64, shape, elements=st.floats(0, 1)))
    pairs = assign(cost, limit)
    total = cost[pairs.rows, pairs.columns].sum() + limit * len(pairs.free_rows)
    assert total == pytest.approx(least_cost(cost, limit))


@settings(deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(0, 8), st.integers(0, 8)), elements=st.floats(0, 1)))
def test_every_row_and_column_is_paired_once_or_free(cost: F64) -> None:
    pairs = assign(cost, 0.8)
    assert sorted([*pairs.rows, *pairs.free_rows]) == list(range(cost.shape[0]))
    assert sorted([*pairs.columns, *pairs.free_columns]) == list(range(cost.shape[1]))
    for ascending in (pairs.rows, pairs.free_rows, pairs.free_columns):
        assert (np.diff(ascending) > 0).all()
    assert (cost[pairs.rows, pairs.columns] <= 0.8).all()


def test_a_pair_is_made_only_where_it_lowers_the_total() -> None:
    pairs = assign(np.array([[0.1, 0.5], [0.45, 0.9]]), limit=0.8)
    assert (pairs.rows.tolist(), pairs.columns.tolist()) == ([0], [0])
    assert (pairs.free_rows.tolist(), pairs.free_columns.tolist()) == ([1], [1])


def test_classes_never_mix_however_much_boxes_overlap() -> None:
    people, cars = np.zeros(3, np.int32), np.full(3, 2, np.int32)
    assert (iou_cost(BOXES, BOXES, people, cars) == 1).all()
    assert len(assign(iou_cost(BOXES, BOXES, people, cars), 0.99).rows) == 0
    np.testing.assert_allclose(np.diag(iou_cost(BOXES, BOXES, people, people)), 0)


def test_the_score_weighs_the_overlap_by_column() -> None:
    zero = np.zeros(3, np.int32)
    plain = iou_cost(BOXES, BOXES, zero, zero)
    fused = iou_cost(BOXES, BOXES, zero, zero, np.array([1, 0.5, 0.25], np.float32))
    np.testing.assert_allclose(1 - fused, (1 - plain) * [1, 0.5, 0.25])


def test_candidates_do_not_depend_on_the_order_given_and_know_where_they_came_from() -> None:
    xyxy, score = BOXES.astype(np.float32), np.array([0.3, 0.9, 0.3], np.float32)
    given_in_order = Detections(xyxy, score, np.zeros(3, np.int32))
    swap = np.array([2, 0, 1])
    a, b = Candidates.of(given_in_order), Candidates.of(given_in_order[swap])
    np.testing.assert_array_equal(a.xyxy, b.xyxy)
    np.testing.assert_array_equal(a.xyxy, xyxy[a.detection])
    np.testing.assert_array_equal(a.detection, swap[b.detection])
    assert a.score.tolist() == sorted(score.tolist(), reverse=True)


def test_agreement_is_the_angle_and_never_rises_with_it() -> None:
    angle = np.linspace(0, np.pi, 2001)
    ways = np.column_stack([np.cos(angle), np.sin(angle)])
    found = agreement(ways, np.array([1.0, 0]))
    np.testing.assert_allclose(found, 0.5 - angle / np.pi, atol=1.5e-5)
    assert (np.diff(found) < 0).all()
    assert agreement(np.array([1 + 1e-12, 0]), np.array([1.0, 0])) == 0.5  # rounding makes no NaN
    assert agreement(np.zeros(2), np.array([1.0, 0])) == 0


def test_directions_are_unit_vectors_between_centres_however_near_and_zeros_at_one_place() -> None:
    start, tiny = np.array([[0.0, 0, 10, 10]]), float(np.finfo(np.float32).smallest_subnormal)
    ends = np.array([[30.0, 40, 40, 50], [0, 0, 10, 10], [-1e38, 0, 10 - 1e38, 10]])
    np.testing.assert_allclose(directions(start, ends), np.array([[0.6, 0.8], [0, 0], [-1, 0]]))
    near = directions(np.zeros((1, 4)), np.array([[0, 0, 0, 2 * tiny]]))
    np.testing.assert_allclose(near, np.array([[0.0, 1]]))
