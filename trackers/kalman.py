"""The Kalman filters of all trackers: four numbers and their speeds per box, all boxes at once.

With a constant-velocity F, an H that reads the place, and diagonal P0, Q and R, the 8-state filter of
the SORT family falls apart into four filters of two states that never touch: no matrices, no inverses.
Speeds are per step; a step is what the noise was tuned for (one frame at 30 frames a second).

Source: noise as in DeepSORT and ByteTrack (arXiv 1703.07402, 2110.06864).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]

MOTION: Final = np.dtype(
    [
        ("place", np.float64, (4,)),  # what is measured, e.g. [centre x, centre y, width / height, height]
        ("speed", np.float64, (4,)),  # its change per step
        ("p_place", np.float64, (4,)),  # P: variance of the place,
        ("p_cross", np.float64, (4,)),  # covariance of place and speed,
        ("p_speed", np.float64, (4,)),  # variance of the speed
    ]
)
Motion: TypeAlias = NDArray[np.void]  # (N,) of MOTION

# Standard deviations: shares of the box height, and for the aspect a number.
_PLACE, _SPEED = 1 / 20, 1 / 160
_ASPECT, _ASPECT_SPEED, _ASPECT_MEASURED = 1e-2, 1e-5, 1e-1


def start(place: F64, p_place: F64, p_speed: F64) -> Motion:
    """Returns (N,) motions that stand still at `place`; all arguments (N, 4)."""
    motion = np.zeros(len(place), MOTION)
    motion["place"], motion["p_place"], motion["p_speed"] = place, p_place, p_speed
    return motion


def predict(motion: Motion, q_place: F64, q_speed: F64, steps: float) -> Motion:
    """Returns the motions `steps` steps later; one leap of n steps equals n leaps of one with the same noise.

    Args:
        motion: (N,) of MOTION; not changed.
        q_place: (N, 4) variance that one step adds to the place.
        q_speed: (N, 4) variance that one step adds to the speed.
        steps: from 0, need not be whole.
    """
    later = motion.copy()
    later["place"] += steps * motion["speed"]
    later["p_place"] += steps * (2 * motion["p_cross"] + steps * motion["p_speed"])
    later["p_cross"] += steps * motion["p_speed"]
    # Sums over k = 0 .. steps - 1 of what one step's noise has grown to k steps later: q_place + k^2 q_speed, ...
    later["p_place"] += steps * q_place + steps * (steps - 1) * (2 * steps - 1) / 6 * q_speed
    later["p_cross"] += steps * (steps - 1) / 2 * q_speed
    later["p_speed"] += steps * q_speed
    return later


def correct(motion: Motion, measured: F64, r: F64) -> Motion:
    """Returns the motions after a measurement of the place.

    Args:
        motion: (N,) of MOTION; not changed.
        measured: (N, 4).
        r: (N, 4) variance of the measurement, above 0.
    """
    gain_place = motion["p_place"] / (motion["p_place"] + r)
    gain_speed = motion["p_cross"] / (motion["p_place"] + r)
    surprise = measured - motion["place"]
    after = motion.copy()
    after["place"] += gain_place * surprise
    after["speed"] += gain_speed * surprise
    after["p_place"] -= gain_place * motion["p_place"]
    after["p_cross"] -= gain_place * motion["p_cross"]
    after["p_speed"] -= gain_speed * motion["p_cross"]
    return after


def start_xyah(boxes: F64) -> Motion:
    """Returns (N,) motions of (N, 4) boxes xyah, as ByteTrack begins them."""
    height = boxes[:, 3]
    return start(boxes, _variance(height, 2 * _PLACE, _ASPECT), _variance(height, 10 * _SPEED, _ASPECT_SPEED))


def predict_xyah(motion: Motion, steps: float) -> Motion:
    """Returns the motions `steps` later with ByteTrack's noise; a box that would shrink to nothing stops shrinking."""
    height = motion["place"][:, 3]
    steady = motion.copy()
    steady["speed"][:, 2:][motion["place"][:, 2:] + steps * motion["speed"][:, 2:] <= 0] = 0
    return predict(steady, _variance(height, _PLACE, _ASPECT), _variance(height, _SPEED, _ASPECT_SPEED), steps)


def correct_xyah(motion: Motion, boxes: F64) -> Motion:
    """Returns the motions after their (N, 4) boxes xyah were seen, with ByteTrack's noise."""
    return correct(motion, boxes, _variance(motion["place"][:, 3], _PLACE, _ASPECT_MEASURED))


def xyxy_to_xyah(boxes: F64) -> F64:
    """Returns (N, 4) centre x, centre y, width / height, height of (N, 4) xyxy with area."""
    size = boxes[:, 2:] - boxes[:, :2]
    return np.column_stack([boxes[:, :2] + size / 2, size[:, 0] / size[:, 1], size[:, 1]])


def xyah_to_xyxy(boxes: F64) -> F64:
    """Returns (N, 4) xyxy of (N, 4) centre x, centre y, width / height, height.

    >>> xyah_to_xyxy(xyxy_to_xyah(np.array([[0.0, 3, 10, 23]])))
    array([[ 0.,  3., 10., 23.]])
    """
    half = np.column_stack([boxes[:, 2] * boxes[:, 3], boxes[:, 3]]) / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _variance(height: F64, share: float, aspect: float) -> F64:
    """Returns (N, 4) variances of xyah: standard deviations are `share` of the height, the aspect's is `aspect`."""
    deviation = np.repeat(share * height[:, None], 4, axis=1)
    deviation[:, 2] = aspect
    return np.square(deviation)
