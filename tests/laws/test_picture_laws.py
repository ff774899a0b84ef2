"""Laws of boxes, letterboxes, suppression and batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import ScriptedEngine, make_frame
from watchline.detectors.boxes import F32, iou_matrix
from watchline.detectors.detections import Detections
from watchline.detectors.letterbox import Letterbox, pack_native, pack_numpy
from watchline.detectors.network import DetectorOptions, NetworkDetector
from watchline.detectors.nms import nms

sides = st.integers(1, 3000)


@st.composite
def boxes(draw: st.DrawFn, most: int = 40) -> F32:
    """(N, 4) xyxy float32 with area, some of them equal, some one pixel small."""
    n = draw(st.integers(0, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    corner = rng.integers(0, 60, (n, 2)).astype(np.float32)
    size = rng.integers(1, 30, (n, 2)).astype(np.float32)
    return np.concatenate([corner, corner + size], axis=1)


@settings(deadline=None)
@given(sides, sides, st.booleans(), st.integers(0, 2**32 - 1))
def test_the_letterbox_and_its_inverse_round_trip(height: int, width: int, rectangular: bool, seed: int) -> None:
    box = Letterbox.fit(height, width, 640, 640, rectangular=rectangular)
    assert box.height % 32 == box.width % 32 == 0
    assert box.top + box.resized_height <= box.height
    assert box.left + box.resized_width <= box.width
    points = np.random.default_rng(seed).random((5, 2), np.float32)
    xyxy = np.sort(np.concatenate([points, points[::-1]], axis=1).reshape(5, 2, 2), axis=1).reshape(5, 4)
    xyxy = (xyxy * np.array([width, height] * 2, np.float32)).astype(np.float32)
    assert np.allclose(box.to_frame(box.to_input(xyxy)), xyxy, atol=1e-3 / box.gain)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 9), st.integers(0, 9), st.integers(0, 255), st.data())
def test_the_numpy_twin_equals_the_native_pack(
    height: int, width: int, top: int, left: int, pad: int, data: st.DataObject
) -> None:
    if pack_native is None:
        pytest.skip("no native build here")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    shape = (3, height + top + data.draw(st.integers(0, 9)), width + left + data.draw(st.integers(0, 9)))
    ours, twin = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    pack_native(pixels, ours, pad, top, left)
    pack_numpy(pixels, twin, pad, top, left)
    assert ours.tobytes() == twin.tobytes()


@given(boxes(), boxes())
def test_overlap_is_symmetric_and_between_0_and_1(a: F32, b: F32) -> None:
    overlap = iou_matrix(a, b)
    assert overlap.shape == (len(a), len(b))
    assert ((overlap >= 0) & (overlap <= 1)).all()
    assert np.allclose(overlap, iou_matrix(b, a).T)
    assert np.allclose(np.diag(iou_matrix(a, a)), 1)


@given(boxes(), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_suppressing_twice_changes_nothing_more(xyxy: F32, iou: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.choice([0.2, 0.5, 0.5, 0.9], len(xyxy)).astype(np.float32)
    class_id = rng.integers(0, 3, len(xyxy)).astype(np.int32)
    kept = nms(xyxy, score, class_id, iou)
    assert len(set(kept.tolist())) == len(kept)
    assert (np.diff(score[kept]) <= 0).all()
    again = nms(xyxy[kept], score[kept], class_id[kept], iou)
    assert again.tolist() == list(range(len(kept)))
    same_class = class_id[kept][:, None] == class_id[kept][None, :]
    overlap = np.where(same_class, iou_matrix(xyxy[kept], xyxy[kept]), 0)
    np.fill_diagonal(overlap, 0)
    assert (overlap <= np.float32(iou)).all()


def _blob_engine() -> ScriptedEngine:
    """Two anchors whose box and scores come from the item's own pixels."""

    def output(item: F32) -> F32:
        red, green, blue = (float(channel.mean()) for channel in item)
        return np.array(
            [[20, 40], [16, 16], [8 + 8 * red, 10], [6, 6 + 4 * green], [red, 0.3], [0.1, blue]], np.float32
        )

    return ScriptedEngine(output)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(8, 90), st.integers(8, 90)), max_size=8), st.integers(0, 99))
def test_a_batch_gives_what_its_frames_give_alone(sizes: list[tuple[int, int]], seed: int) -> None:
    frames = [make_frame(seed + i, *size) for i, size in enumerate(sizes)]
    detector = NetworkDetector(_blob_engine(), DetectorOptions(least_score=0.05, size=64))
    together = detector.detect(frames)
    alone = [detector.detect([frame])[0] for frame in frames]
    for ours, single in zip(together, alone, strict=True):
        assert ours.xyxy.tobytes() == single.xyxy.tobytes()
        assert ours.score.tobytes() == single.score.tobytes()
        assert ours.class_id.tobytes() == single.class_id.tobytes()


@given(boxes(), st.integers(0, 2**32 - 1))
def test_choosing_rows_of_detections_gives_those_rows(xyxy: F32, seed: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.random(len(xyxy), np.float32)
    detections = Detections(xyxy, score, np.zeros(len(xyxy), np.int32))
    mask = rng.random(len(xyxy)) < 0.5
    assert len(detections[mask]) == mask.sum()
    assert (detections[mask].xyxy == xyxy[mask]).all()
    assert len(detections[:0]) == 0
