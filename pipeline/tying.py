"""Whose is it? Ties what one model found in a frame to what another found there: pure geometry, one to one.

The order in which detections come does not matter: they are put in one order first.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from watchline.detectors.boxes import F32
from watchline.detectors.detections import I32, Detections, FaceDetections
from watchline.trackers.associate import Candidates, assign, iou_cost
from watchline.trackers.kalman import F64

Mask: TypeAlias = NDArray[np.bool_]

_LEAST_IOU: Final = (
    0.5  # two models' boxes of one object overlap by 0.8 and more, those of neighbours by less than this
)

# Of 327 faces of people in three street clips, seen by three face models and told by the noses of a pose model:
_FACE_OF_HEIGHT: Final = 1 / 10  # a face's side (root of its area), of somebody standing: 0.08 to 0.14 of the box's
_FACE_OF_WIDTH: Final = 2 / 9  # the same, of somebody seen from the chest up: 0.18 to 0.30
_FACE_DOWN: Final = 0.9  # its middle lies this many face sides below the top of the box: 0.5 to 1.5
_LEAST_INSIDE: Final = 0.6  # share of a face inside the box; all but one in a hundred had 0.97
_SIZE_FACTOR: Final = 3.0  # larger or smaller than expected by more is another's; all had at most 1.6
_FAINT_COST: Final = 0.25  # of a person of score 0: of two boxes on one person, the surer takes the face
# A face side off in place, or a factor of 2 in size, costs 1; of the 327, one cost more than this, half below 0.5.
_MOST_COST: Final = 1.1

_SURE: Final = 0.5  # score of a keypoint that is more than a guess
_POSE_FACE, _LANDMARKS = [0, 2, 1], [2, 0, 1]  # nose and eyes: a person's right eye is on the left of the picture
_SHOULDERS: Final = [5, 6]
_POINT_REACH: Final = 0.5  # face sides that keypoints and landmarks of one face may lie apart on average, costs 1
_TURNED_COST: Final = 0.5  # of a person whose shoulders are seen, and neither nose nor eyes: a back


def tie_alike(found: Detections, classes: I32, first: Detections) -> I32:
    """Returns whose each of `found` is: of the detection of the same class in the same place, all in all the best way.

    Args:
        found: M detections of a further model.
        classes: (C,) for each class of that model the first model's of the same name; -1 where it has none.
        first: N detections of the first model.

    Returns:
        (M,) int32, rows in `first`; -1 where none overlaps by an IoU of 0.5 or more.

    >>> box = Detections(np.float32([[0, 0, 10, 20]]), np.float32([0.9]), np.int32([0]))
    >>> tie_alike(box, np.int32([0]), box).tolist(), tie_alike(box, np.int32([-1]), box).tolist()
    ([0], [-1])
    """
    theirs, ours = Candidates.of(found), Candidates.of(first)
    cost = iou_cost(theirs.xyxy, ours.xyxy, classes[theirs.class_id], ours.class_id)
    return _owners(cost, 1 - _LEAST_IOU, theirs, ours)


def tie_faces(faces: FaceDetections, people: Detections, keypoints: F32) -> I32:
    """Returns whose each face is: a person's has its size and place, all in all in the best way.

    Where a head is expected follows from the person's box; where the pose shows nose or eyes, these decide.

    Args:
        faces: M faces.
        people: N people.
        keypoints: (N, 17, 3) float32, COCO's points of each person, as in `PoseDetections`; of score 0 where there is
            no pose.

    Returns:
        (M,) int32, rows in `people`; -1 for nobody's.

    >>> person = Detections(np.float32([[0, 0, 40, 100]]), np.float32([0.9]), np.int32([0]))
    >>> points = np.float32([[[18, 7], [22, 7], [20, 9], [18, 11], [22, 11]]])
    >>> face = FaceDetections(np.float32([[15, 4, 25, 14]]), np.float32([0.5]), np.int32([0]), points)
    >>> tie_faces(face, person, np.zeros((1, 17, 3), np.float32)).tolist()
    [0]
    """
    theirs, ours = Candidates.of(faces), Candidates.of(people)
    box, person = theirs.xyxy[:, None], ours.xyxy[None]
    side = np.sqrt(np.prod(box[..., 2:] - box[..., :2], axis=2))
    expected = np.max((person[..., 2:] - person[..., :2]) * (_FACE_OF_WIDTH, _FACE_OF_HEIGHT), axis=2)
    ratio = np.log2(side / expected)
    apart, known, turned = _by_keypoints(faces.landmarks[theirs.detection], keypoints[ours.detection], side)
    by_box = np.hypot(_off_place(box, person, expected), ratio) + _TURNED_COST * turned
    cost = np.where(known, apart / _POINT_REACH, by_box) + _FAINT_COST * (1 - ours.score)
    possible = (_inside(box, person) >= _LEAST_INSIDE) & (np.abs(ratio) <= np.log2(_SIZE_FACTOR))
    return _owners(np.where(possible, cost, 2 * _MOST_COST), _MOST_COST, theirs, ours)


def _owners(cost: F64, limit: float, theirs: Candidates, ours: Candidates) -> I32:
    """Returns the (M,) rows of `ours`, as they were given, for `theirs`, as they were given."""
    pairs = assign(cost, limit)
    owner = np.full(len(cost), -1, np.int32)
    owner[theirs.detection[pairs.rows]] = ours.detection[pairs.columns]
    return owner


def _off_place(box: F64, person: F64, expected: F64) -> F64:
    """Returns how far each face's middle is from where each person's would be, in sides of that person's face."""
    middle = (box[..., :2] + box[..., 2:]) / 2
    across = middle[..., 0] - (person[..., 0] + person[..., 2]) / 2
    down = middle[..., 1] - person[..., 1] - _FACE_DOWN * expected
    off: F64 = np.hypot(across, down) / expected
    return off


def _inside(box: F64, person: F64) -> F64:
    """Returns the share of each face that lies inside each person's box."""
    shared = np.minimum(box[..., 2:], person[..., 2:]) - np.maximum(box[..., :2], person[..., :2])
    share: F64 = np.prod(np.clip(shared, 0, None), axis=2) / np.prod(box[..., 2:] - box[..., :2], axis=2)
    return share


def _by_keypoints(landmarks: F32, keypoints: F32, side: F64) -> tuple[F64, Mask, Mask]:
    """Returns what poses say of faces: (M, N) how far apart, in face sides; (N,) is it known; (N,) is it a back."""
    points = keypoints[:, _POSE_FACE].astype(np.float64)
    sure = points[..., 2] >= _SURE
    gaps = np.linalg.norm(landmarks[:, None, _LANDMARKS].astype(np.float64) - points[None, ..., :2], axis=3)
    known = np.asarray(sure.any(axis=1))
    apart = (gaps * sure).sum(axis=2) / np.maximum(sure.sum(axis=1), 1) / side
    shoulders = np.asarray((keypoints[:, _SHOULDERS, 2] >= _SURE).any(axis=1))
    return apart, known, ~known & shoulders
