"""What the tests of native trackers beside their Python twins share: frames of all kinds, and what equal means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from tests import worlds
from watchline.detectors.detections import Detections
from watchline.trackers.tracker import Tracker
from watchline.trackers.tracks import Tracks

Frames = Sequence[tuple[Detections, float]]  # what is seen, and the seconds since the frame before

BIG, TINY = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)
REAL = ("MOT17-09-FRCNN", "MOT17-10-FRCNN", "KITTI-17", "TUD-Campus", "SYN-50-0", "SYN-500-0")

_SCORES = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.6, 0.9, 1.0]) | st.floats(0, 1, width=32)
_WAITS = st.sampled_from([1 / 30, 1 / 30, 1 / 30, 0.04, 0.5, 1.7, 1e-6, 1e5])


def _boxes(places: st.SearchStrategy[float], sides: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(places, places, sides, sides, _SCORES, st.integers(0, 1))


CLOSE = _boxes(st.floats(-20, 60, width=16), st.floats(1, 40, width=16))
ON_A_GRID = _boxes(st.integers(0, 3).map(lambda i: 10.0 * i), st.sampled_from([10.0, 20.0]))  # ties everywhere
EXTREME = _boxes(
    st.sampled_from([0.0, 1.0, -BIG / 2, BIG / 4, 1e7, -1e-30]), st.sampled_from([TINY, 1.0, 40.0, 1e7, 1e30, BIG / 2])
)


def _detections(rows: list[tuple[float, ...]]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    xyxy = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1).astype(np.float32)
    kept = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)  # a tiny side added to a far place may leave nothing
    table, xyxy = table[kept], xyxy[kept]
    return Detections(xyxy, table[:, 4].astype(np.float32), table[:, 5].astype(np.int32))


def frames_of(box: st.SearchStrategy[tuple[float, ...]], most: int) -> st.SearchStrategy[Frames]:
    """Up to twelve frames of up to `most` boxes, at odd intervals."""
    detections = st.lists(box, max_size=most).map(_detections)
    return st.lists(st.tuples(detections, _WAITS), min_size=1, max_size=12)


def walking(people: int, seed: int = 0, frames: int = 40) -> Frames:
    """A crowd."""
    return [(frame, 1 / 30) for frame in worlds.crowd(people, frames, seed).frames]


def twice_in_two_classes(seed: int) -> Frames:
    """A crowd in which some are detected twice or more, some are missed, and all change class at random."""
    rng = np.random.default_rng(seed)
    frames = []
    for frame in worlds.crowd(40, frames=40, seed=seed).frames:
        rows = rng.integers(0, len(frame), len(frame) + 10)
        wait = float(rng.choice([1 / 30, 1 / 30, 0.3]))
        frames.append((Detections(frame.xyxy[rows], frame.score[rows], rng.integers(0, 2, len(rows), np.int32)), wait))
    return frames


def in_one_column() -> Frames:
    """150 boxes one below the other, which no grid over the picture's width tells apart."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(20):
        corner = np.column_stack([rng.normal(100, 1, 150), 30.0 * np.arange(150) + rng.normal(0, 1, 150)])
        xyxy = np.concatenate([corner, corner + np.array([40, 100])], axis=1).astype(np.float32)
        frames.append((Detections(xyxy, rng.uniform(0.3, 1, 150).astype(np.float32), np.zeros(150, np.int32)), 1 / 30))
    return frames


def real(data_dir: Path, name: str) -> Frames:
    """The first 150 frames of real detections; skips the test where they are not there."""
    path = data_dir / "trackers" / "inputs" / f"{name}.txt"
    if not path.exists():
        pytest.skip(f"no {path}")
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    frames = []
    for number in range(1, 151):
        shown = rows[rows[:, 0] == number, 1:].astype(np.float32)
        frames.append((Detections(shown[:, :4], shown[:, 4], np.zeros(len(shown), np.int32)), 1 / 30))
    return frames


def assert_same(native: Tracks, twin: Tracks) -> None:
    """Equal to the last bit, dtypes too."""
    for name in Tracks.__slots__:
        ours, theirs = getattr(native, name), getattr(twin, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def assert_twins(native: Tracker, twin: Tracker, frames: Frames) -> None:
    """Both give the same tracks for every frame, and know the same in the end."""
    at = 0.0
    for detections, wait in frames:
        at += wait
        with np.errstate(all="ignore"):
            expected = twin.update(detections, at)
        assert_same(native.update(detections, at), expected)
    assert native.save().to_bytes() == twin.save().to_bytes()
