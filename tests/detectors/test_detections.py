from __future__ import annotations

import numpy as np
import pytest

from tests.fakes import make_detections
from watchline.detectors.detections import Detections, FaceDetections, MaskDetections, PoseDetections

BOX = np.array([[0, 0, 1, 1]], np.float32)
SCORE = np.array([0.5], np.float32)
CLASS = np.zeros(1, np.int32)


def test_nothing_is_a_value_with_every_field() -> None:
    empty = Detections.empty()
    assert (len(empty), empty.xyxy.shape, empty.score.shape, empty.class_id.shape) == (0, (0, 4), (0,), (0,))


def test_a_one_pixel_box_is_a_box() -> None:
    assert len(make_detections((5, 5, 6, 6))) == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((BOX.astype(np.float64), SCORE, CLASS), r"xyxy: want float32 \(1, 4\), got float64 \(1, 4\)"),
        ((BOX[0], SCORE, CLASS), r"xyxy: want float32 \(4, 4\), got float32 \(4,\)"),
        ((BOX, np.float32([0.5, 0.5]), CLASS), r"score: want float32 \(1,\)"),  # type: ignore[arg-type]
        ((BOX, SCORE, CLASS.astype(np.int64)), r"class_id: want int32"),
        ((BOX[:, ::-1].copy(), SCORE, CLASS), "box 0 has no area"),
        ((BOX * np.float32(np.nan), SCORE, CLASS), "box 0 has no area or is not finite"),
        ((BOX + np.array([[0, 0, np.inf, 0]], np.float32), SCORE, CLASS), "not finite"),
        ((BOX, SCORE + np.float32(1), CLASS), r"score 0 is outside \[0, 1\]: 1.5"),
        ((BOX, SCORE * np.float32(np.nan), CLASS), r"score 0 is outside \[0, 1\]: nan"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields: tuple[np.ndarray, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Detections(*fields)


def pose(n: int = 3, score: float = 0.5) -> PoseDetections:
    boxes = make_detections(*[(i, i, i + 5, i + 9) for i in range(n)])
    points = np.arange(n * 4 * 3, dtype=np.float32).reshape(n, 4, 3)
    points[..., 2] = score
    return PoseDetections(boxes.xyxy, boxes.score, boxes.class_id, points)


def test_rows_of_poses_are_poses_with_their_own_keypoints() -> None:
    some = pose(3)[np.array([2, 0])]
    assert type(some) is PoseDetections
    assert some.xyxy[:, 0].tolist() == [2, 0]
    assert some.keypoints[:, 0, 0].tolist() == [24, 0]


def test_rows_of_faces_and_masks_keep_their_type() -> None:
    boxes = make_detections((0, 0, 5, 5), (1, 1, 6, 6))
    marks = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
    faces = FaceDetections(boxes.xyxy, boxes.score, boxes.class_id, marks)[np.array([False, True])]
    assert (type(faces), faces.landmarks[0, 0].tolist()) == (FaceDetections, [10, 11])
    grids = np.stack([np.full((8, 8), i, np.uint8) for i in range(2)])
    masks = MaskDetections(boxes.xyxy, boxes.score, boxes.class_id, grids)[1:]
    assert (type(masks), masks.masks.max()) == (MaskDetections, 1)


def test_nothing_of_each_kind_is_a_value_too() -> None:
    for empty in (PoseDetections.empty(), FaceDetections.empty(), MaskDetections.empty()):
        assert len(empty) == len(empty[:0]) == 0


def test_keypoints_may_lie_outside_the_frame_but_their_scores_not_outside_0_to_1() -> None:
    assert len(pose(1)) == 1
    with pytest.raises(ValueError, match="keypoints 0: not finite, or a score outside"):
        pose(2, score=1.5)
    with pytest.raises(ValueError, match="keypoints 0: not finite"):
        pose(2, score=np.nan)


def test_a_face_has_five_landmarks() -> None:
    with pytest.raises(ValueError, match=r"landmarks: want float32 \(1, 5, 2\), got float32 \(1, 4, 2\)"):
        FaceDetections(BOX, SCORE, CLASS, np.zeros((1, 4, 2), np.float32))
    with pytest.raises(ValueError, match="landmarks 0: not finite"):
        FaceDetections(BOX, SCORE, CLASS, np.full((1, 5, 2), np.inf, np.float32))


def test_each_box_has_a_mask() -> None:
    with pytest.raises(ValueError, match="masks: want uint8"):
        MaskDetections(BOX, SCORE, CLASS, np.zeros((2, 8, 8), np.uint8))
