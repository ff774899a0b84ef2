"""The Kalman filters of all trackers: four numbers and their speeds per box, all boxes at once.

With a constant-velocity F, an H that reads the place, and diagonal P0, Q and R, the 8-state filter of
the SORT family falls apart into four filters of two states that never touch: no matrices, no inverses.
Speeds are per step; a step is what the noise was tuned for (one frame at 30 frames a second).

Source: noise as in DeepSORT and ByteTrack (arXiv 1703.07402, 2110.06864); that of xysr as in SORT (arXiv 1602.00763).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]

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
_ASPECT_FOLLOWED = 2e-2  # measured: two fifths of what is new are learnt; with 1e-1 a tenth, and a wrong width stays

# Variances of xysr: centre x, centre y, area, aspect. The aspect has no speed.
_XYSR_START, _XYSR_SPEED_START = np.full(4, 10.0), np.array([1e4, 1e4, 1e4, 0])
_XYSR_NOISE, _XYSR_SPEED_NOISE = np.ones(4), np.array([1e-2, 1e-2, 1e-4, 0])
_XYSR_MEASURED = np.array([1.0, 1, 10, 10])
# Half of what is new in size and shape is learnt; with 10 a quarter. HOTA of cars in KITTI 59.2 to 61.2.
_XYSR_FOLLOWED = np.array([1.0, 1, 2, 2])


def start(place: F64, p_place: F64, p_speed: F64) -> Motion:
    """Returns (N,) motions that stand still at `place`; all arguments (N, 4)."""
    motion = np.zeros(len(place), MOTION)
    motion["place"], motion["p_place"], motion["p_speed"] = place, p_place, p_speed
    return motion


def predict(motion: Motion, q_place: F64, q_speed: F64, steps: F64 | float) -> Motion:
    """Returns the motions `steps` steps later; one leap of n steps equals n leaps of one with the same noise.

    Args:
        motion: (N,) of MOTION; not changed.
        q_place: (N, 4) variance that one step adds to the place.
        q_speed: (N, 4) variance that one step adds to the speed.
        steps: from 0, need not be whole; one for all or (N, 1).
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
    steady = motion.copy()
    steady["speed"][:, 2:][motion["place"][:, 2:] + steps * motion["speed"][:, 2:] <= 0] = 0
    return drift_xyah(steady, steps)


def drift_xyah(motion: Motion, steps: float) -> Motion:
    """Returns the motions `steps` later with ByteTrack's noise, wherever that leads."""
    height = motion["place"][:, 3]
    return predict(motion, _variance(height, _PLACE, _ASPECT), _variance(height, _SPEED, _ASPECT_SPEED), steps)


def correct_xyah(motion: Motion, boxes: F64) -> Motion:
    """Returns the motions after their (N, 4) boxes xyah were seen, with ByteTrack's noise."""
    return correct(motion, boxes, _variance(motion["place"][:, 3], _PLACE, _ASPECT_MEASURED))


def follow_xyah(motion: Motion, boxes: F64) -> Motion:
    """Returns the motions after their (N, 4) boxes xyah were seen, with an aspect that keeps up with them."""
    return correct(motion, boxes, _variance(motion["place"][:, 3], _PLACE, _ASPECT_FOLLOWED))


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


def start_xysr(boxes: F64) -> Motion:
    """Returns (N,) motions of (N, 4) boxes xysr, as SORT begins them."""
    n = len(boxes)
    return start(boxes, np.tile(_XYSR_START, (n, 1)), np.tile(_XYSR_SPEED_START, (n, 1)))


def predict_xysr(motion: Motion, steps: F64 | float) -> Motion:
    """Returns the motions `steps` later with SORT's noise; a box that would shrink to nothing stops shrinking."""
    steady = motion.copy()
    steady["speed"][:, 2:3][motion["place"][:, 2:3] + steps * motion["speed"][:, 2:3] <= 0] = 0
    return drift_xysr(steady, steps)


def drift_xysr(motion: Motion, steps: F64 | float) -> Motion:
    """Returns the motions `steps` later with SORT's noise, wherever that leads."""
    return predict(motion, _XYSR_NOISE, _XYSR_SPEED_NOISE, steps)


def correct_xysr(motion: Motion, boxes: F64) -> Motion:
    """Returns the motions after their (N, 4) boxes xysr were seen, with SORT's noise."""
    return correct(motion, boxes, _XYSR_MEASURED)


def retrace_xysr(motion: Motion, first: F64, last: F64, gap: I64) -> Motion:
    """Returns the motions as they would be had their boxes been seen on a straight way from `first` to `last`.

    Args:
        motion: (N,) of MOTION, predicted for the frame after `first`; not changed.
        first: (N, 4) xysr, the last box seen before `motion`.
        last: (N, 4) xysr, the box seen `gap` frames after `first`; the motions returned have seen it.
        gap: (N,) frames, from 1.
    """
    motion = motion.copy()
    start = np.column_stack([first[:, :2], xysr_to_size(first)])
    stride = (np.column_stack([last[:, :2], xysr_to_size(last)]) - start) / gap[:, None]
    for step in range(1, gap.max(initial=0) + 1):
        on = gap >= step
        x, y, width, height = (start[on] + step * stride[on]).T
        motion[on] = correct_xysr(motion[on], np.column_stack([x, y, width * height, width / height]))
        motion[gap > step] = drift_xysr(motion[gap > step], steps=1)
    return motion


def follow_xysr(motion: Motion, first: F64, last: F64, steps: F64, stops: I64) -> Motion:
    """Returns the motions after `last` was seen, and boxes at even stops on a straight way there from `first`.

    Size and shape keep up with the boxes better than with SORT's noise.

    Args:
        motion: (N,) of MOTION, as it was when it had seen `first`; not changed.
        first: (N, 4) xyxy, the last box seen before.
        last: (N, 4) xyxy, the box seen now.
        steps: (N,) from then until now, above 0.
        stops: (N,) boxes to learn, from 1; the last is `last`, and where there is but one, none is made up.
    """
    motion = motion.copy()
    for stop in range(1, stops.max(initial=0) + 1):
        on = stops >= stop
        share = (stop / stops[on])[:, None]
        box = (1 - share) * first[on] + share * last[on]
        expected = predict_xysr(motion[on], (steps / stops)[on, None])
        motion[on] = correct(expected, xyxy_to_xysr(box), _XYSR_FOLLOWED)
    return motion


def xyxy_to_xysr(boxes: F64) -> F64:
    """Returns (N, 4) centre x, centre y, area, width / height of (N, 4) xyxy."""
    size = boxes[:, 2:] - boxes[:, :2]
    aspect = size[:, 0] / (size[:, 1] + 1e-6)  # as SORT's users have it: the height comes back 5e-7 off
    return np.column_stack([boxes[:, :2] + size / 2, size[:, 0] * size[:, 1], aspect])


def xysr_to_size(boxes: F64) -> F64:
    """Returns (N, 2) width and height of (N, 4) xysr; NaN where area and aspect belong to no box."""
    with np.errstate(invalid="ignore", divide="ignore"):
        width = np.sqrt(boxes[:, 2] * boxes[:, 3])
        return np.column_stack([width, boxes[:, 2] / width])


def xysr_to_xyxy(boxes: F64) -> F64:
    """Returns (N, 4) xyxy of (N, 4) centre x, centre y, area, width / height; NaN where they belong to no box.

    >>> xysr_to_xyxy(xyxy_to_xysr(np.array([[0.0, 3, 10, 23]]))).round(3)
    array([[ 0.,  3., 10., 23.]])
    """
    half = xysr_to_size(boxes) / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _variance(height: F64, share: float, aspect: float) -> F64:
    """Returns (N, 4) variances of xyah: standard deviations are `share` of the height, the aspect's is `aspect`."""
    deviation = np.repeat(share * height[:, None], 4, axis=1)
    deviation[:, 2] = aspect
    return np.square(deviation)
