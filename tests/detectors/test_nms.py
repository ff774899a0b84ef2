from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32
from watchline.detectors.heads.best_class import best_classes
from watchline.detectors.nms import Nms, nms, nms_native, nms_numpy

BOTH = [pytest.param(nms_numpy, id="numpy")]
if nms_native is not None:
    BOTH.append(pytest.param(nms_native, id="native"))


def run_nms(
    suppress: Nms,
    boxes: list[list[float]],
    scores: list[float],
    classes: list[int],
    iou: float = 0.5,
    limit: int = 300,
    agnostic: bool = False,
) -> list[int]:
    xyxy = np.array(boxes, np.float32).reshape(len(boxes), 4)
    rows = suppress(xyxy, np.array(scores, np.float32), np.array(classes, np.int32), iou, limit, agnostic)
    assert rows.dtype == np.intp
    return [int(row) for row in rows]


SAME = [0.0, 0, 10, 10]


@pytest.mark.parametrize("suppress", BOTH)
@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "kept"),
    [
        ([], [], [], []),  # empty scene
        ([SAME], [0.5], [0], [0]),
        ([SAME, SAME], [0.5, 0.6], [0, 0], [1]),  # the better one stays
        ([SAME, SAME], [0.5, 0.5], [0, 0], [0]),  # equal scores: the earlier one
        ([SAME, SAME], [0.5, 0.6], [0, 1], [1, 0]),  # classes never suppress each other
        ([SAME, [10, 0, 20, 10]], [0.5, 0.6], [0, 0], [1, 0]),  # touching is no overlap
        ([SAME, [0, 0, 10, 5]], [0.9, 0.8], [0, 0], [0, 1]),  # overlap equal to the limit stays
        ([[5, 5, 6, 6], [5, 5, 6, 6]], [0.9, 0.8], [0, 0], [0]),  # one-pixel boxes
        ([[5, 5, 5, 9], [5, 5, 5, 9]], [0.9, 0.8], [0, 0], [0, 1]),  # no area, no overlap
        # a suppressed box suppresses nothing
        ([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], [0.9, 0.8, 0.7], [0, 0, 0], [0, 2]),
    ],
)
def test_who_stays(
    suppress: Nms, boxes: list[list[float]], scores: list[float], classes: list[int], kept: list[int]
) -> None:
    iou = 0.4 if len(boxes) == 3 else 0.5
    assert run_nms(suppress, boxes, scores, classes, iou=iou) == kept


@pytest.mark.parametrize("suppress", BOTH)
def test_the_limit_keeps_the_best(suppress: Nms) -> None:
    boxes = [[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(9)]
    scores = [0.1 * i for i in range(1, 10)]
    assert run_nms(suppress, boxes, scores, [0] * 9, limit=2) == [8, 7]
    assert run_nms(suppress, boxes, scores, [0] * 9, limit=0) == []


@pytest.mark.parametrize("suppress", BOTH)
def test_if_asked_to_classes_suppress_each_other(suppress: Nms) -> None:
    boxes, scores, classes = [SAME, SAME, [50.0, 0, 60, 10]], [0.5, 0.6, 0.4], [0, 1, 2]
    assert run_nms(suppress, boxes, scores, classes) == [1, 0, 2]
    assert run_nms(suppress, boxes, scores, classes, agnostic=True) == [1, 2]


@pytest.mark.parametrize("suppress", BOTH)
def test_nan_is_the_worst_score_and_a_box_with_nan_hides_none(suppress: Nms) -> None:
    boxes = [SAME, [0, 0, np.nan, 10], SAME]
    assert run_nms(suppress, boxes, [np.nan, 0.9, 0.1], [0, 0, 0]) == [1, 2]


@pytest.mark.parametrize("suppress", BOTH)
@pytest.mark.parametrize("iou", [-0.1, 1.1, np.nan, np.inf])
def test_an_overlap_out_of_range_is_refused(suppress: Nms, iou: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        run_nms(suppress, [SAME], [0.5], [0], iou=iou)


@pytest.mark.parametrize("suppress", BOTH)
def test_arrays_that_differ_in_length_are_refused(suppress: Nms) -> None:
    with pytest.raises(ValueError, match="differ in length"):
        run_nms(suppress, [SAME], [0.5, 0.6], [0])
    with pytest.raises(ValueError, match="differ in length"):
        run_nms(suppress, [SAME], [0.5], [])


def _scene(seed: int, n: int = 400) -> tuple[F32, F32, I32]:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 600, (n, 2)), rng.uniform(5, 90, (n, 2))
    xyxy = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    return xyxy, rng.random(n, np.float32), rng.integers(0, 3, n).astype(np.int32)


@pytest.mark.native
class TestNativeNms:
    @pytest.fixture(autouse=True)
    def _built(self, native: None) -> None:
        pass

    def test_refuses_other_dtypes_and_shapes(self) -> None:
        xyxy, score, class_id = _scene(1, 5)
        bad: list[tuple[Any, Any, Any]] = [
            (xyxy.astype(np.float64), score, class_id),
            (xyxy, score.astype(np.float64), class_id),
            (xyxy, score, class_id.astype(np.int64)),
            (xyxy[:, :3], score, class_id),
            (xyxy, score[:, None], class_id),
        ]
        for arrays in bad:
            with pytest.raises(TypeError):
                nms(*arrays, 0.5)

    def test_reads_arrays_where_they_lie(self) -> None:
        xyxy, score, class_id = _scene(2)
        want = nms(xyxy, score, class_id, 0.5).tolist()
        assert nms(np.asfortranarray(xyxy), np.repeat(score, 2)[::2], class_id[::-1].copy()[::-1], 0.5).tolist() == want

    def test_writes_to_nothing_it_is_given(self) -> None:
        scene = _scene(3)
        for array in scene:
            array.flags.writeable = False
        before = [array.copy() for array in scene]
        nms(*scene, iou=0.5)
        assert all((array == was).all() for array, was in zip(scene, before, strict=True))

    def test_threads_do_not_disturb_each_other(self) -> None:
        scenes = [_scene(seed) for seed in range(8)]
        alone = [nms(*scene, iou=0.3).tolist() for scene in scenes]

        def again(i: int) -> bool:
            return bool(nms(*scenes[i % 8], iou=0.3).tolist() == alone[i % 8])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(again, range(2000)))

    @pytest.mark.parametrize("call", ["nms", "best_classes"])
    def test_other_threads_run_meanwhile(self, call: str) -> None:
        xyxy = np.zeros((40_000, 4), np.float32)  # no areas: nobody goes, everybody is compared
        score, class_id = np.ones(40_000, np.float32), np.zeros(40_000, np.int32)
        scores = np.broadcast_to(np.float32(0.5), (80, 2_000_000))
        spans: list[tuple[float, float]] = []

        def work() -> None:
            started = time.perf_counter()
            if call == "nms":
                nms(xyxy, score, class_id, 0.5, len(xyxy))
            else:
                best_classes(scores, 0.9)
            spans.append((started, time.perf_counter()))

        thread = threading.Thread(target=work)
        thread.start()
        ticks = []
        while thread.is_alive():
            ticks.append(time.perf_counter())
            time.sleep(0.001)
        thread.join()
        [(started, ended)] = spans
        tenth = (ended - started) / 10
        assert any(started + tenth < tick < ended - tenth for tick in ticks), f"none in {ended - started:.3f} s"
