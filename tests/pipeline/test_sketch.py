"""Sketches: what the report lays over a crop is where it is in the crop, and small."""

from __future__ import annotations

import re

import numpy as np

from tests.fakes import make_detections, make_faces
from watchline.detectors.detections import MaskDetections, PoseDetections
from watchline.pipeline.findings import Findings, Tied
from watchline.pipeline.sketch import Sketch
from watchline.pipeline.view import View

PLAIN = make_detections((100, 40, 300, 440))
NOISE = np.random.default_rng(1).integers(0, 255, (480, 640, 3), dtype=np.uint8)


def sketch(findings: Findings) -> Sketch:
    """Of the one detection, in a view of 96 x 192 pixels of its 200 x 400."""
    view = View(192, 288)
    assert view.look(NOISE, PLAIN.xyxy[0], 0.9)
    assert (view.width, view.height, view.scale) == (96, 192, 0.48)
    return Sketch.of(findings, 0, view)


def places(path: str) -> np.ndarray:
    return np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), float)


def test_of_a_plain_detection_there_is_nothing_to_draw() -> None:
    assert not sketch(Findings(PLAIN))
    assert not Sketch()


def test_a_skeleton_is_where_the_person_is_in_the_crop() -> None:
    keypoints = np.full((1, 17, 3), [200, 240, 0.1], np.float32)
    keypoints[0, [5, 6]] = (150, 140, 0.9), (250, 140, 0.9)  # shoulders
    drawn = sketch(Findings(PoseDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, keypoints)))
    assert drawn.lines == "M24.0 48.0L72.0 48.0"
    assert drawn.dots == "M24.0 48.0h0M72.0 48.0h0"
    assert (drawn.width, drawn.height, drawn.area) == (96, 192, "")


def test_a_mask_of_another_model_is_an_outline() -> None:
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[0, :32] = 255  # the upper half
    tied = Tied(MaskDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, masks), np.array([0], np.int32))
    outline = places(sketch(Findings(PLAIN, (tied,))).area)
    np.testing.assert_allclose([outline.min(axis=0), outline.max(axis=0)], [(0, 0), (95, 95)], atol=1.01)


def test_a_ragged_mask_stays_small() -> None:
    masks = np.random.default_rng(1).integers(0, 2, (1, 64, 64), dtype=np.uint8) * 255
    drawn = sketch(Findings(MaskDetections(PLAIN.xyxy, PLAIN.score, PLAIN.class_id, masks)))
    assert len(drawn.area) < 3000


def test_a_face_is_a_box_with_its_landmarks() -> None:
    faces = Tied(make_faces((180, 60, 220, 100)), np.array([0], np.int32))
    drawn = sketch(Findings(PLAIN, (faces,)))
    np.testing.assert_allclose(places(drawn.lines), [(38.4, 9.6), (57.6, 9.6), (57.6, 28.8), (38.4, 28.8)])
    assert drawn.lines.endswith("z")
    assert len(places(drawn.dots)) == 5


def test_a_face_of_somebody_else_is_not_drawn() -> None:
    assert not sketch(Findings(PLAIN, (Tied(make_faces((180, 60, 220, 100)), np.array([-1], np.int32)),)))
