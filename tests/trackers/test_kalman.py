from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchline.trackers import kalman
from watchline.trackers.kalman import F64, Motion

BOXES = np.array([[100.0, 200, 0.4, 120], [3, 4, 2.5, 1], [-50, 900, 1, 1000]])


def textbook_matrices(height: float) -> tuple[F64, F64, F64]:
    """P0, Q and R of the 8-state filter [x, y, a, h, vx, vy, va, vh] for a box height, as the papers give them."""
    place, speed = height / 20, height / 160
    p0 = np.diag([2 * place, 2 * place, 1e-2, 2 * place, 10 * speed, 10 * speed, 1e-5, 10 * speed]) ** 2
    q = np.diag([place, place, 1e-2, place, speed, speed, 1e-5, speed]) ** 2
    r = np.diag([place, place, 1e-1, place]) ** 2
    return p0, q, r


def as_mean_and_covariance(motion: Motion) -> tuple[F64, F64]:
    mean = np.concatenate([motion["place"], motion["speed"]])
    covariance = np.diag(np.concatenate([motion["p_place"], motion["p_speed"]]))
    cross = np.diag(motion["p_cross"])
    covariance[:4, 4:] = covariance[4:, :4] = cross
    return mean, covariance


def test_the_four_small_filters_are_the_eight_state_filter_in_matrices() -> None:
    rng = np.random.default_rng(1)
    f, h = np.eye(8) + np.eye(8, k=4), np.eye(4, 8)
    motion = kalman.start_xyah(BOXES[:1])
    mean, covariance = np.concatenate([BOXES[0], np.zeros(4)]), textbook_matrices(BOXES[0, 3])[0]
    for _ in range(50):
        q = textbook_matrices(mean[3])[1]
        mean, covariance = f @ mean, f @ covariance @ f.T + q
        motion = kalman.predict_xyah(motion, 1)
        seen = BOXES[0] + rng.normal(0, 1, 4) * [5, 5, 0.02, 5]
        r = textbook_matrices(mean[3])[2]
        gain = covariance @ h.T @ np.linalg.inv(h @ covariance @ h.T + r)
        mean, covariance = mean + gain @ (seen - h @ mean), covariance - gain @ h @ covariance
        motion = kalman.correct_xyah(motion, seen[None])
        got = as_mean_and_covariance(motion[0])
        np.testing.assert_allclose(got[0], mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(got[1], covariance, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(st.floats(0, 20), st.floats(0, 20))
def test_one_long_leap_is_two_short_ones(first: float, second: float) -> None:
    motion = kalman.correct_xyah(kalman.predict_xyah(kalman.start_xyah(BOXES), 1), BOXES * 1.01)
    noise = np.ones((3, 4)), np.full((3, 4), 0.01)
    leap = kalman.predict(motion, *noise, first + second)
    two = kalman.predict(kalman.predict(motion, *noise, first), *noise, second)
    for name in motion.dtype.names or ():
        np.testing.assert_allclose(two[name], leap[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1.0, 30.0, 18_000.0])
def test_a_shrinking_box_never_turns_inside_out(steps: float) -> None:
    motion = kalman.start_xyah(BOXES)
    motion["speed"][:, 3] = -0.9 * BOXES[:, 3]
    later = kalman.predict_xyah(motion, steps)
    assert (later["place"][:, 2:] > 0).all()


def test_predicting_and_correcting_leave_their_inputs_alone() -> None:
    motion = kalman.start_xyah(BOXES)
    before = motion.copy()
    kalman.correct_xyah(kalman.predict_xyah(motion, 3), BOXES)
    assert (motion == before).all()
    assert kalman.predict_xyah(motion[:0], 1).shape == kalman.correct_xyah(motion[:0], BOXES[:0]).shape == (0,)


def test_variances_stay_positive_through_years_of_sight_and_blindness() -> None:
    motion = kalman.start_xyah(BOXES)
    for i in range(5_000):
        motion = kalman.predict_xyah(motion, 0.1 if i % 3 else 50)
        if i % 5:
            motion = kalman.correct_xyah(motion, BOXES)
    assert (motion["p_place"] > 0).all()
    assert (motion["p_speed"] > 0).all()
    assert (motion["p_cross"] ** 2 <= motion["p_place"] * motion["p_speed"]).all()
