from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import make_detections
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections
from watchline.pipeline.figures import draw_figure
from watchline.streams.frame import U8

RED = (255, 0, 0)
PLAIN = make_detections((20, 20, 60, 100))


def drawn(found: Detections) -> U8:
    canvas = np.zeros((120, 160, 3), np.uint8)
    draw_figure(canvas, found, 0, RED, 1)
    return canvas


def pose(*points: tuple[float, float, float], count: int = 17) -> PoseDetections:
    """All points not given are guesses."""
    keypoints = np.full((1, count, 3), [50, 50, 0.1], np.float32)
    keypoints[0, : len(points)] = points
    return PoseDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, keypoints)


def test_of_a_plain_detection_nothing_is_drawn() -> None:
    assert not drawn(PLAIN).any()


def test_points_of_high_score_are_drawn_and_joined_guesses_are_not() -> None:
    canvas = drawn(pose((30, 30, 0.9), (90, 30, 0.9)))  # nose and an eye: a bone
    assert tuple(canvas[30, 30]) == tuple(canvas[30, 60]) == RED
    assert not canvas[50, 50].any()


def test_only_the_17_points_of_coco_have_bones() -> None:
    canvas = drawn(pose((30, 30, 0.9), (90, 30, 0.9), count=4))
    assert tuple(canvas[30, 30]) == RED
    assert not canvas[30, 60].any()


def test_all_landmarks_of_a_face_are_drawn() -> None:
    points = np.array([[[30, 30], [50, 30], [40, 45], [32, 60], [48, 60]]], np.float32)
    canvas = drawn(FaceDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, points))
    assert all(tuple(canvas[int(y), int(x)]) == RED for x, y in points[0])


def test_a_mask_tints_its_own_pixels_alone() -> None:
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[0, :32] = 255  # the upper half
    canvas = drawn(MaskDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, masks))
    assert canvas[25, 40, 0] == canvas[55, 25, 0] == 85
    assert not canvas[70:].any()
    assert not canvas[:, 61:].any()


@pytest.mark.parametrize("far", [-1e30, 1e30, 5e4])
def test_points_far_outside_the_picture_do_no_harm(far: float) -> None:
    assert not drawn(pose((far, far, 0.9)))[50, 50].any()
