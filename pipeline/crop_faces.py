"""Faces looked for on the pictures that are kept of people, not on whole frames: work for those alone who are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from watchline.detectors.detections import Detections, FaceDetections
from watchline.detectors.detector import Detector
from watchline.pipeline.figures import COCO_POINTS
from watchline.pipeline.tying import tie_faces
from watchline.reid.cutting import Cut, around_face
from watchline.reid.quality import FACE_GATE, face_bound, sharpness
from watchline.reid.tracklet import Crop, Tracklet
from watchline.streams.errors import ModelError
from watchline.streams.frame import Frame, Picture

SIZE: Final = 384  # longest side at which a picture is looked at, pixels
MOST: Final = 3  # faces of a tracklet

# Pictures show a face larger than frames do, so that more tells it from the back of a head: by eye, of 92 finds of
# YuNet in two street clips the 12 below 0.65 were none or nearly, the others scored 0.71 and more; of CenterFace's 66
# all were faces, four of them below 0.67 and half hidden.
GATE: Final = replace(FACE_GATE, least_score=0.65)
_FACE_OF_HEIGHT: Final = 0.16  # of a picture of somebody standing, at most
_FACE_OF_WIDTH: Final = 0.36  # of one of somebody seen from the chest up
_NO_POSE: Final = np.zeros((1, COCO_POINTS, 3), np.float32)


class CropFaces:
    """Finds the faces of tracklets on their pictures. Safe to use from several threads at once, as its detector is.

    What a picture shows of others is told from the person's own face by where that must be: see `tie_faces`.

    Args:
        name: of the model, as the user said it.
        detector: finds faces.
    """

    def __init__(self, name: str, detector: Detector) -> None:
        self._name = name
        self._detector = detector

    def find(self, tracklet: Tracklet) -> Tracklet:
        """Returns a tracklet with its best faces, in order of time; as it is where none is good enough.

        Raises:
            ModelError: the model failed; says which.
        """
        seen = [_face(tracklet, crop, self._found(tracklet, crop)) for crop in tracklet.crops if _is_large(crop)]
        best = sorted((face for face in seen if face is not None), key=lambda face: -face.quality)[:MOST]
        return replace(tracklet, faces=tuple(sorted(best, key=lambda face: face.pts_s))) if best else tracklet

    def _found(self, tracklet: Tracklet, crop: Crop) -> Detections:
        picture = Picture.from_rgb(crop.rgb)
        frame = Frame(tracklet.camera, 0, crop.pts_s, crop.captured_at, tracklet.clock, picture)
        try:
            return self._detector.detect([frame])[0]  # alone: they are of many sizes
        except ModelError as error:
            raise ModelError(f"{self._name}: {error}") from error


def _is_large(crop: Crop) -> bool:
    """Returns whether the own face can be large enough in a picture."""
    height, width = crop.rgb.shape[:2]
    return bool(max(_FACE_OF_HEIGHT * height, _FACE_OF_WIDTH * width) >= GATE.least_height_px)


def _face(tracklet: Tracklet, crop: Crop, found: Detections) -> Crop | None:
    """Returns the face of the person whom a picture shows, of all that were found there; None where none is good."""
    if not isinstance(found, FaceDetections):
        raise TypeError(f"want faces, got {type(found).__name__}")
    height, width = crop.rgb.shape[:2]
    person = Detections(
        np.array([[0, 0, width, height]], np.float32), np.array([crop.score], np.float32), np.zeros(1, np.int32)
    )
    face = found[np.flatnonzero(tie_faces(found, person, _NO_POSE) == 0)]
    bound = face_bound(face, height, width, GATE) if len(face) else 0.0
    if not bound:
        return None
    inner = Cut.of(face.xyxy[0], height, width)
    around = Cut.of(around_face(face.xyxy[0]), height, width)
    # The picture is what of the box lies in the frame, made smaller, perhaps.
    body = Cut.of(crop.xyxy, tracklet.frame_height, tracklet.frame_width)
    scale = np.array([body.width / width, body.height / height] * 2, np.float32)
    return Crop(
        rgb=around.view(crop.rgb).copy(),
        xyxy=face.xyxy[0] * scale + np.array([body.left, body.top] * 2, np.float32),
        landmarks=face.landmarks[0] - np.array([around.left, around.top], np.float32),
        score=float(face.score[0]),
        quality=bound * sharpness(inner.view(crop.rgb)),
        pts_s=crop.pts_s,
        captured_at=crop.captured_at,
    )
